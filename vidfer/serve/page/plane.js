// The plane of valence and arousal, with a trail of every face.

import { EMOTIONS, TRAIL_S } from "./face.js";

let colours = {};

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = Object.fromEntries([...EMOTIONS, "line", "soft", "card", "text"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

export function drawPlane(canvas, faces, time) {
  const side = canvas.clientWidth;
  if (!side) return;
  const scale = devicePixelRatio;
  if (canvas.width !== Math.round(side * scale)) canvas.width = canvas.height = Math.round(side * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, side, side);
  const middle = side / 2, reach = side / 2 - 17;
  const at = (valence, arousal) => [middle + valence * reach, middle - arousal * reach];
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  for (const part of [0.5, 1]) {
    pen.beginPath();
    pen.arc(middle, middle, reach * part, 0, 2 * Math.PI);
    pen.stroke();
  }
  pen.beginPath();
  pen.moveTo(middle - reach, middle); pen.lineTo(middle + reach, middle);
  pen.moveTo(middle, middle - reach); pen.lineTo(middle, middle + reach);
  pen.stroke();
  pen.fillStyle = colours.soft;
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText("excited", middle, 7);
  pen.fillText("calm", middle, side - 7);
  for (const [text, x, turn] of [["unpleasant", 7, -1], ["pleasant", side - 7, 1]]) {
    pen.save();
    pen.translate(x, middle);
    pen.rotate(turn * Math.PI / 2);
    pen.fillText(text, 0, 0);
    pen.restore();
  }
  for (const [id, face] of faces) drawFace(pen, at, id, face, time);
}

function drawFace(pen, at, id, face, time) {
  if (!face.trail.length) return;
  pen.strokeStyle = pen.fillStyle = colours[face.label ?? "neutral"];
  pen.lineWidth = 2.2;
  pen.lineCap = "round";
  for (let i = 1; i < face.trail.length; i++) {
    const [t, ...here] = face.trail[i];
    pen.globalAlpha = 0.75 * Math.max(0, 1 - Math.abs(time - t) / TRAIL_S);
    pen.beginPath();
    pen.moveTo(...at(...face.trail[i - 1].slice(1)));
    pen.lineTo(...at(...here));
    pen.stroke();
  }
  pen.globalAlpha = face.element.classList.contains("gone") ? 0.4 : 1;
  const [x, y] = at(face.valence, face.arousal);
  pen.beginPath();
  pen.arc(x, y, 9, 0, 2 * Math.PI);
  pen.fill();
  pen.lineWidth = 2;
  pen.strokeStyle = colours.card;
  pen.stroke();
  pen.fillStyle = matchMedia("(prefers-color-scheme: light)").matches ? "#fff" : "#10141b";
  pen.font = "700 10.5px system-ui, sans-serif";
  pen.fillText(id ?? "–", x, y + 0.5);
  pen.globalAlpha = 1;
}
