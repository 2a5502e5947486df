// The live page. It asks for the newest pictures of the cameras in view, one request at a time, and for nothing while
// nobody sees it: a slow browser gets fewer pictures, never old ones.

import { Camera } from "./camera.js";
import { readColours } from "./plane.js";

const LEAST_PERIOD_MS = 40;
const SHOWN_MS = 8000; // what went wrong with one action

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const cameras = new Map(); // name -> Camera
let over = false;

class RefusedError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new RefusedError(answer.status, said.error ?? said.status ?? `error ${answer.status}`);
  }
  return answer;
}

// ---- asking, over and over

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const camera = [...cameras.values()].find((one) => one.element === entry.target);
    if (camera) camera.inView = entry.isIntersecting;
  }
}, { rootMargin: "80px" });

const seen = () => (document.hidden ? new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })) : null);

async function watch() {
  let failures = 0;
  while (!over) {
    while (document.hidden) await seen();
    const started = performance.now();
    try {
      const wishes = [...cameras.values()].filter((camera) => camera.inView).map((camera) => ["see", camera.wish]);
      const answer = await ask(`/live?${new URLSearchParams(wishes)}`, { signal: AbortSignal.timeout(15000) });
      await show(await answer.arrayBuffer());
      if (failures && !over) notice(null);
      failures = 0;
    } catch (error) {
      if (error instanceof RefusedError && error.status === 401) {
        await logIn();
        continue;
      }
      failures += 1;
      if (over) break;
      if (failures > 1) notice(error instanceof RefusedError ? error.message : "No connection to vidfer; trying again.");
      await sleep(Math.min(2000, 100 * 2 ** failures));
    }
    await sleep(Math.max(0, LEAST_PERIOD_MS - (performance.now() - started)));
  }
}

async function show(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  const frames = [];
  for (const status of said.cameras) {
    if (!cameras.has(status.name)) cameras.set(status.name, new Camera(status.name, { pause, screenshot, choose, say, inView }));
    const camera = cameras.get(status.name);
    if (status.shown) {
      frames.push(camera.showFrame(status.shown, new Blob([new Uint8Array(buffer, offset, status.picture_bytes)], { type: "image/jpeg" })));
      offset += status.picture_bytes;
    }
  }
  await Promise.all(frames);
  if (over) return; // an answer that was under way
  for (const status of said.cameras) cameras.get(status.name).show(status);
  for (const [name, camera] of cameras) {
    if (said.cameras.some((status) => status.name === name)) continue;
    camera.element.remove();
    cameras.delete(name);
  }
  summarise(said.cameras);
  if (said.stopping) end();
}

function summarise(statuses) {
  const live = statuses.filter((status) => status.state === "live" && !status.paused).length;
  const text = statuses.length ? `${live} of ${statuses.length} ${statuses.length === 1 ? "camera" : "cameras"} live` : "No camera yet";
  if ($("summary").textContent !== text) $("summary").textContent = text;
  const paused = statuses.length > 0 && statuses.every((status) => status.paused);
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").firstElementChild.textContent = paused ? "Go on" : "Pause";
}

function notice(text, forMs) {
  $("notice").hidden = text === null;
  $("notice").textContent = text ?? "";
  if (forMs) setTimeout(() => $("notice").textContent === text && notice(null), forMs);
}

const say = (text) => { $("news").textContent = text; };

function end() {
  over = true;
  notice("vidfer has stopped. Start it again where it runs, then load this page anew.");
  $("summary").textContent = "Stopped";
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  for (const camera of cameras.values()) camera.element.classList.add("still");
}

// ---- what can be done

async function act(path) {
  try {
    return await ask(path, { method: "POST" });
  } catch (error) {
    notice(error instanceof RefusedError ? error.message : "No connection to vidfer.", SHOWN_MS);
    return null;
  }
}

const pause = (wanted, name) => act(`/api/v1/${wanted ? "pause" : "resume"}${name === undefined ? "" : `?${new URLSearchParams({ camera: name })}`}`);

function choose(camera) {
  for (const one of cameras.values()) one.element.classList.toggle("chosen", one === camera && cameras.size > 1);
  choose.last = camera;
}

async function screenshot(name) {
  const camera = name ?? (cameras.get(choose.last?.name) ?? [...cameras.values()].find((one) => one.inView))?.name;
  if (camera === undefined) return;
  try {
    const picture = await (await ask(`/api/v1/cameras/${encodeURIComponent(camera)}/picture`)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(picture);
    link.download = `${camera}-${new Date().toISOString().slice(0, 19).replace(/[-:]/g, "")}Z.jpg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`Screenshot of ${camera} saved`);
  } catch (error) {
    notice(error instanceof RefusedError ? error.message : "No connection to vidfer.", SHOWN_MS);
  }
}

function togglePlane() {
  const hidden = document.body.classList.toggle("no-plane");
  $("plane").setAttribute("aria-pressed", !hidden);
}

async function quit() {
  $("ask-quit").close();
  if (await act("/api/v1/quit")) end();
}

// ---- the token: in the part of the link after #, which is never sent, or entered

async function logInByLink() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(null, "", location.pathname);
  await tryToken(given);
}

async function logIn() {
  $("ask-token").showModal();
  await new Promise((done) => {
    $("token-form").onsubmit = async (event) => {
      event.preventDefault();
      if (await tryToken($("token").value.trim())) done();
    };
    $("ask-token").oncancel = (event) => event.preventDefault();
  });
  $("token").value = "";
  $("ask-token").close();
}

async function tryToken(token) {
  try {
    await ask("/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
    $("token-error").textContent = "";
    return true;
  } catch (error) {
    $("token-error").textContent = error instanceof RefusedError ? error.message : "No connection to vidfer.";
    return false;
  }
}

// ---- buttons and keys

const ACTIONS = {
  p: () => pause($("pause").getAttribute("aria-pressed") !== "true"),
  v: togglePlane,
  s: () => screenshot(),
  q: () => $("ask-quit").showModal(),
};
$("pause").addEventListener("click", ACTIONS.p);
$("plane").addEventListener("click", ACTIONS.v);
$("shot").addEventListener("click", ACTIONS.s);
$("quit").addEventListener("click", ACTIONS.q);
$("stay").addEventListener("click", () => $("ask-quit").close());
$("really-quit").addEventListener("click", quit);
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox])") || document.querySelector("dialog[open]");
  if (over || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !$("keys").checked) return;
  const action = Object.hasOwn(ACTIONS, event.key.toLowerCase()) ? ACTIONS[event.key.toLowerCase()] : null;
  if (!action) return;
  event.preventDefault();
  action();
});
$("keys").checked = localStorage.getItem("keys") !== "off";
$("keys").addEventListener("change", () => localStorage.setItem("keys", $("keys").checked ? "on" : "off"));

matchMedia("(prefers-color-scheme: light)").addEventListener("change", readColours);
readColours();
logInByLink().then(watch);
