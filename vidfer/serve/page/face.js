// One face: its label, the bars of its emotions, and where it was in the plane.

export const EMOTIONS = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"];
export const TRAIL_S = 8;

export class Face {
  constructor(id) {
    this.element = document.getElementById("face").content.firstElementChild.cloneNode(true);
    this.element.querySelector(".id").textContent = id ?? "–";
    this.bars = EMOTIONS.map((name) => {
      const row = document.createElement("li");
      row.style.setProperty("--of", `var(--${name})`);
      const [label, level, fill, value] = ["span", "span", "i", "output"].map((tag) => document.createElement(tag));
      label.textContent = name;
      level.className = "level";
      level.append(fill);
      row.append(label, level, value);
      return { row, fill, value };
    });
    this.element.querySelector(".bars").append(...this.bars.map((bar) => bar.row));
    this.trail = [];
  }

  show(face, time, now) {
    this.last = now;
    this.element.classList.remove("gone");
    const value = (name) => face[`${name}_smooth`] ?? face[name];
    this.label = face.emotion_smooth ?? face.emotion;
    this.valence = value("valence");
    this.arousal = value("arousal");
    const who = this.element.querySelector(".who");
    who.style.setProperty("--of", `var(--${this.label ?? "neutral"})`);
    who.querySelector("strong").textContent = this.label ?? "not measured";
    const affect = this.valence === null ? "" : `valence ${signed(this.valence)}, arousal ${signed(this.arousal)}`;
    this.element.querySelector(".affect").textContent = affect;
    EMOTIONS.forEach((name, i) => {
      const part = value(`emotion_${name}`) ?? 0;
      const { row, fill, value: text } = this.bars[i];
      row.classList.toggle("shown", name === this.label);
      fill.style.transform = `scaleX(${part})`;
      text.textContent = `${Math.round(part * 100)}%`;
    });
    if (this.valence !== null) this.trail.push([time, this.valence, this.arousal]);
    while (this.trail.length && Math.abs(time - this.trail[0][0]) > TRAIL_S) this.trail.shift();
  }
}

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
