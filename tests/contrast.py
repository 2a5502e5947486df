"""Whether a page can be read, measured in it.

`CONTRASTS` gives the contrast of every text with what is behind it, and of coloured bars: give it a selector of bars
and of what is behind them, or nulls.
"""

CONTRASTS = """([bars, behindBars]) => {
  const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgb = (colour) => known.get(colour) ?? known.set(colour, read(colour)).get(colour);
  const read = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour[3] > 200) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const ink = (one, style) => (one.matches('svg *') ? style.fill : style.color);
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    if (!one.checkVisibility() || one.closest('.for-readers, .names')) continue;
    const style = getComputedStyle(one);
    if ([...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
      found.push({what: one.outerHTML.slice(0, 80), least: 4.5, ratio: ratio(rgb(ink(one, style)), behind(one))});
    if (bars && one.matches(bars)) {
      const ground = behind(one.closest(behindBars));
      found.push({what: one.closest('li').innerText, least: 3, ratio: ratio(rgb(style.backgroundColor), ground)});
    }
  }
  return found;
}"""
