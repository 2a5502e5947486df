// The time cursor that all charts share, and the choice of one face. Without scripts the page says the same.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const chosen = new Set();

  // ---- one face

  const choose = (face) => {
    const again = chosen.has(face);
    chosen.clear();
    if (face !== null && !again) chosen.add(face);
    document.body.classList.toggle("choosing", chosen.size > 0);
    for (const one of all("[data-face]")) one.classList.toggle("chosen", chosen.has(one.dataset.face));
    for (const one of all("[data-pick]")) one.setAttribute("aria-pressed", chosen.has(one.dataset.pick));
    const everybody = document.getElementById("all");
    if (everybody) everybody.disabled = chosen.size === 0;
  };
  for (const one of all("[data-pick]")) {
    one.addEventListener("click", () => {
      choose(one.dataset.pick);
      if (one.dataset.time && chosen.size && data.span) moveTo(Number(one.dataset.time));
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen.size) choose(null);
  });
  document.getElementById("all")?.addEventListener("click", () => choose(null));
  if (!data.span) return;

  // ---- time

  const [first, last] = data.span;
  const slider = document.getElementById("time");
  const told = document.getElementById("clock");
  const cursors = all("svg.plot").map((plot) => {
    const line = document.createElementNS(plot.namespaceURI, "line");
    const [, , wide, high] = plot.getAttribute("viewBox").split(" ").map(Number);
    line.setAttribute("class", "cursor");
    line.setAttribute("y2", high);
    plot.append(line);
    return { line, wide, from: Number(plot.dataset.from), to: Number(plot.dataset.to) };
  });
  const faces = data.faces.map((face) => ({ ...face, times: running(face.t, face.start), card: document.getElementById(`face-${face.id}`) }));

  function running(steps, start) {
    let sum = 0;
    return steps.map((step) => start + (sum += step) / 1000);
  }

  const clock = (seconds) => {
    const tenths = Math.round(seconds * 100);
    const whole = Math.floor(tenths / 100);
    const two = (value) => String(value).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    const text = minutes >= 60 ? `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
    return `${text}.${two(tenths % 100)}`;
  };
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

  function nearest(times, time) {
    let low = 0, high = times.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle; else high = middle;
    }
    return Math.abs(times[high] - time) < Math.abs(times[low] - time) ? high : low;
  }

  function moveTo(time, moved) {
    time = Math.min(last, Math.max(first, time));
    if (moved !== slider) slider.value = Math.round((time - first) / (last - first) * slider.max);
    told.textContent = clock(time);
    slider.setAttribute("aria-valuetext", clock(time));
    for (const { line, wide, from, to } of cursors) {
      const inside = time >= from && time <= to;
      const x = (time - from) / (to - from) * wide;
      line.style.display = inside ? "" : "none";
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    for (const face of faces) tell(face, time);
  }

  function tell(face, time) {
    const now = face.card.querySelector(".now");
    const here = face.card.querySelector(".here");
    const at = nearest(face.times, time);
    now.hidden = false;
    if (Math.abs(face.times[at] - time) > face.near) {
      now.textContent = "not on screen here";
      here.setAttribute("cx", -20);
      return;
    }
    const best = face.e.reduce((most, row, i) => (row[at] > face.e[most][at] ? i : most), 0);
    const [valence, arousal] = [face.v[at] / 1000, face.a[at] / 1000];
    now.textContent = `${data.emotions[best]} ${Math.round(face.e[best][at] / 10)} % · valence ${signed(valence)} · arousal ${signed(arousal)}`;
    here.setAttribute("cx", 120 + 100 * valence);
    here.setAttribute("cy", 120 - 100 * arousal);
  }

  slider.addEventListener("input", () => moveTo(first + slider.value / slider.max * (last - first), slider));
  for (const plot of all("svg.plot")) {
    const [from, to] = [Number(plot.dataset.from), Number(plot.dataset.to)];
    const follow = (event) => {
      const box = plot.getBoundingClientRect();
      moveTo(from + (event.clientX - box.left) / box.width * (to - from));
    };
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerdown", follow);
  }
  for (const one of all(".film [data-time]")) one.addEventListener("click", () => moveTo(Number(one.dataset.time)));
  document.getElementById("bar").hidden = false;
  moveTo(first);
})();
