// One camera: its picture, how it is doing, and its faces.

import { Face } from "./face.js";
import { drawPlane } from "./plane.js";

const MOST_FACES = 4; // the largest
const FACE_STAYS_MS = 1000;
export const STATES = {
  connecting: "connecting", live: "live", stalled: "no new frames", waiting: "lost, trying again",
  failed: "given up", paused: "paused", ended: "over",
};

export class Camera {
  // `actions`: pause, screenshot, choose, say, and the observer inView, all of the page.
  constructor(name, actions) {
    this.name = name;
    this.actions = actions;
    this.frame = -1;
    this.inView = false;
    this.faces = new Map();
    this.element = document.getElementById("camera").content.firstElementChild.cloneNode(true);
    this.part = (selector) => this.element.querySelector(selector);
    this.canvas = this.part(".picture canvas");
    this.part("h2").textContent = name;
    this.element.setAttribute("aria-label", `Camera ${name}`);
    this.canvas.setAttribute("aria-label", `No picture of ${name} yet`);
    this.part(".one-pause").setAttribute("aria-label", `Pause ${name}`);
    this.part(".one-shot").setAttribute("aria-label", `Screenshot of ${name}`);
    this.part(".one-pause").addEventListener("click", () => actions.pause(!this.status.paused, name));
    this.part(".one-shot").addEventListener("click", () => actions.screenshot(name));
    this.element.addEventListener("focusin", () => actions.choose(this));
    document.getElementById("cameras").append(this.element);
    actions.inView.observe(this.element);
  }

  get wish() {
    const width = Math.ceil(this.canvas.clientWidth * devicePixelRatio);
    return `${width}:${this.frame}:${this.name}`;
  }

  show(status) {
    const before = this.status;
    this.status = status;
    const state = status.paused ? "paused" : status.state;
    const told = this.part(".state");
    told.dataset.state = state;
    told.textContent = STATES[state] ?? state;
    if (before && before.state !== status.state) this.actions.say(`Camera ${this.name}: ${STATES[status.state] ?? status.state}`);
    this.element.classList.toggle("still", state !== "live");
    this.part("figcaption").textContent = state === "live" ? (this.frame < 0 ? "Waiting for a picture …" : "") : STATES[state] ?? state;
    this.part(".one-pause").textContent = status.paused ? "Go on" : "Pause";
    this.part(".one-pause").setAttribute("aria-label", `${status.paused ? "Go on with" : "Pause"} ${this.name}`);
    if (status.width) this.part(".picture").style.aspectRatio = `${status.width} / ${status.height}`;
    const ms = (value) => (value === null ? "–" : Math.round(value));
    this.say("fps", status.fps === null ? "–" : status.fps.toFixed(1));
    this.say("latency", `${ms(status.latency_p50_ms)} · ${ms(status.latency_p95_ms)}`, "ms");
    this.say("faces", this.faceCount ?? "–");
    this.say("dropped", status.dropped.toLocaleString("en"));
    this.say("reconnects", status.reconnects.toLocaleString("en"));
    this.say("writing", status.writing === "on" ? "on" : "paused");
    this.part('[data-of="writing"]').classList.toggle("raised", status.writing.startsWith("paused"));
    const trouble = [
      state === "live" || state === "paused" ? null : status.last_error,
      status.writing.startsWith("paused") ? `Nothing is written: ${status.writing.replace(/^paused:?\s*/, "")}` : null,
    ].filter(Boolean).join(" · ");
    this.part(".trouble").textContent = trouble;
    this.part(".trouble").hidden = !trouble;
  }

  say(what, text, unit) {
    const place = this.part(`[data-of="${what}"]`);
    if (place.dataset.said === String(text)) return;
    place.dataset.said = text;
    place.textContent = text;
    if (unit) {
      const small = document.createElement("small");
      small.textContent = ` ${unit}`;
      place.append(small);
    }
  }

  async showFrame(shown, jpeg) {
    const bitmap = await createImageBitmap(jpeg);
    this.canvas.width = bitmap.width;
    this.canvas.height = bitmap.height;
    this.canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    this.frame = shown.frame;
    this.faceCount = shown.n_faces;
    const labels = shown.faces.map((face) => face.emotion_smooth ?? face.emotion ?? "not measured");
    this.canvas.setAttribute("aria-label", `Picture of ${this.name}: ${labels.join(", ") || "no face"}`);
    this.showFaces(shown);
  }

  showFaces(shown) {
    const now = performance.now();
    const largest = [...shown.faces].sort((a, b) => b.face_w * b.face_h - a.face_w * a.face_h);
    const waiting = largest.filter((face) => !this.faces.has(face.face_id));
    for (const face of largest.filter((one) => this.faces.has(one.face_id))) {
      this.faces.get(face.face_id).show(face, shown.timestamp, now);
    }
    for (const [id, face] of this.faces) {
      if (face.last !== now) face.element.classList.add("gone");
      if (now - face.last > FACE_STAYS_MS) {
        face.element.remove();
        this.faces.delete(id);
      }
    }
    for (const face of waiting.slice(0, MOST_FACES - this.faces.size)) {
      const item = new Face(face.face_id);
      item.show(face, shown.timestamp, now);
      this.faces.set(face.face_id, item);
    }
    const inOrder = [...this.faces].sort(([a], [b]) => a - b).map(([, face]) => face.element);
    const list = this.part(".faces");
    if (inOrder.some((element, i) => list.children[i] !== element)) list.append(...inOrder);
    if (!document.body.classList.contains("no-plane")) drawPlane(this.part(".plane canvas"), this.faces, shown.timestamp);
  }
}
