"""Timelines beside the picture: emotions stacked, valence and arousal, a playhead, and where both stand now.

Landscape pictures get the panel below, portrait ones to the right; the picture keeps its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.output.canvas import SHIFT, Canvas
from vidfer.output.labels import COLOURS, WHITE, Measures, OverlayFace, text_sprite
from vidfer.output.lanes import Curve, Lanes, current, twice
from vidfer.output.legend import AROUSAL, DIM, FILL, VALENCE, legend
from vidfer.output.sprites import Sprite, ring_mask, rounded_mask, text_mask
from vidfer.types import EMOTIONS, F32, U8, Colour, ColourSpace

WINDOW_S = 20.0  # as much as is shown at once
_SHORTEST_S = 1.0
_TRAIL_S = 1.5
_MOST_LANES = 4
# Height of a lane against the picture's, by how many there are.
_LANE_HEIGHT = (0.27, 0.21, 0.17, 0.15)

_LEAST_LANE, _LEAST_WIDE = 6.2, 28  # in heights of a letter

_GROUND: Colour = (13, 15, 19)
_LANE: Colour = (25, 29, 36)
_GRID: Colour = (48, 54, 64)
_INK: Colour = (20, 22, 26)
_ONE = 1 << SHIFT

Points = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Box:
    x: int
    y: int
    width: int
    height: int

    def of(self, image: U8) -> U8:
        """This part of a picture: what is drawn on it does not run over."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


class Panel:
    """Draws the panel of one video, frame after frame.

    Args:
        width: Of the picture in px, even.
        height: Of the picture in px, even.
        colours: Of the pictures.
        lanes: The largest number of faces at the same time.
        duration_s: Of the video, where it is known.
    """

    def __init__(
        self, width: int, height: int, colours: ColourSpace | None, *, lanes: int, duration_s: float | None
    ) -> None:
        self._m = m = Measures.of(width, height, colours)
        self._lanes = Lanes(min(max(lanes, 1), _MOST_LANES))
        self._duration_s = duration_s
        self._window_s = WINDOW_S if duration_s is None else min(WINDOW_S, max(duration_s, _SHORTEST_S))
        self._axis = 2 * m.text
        below, pad, count = width >= height, m.text, len(self._lanes)
        wide = max(width, _even(_LEAST_WIDE * m.text)) if below else _even(max(0.9 * width, 40 * m.text))
        self._legend = legend(wide - 2 * pad, m)
        feet = pad + (count - 1) * (pad // 2) + self._axis + sum(line.height for line in self._legend) + pad // 2
        lane = max(_LANE_HEIGHT[count - 1] * height, _LEAST_LANE * m.text)
        if not below:
            lane = max(min((height - feet) / count, 0.75 * wide), _LEAST_LANE * m.text)
        high = _even(feet + count * int(lane) + 1)
        high = high if below else max(high, height)
        self.canvas = (wide, height + high) if below else (width + wide, high)
        self._at = (0, height) if below else (width, 0)
        self._size = (wide, high)
        self._margin = (width, 0, wide, height) if below else (0, height, width, high)  # beside a tiny picture
        self._names = 2 * m.text + max(text_mask(name, m.text).shape[1] for name in EMOTIONS)
        self._boxes = [
            _Box(pad, pad + number * (int(lane) + pad // 2), wide - 2 * pad, int(lane)) for number in range(count)
        ]
        widest = 1.5 * text_mask("00:00.0", m.text).shape[1]
        steps = max(1.0, self._plot(self._boxes[0]).width / widest)
        self._step_s = next((step for step in (0.5, 1, 2, 5, 10) if self._window_s / step <= steps), 20)
        self._ground = self._drawn_once()

    def add(self, time_s: float | None, shot: int, faces: Sequence[OverlayFace]) -> None:
        """Take in the next analysed frame; those of the next `WINDOW_S` seconds are to be known when one is drawn."""
        if time_s is not None:
            self._lanes.add(time_s, shot, faces)

    def draw(self, canvas: Canvas, time_s: float) -> None:
        """Draw the panel of the next frame."""
        start_s = max(0.0, time_s - self._window_s / 2)
        if self._duration_s is not None:
            start_s = min(start_s, max(0.0, self._duration_s - self._window_s))
        image = self._ground.copy()
        for number, box in enumerate(self._boxes):
            curves = self._lanes.curves(number, start_s, start_s + self._window_s)
            self._draw_lane(image, box, curves, start_s, time_s)
        self._draw_time(image, start_s, time_s)
        canvas.put(image, *self._at)
        canvas.fill(*self._margin, self._m.paint(_GROUND))

    # --- where things are

    def _plot(self, lane: _Box) -> _Box:
        inner = max(2, self._m.text // 3)
        x = lane.x + self._names
        return _Box(
            x, lane.y + inner, max(8, lane.width - self._names - self._disc(lane).width), lane.height - 2 * inner
        )

    def _halves(self, lane: _Box) -> tuple[_Box, _Box]:
        plot = self._plot(lane)
        top = round(plot.height * 0.5)
        gap = max(2, self._m.text // 3)
        return _Box(plot.x, plot.y, plot.width, top), _Box(
            plot.x, plot.y + top + gap, plot.width, plot.height - top - gap
        )

    def _disc(self, lane: _Box) -> _Box:
        side = min(lane.height, round(lane.width * 0.3))
        return _Box(lane.x + lane.width - side, lane.y + (lane.height - side) // 2, side, side)

    # --- what stays

    def _drawn_once(self) -> U8:
        m = self._m
        ground = np.empty((self._size[1], self._size[0], 3), np.uint8)
        ground[:] = m.paint(_GROUND)
        for lane in self._boxes:
            Sprite.of([(m.paint(_LANE), rounded_mask(lane.width, lane.height, m.text * 0.6))]).paste(
                ground, lane.x, lane.y
            )
            _, lower = self._halves(lane)
            middle = lower.y + lower.height // 2
            ground[middle, lower.x : lower.x + lower.width] = m.paint(_GRID)
            self._draw_plane(ground, self._disc(lane))
        last = self._boxes[-1]
        y = last.y + last.height + self._axis
        for line in self._legend:
            line.paste(ground, last.x, y)
            y += line.height
        return ground

    def _draw_plane(self, image: U8, disc: _Box) -> None:
        m, side = self._m, disc.height
        radius = self._radius(side)
        Sprite.of([(m.paint(_GRID), ring_mask(side, radius, max(1.0, m.line * 0.8)))]).paste(image, disc.x, disc.y)
        middle, reach = side // 2, int(radius)
        image[disc.y + middle, disc.x + middle - reach : disc.x + middle + reach] = m.paint(_GRID)
        image[disc.y + middle - reach : disc.y + middle + reach, disc.x + middle] = m.paint(_GRID)
        if side < 9 * m.text:  # letters would be all one sees
            return
        valence, arousal = text_sprite("V", DIM, m), text_sprite("A", DIM, m)
        valence.paste(
            image, disc.x + middle + reach - valence.width - m.text // 2, disc.y + middle - round(1.4 * m.text)
        )
        arousal.paste(image, disc.x + middle + m.text // 2, disc.y + middle - reach + m.text // 2)

    def _radius(self, side: int) -> float:
        return side / 2 - max(3.0, self._m.text * 0.55)

    # --- what moves

    def _draw_lane(self, image: U8, lane: _Box, curves: list[Curve], start_s: float, time_s: float) -> None:
        upper, lower = self._halves(lane)
        per_s = upper.width / self._window_s
        for curve in curves:
            x = (curve.time_s - start_s) * per_s
            if len(x) == 1:  # seen once: as wide as a pixel, so that it is seen at all
                x, curve = np.array([x[0], x[0] + 1]), twice(curve)
            self._draw_emotions(upper.of(image), x, curve.probabilities)
            for column, colour, thin in (
                (2, VALENCE, True),
                (3, AROUSAL, True),
                (0, VALENCE, False),
                (1, AROUSAL, False),
            ):
                self._draw_line(lower.of(image), x, curve.affect[:, column], colour, thin)
        ahead = min(upper.width, max(0, round((time_s - start_s) * per_s)))
        plot = self._plot(lane)
        coming = _Box(plot.x + ahead, plot.y, plot.width - ahead, plot.height)
        if coming.width:
            view = coming.of(image)
            cv2.addWeighted(view, 0.42, coming.of(self._ground), 0.58, 0, dst=view)
        now = current(curves, time_s)
        if now is not None:
            self._draw_now(image, lane, *now)

    def _draw_emotions(self, image: U8, x: npt.NDArray[np.float64], probabilities: F32) -> None:
        height = image.shape[0]
        tops = height - 0.5 - np.cumsum(probabilities, axis=1) * height
        for number in reversed(range(len(EMOTIONS))):
            foot = np.full(2, height + 1.0)
            outline = np.stack([np.concatenate([x, x[[-1, 0]]]), np.concatenate([tops[:, number], foot])], axis=1)
            colour = self._m.paint(FILL[EMOTIONS[number]])
            cv2.fillPoly(image, [_fixed(outline)], colour, cv2.LINE_AA, SHIFT)

    def _draw_line(self, image: U8, x: npt.NDArray[np.float64], values: F32, colour: Colour, thin: bool) -> None:
        m, height = self._m, image.shape[0]
        known = ~np.isnan(values)
        if known.sum() < 2:
            return
        y = (height - 1) / 2 - np.clip(values[known], -1, 1) * (height - 1 - m.line) / 2
        if thin:
            colour = _mixed(colour, _LANE, 0.42)
        width = max(1, round(m.line * 0.5)) if thin else max(1, round(m.line * 0.9))
        points = _fixed(np.stack([x[known], y], axis=1))
        cv2.polylines(image, [points], False, m.paint(colour), width, cv2.LINE_AA, SHIFT)

    def _draw_now(self, image: U8, lane: _Box, curve: Curve, at: int) -> None:
        """Whose lane it is, what it shows now, and where valence and arousal have gone lately."""
        m = self._m
        best = int(curve.probabilities[at].argmax())
        name, sure = EMOTIONS[best], float(curve.probabilities[at, best])
        colour = COLOURS[name]
        line, x, y = (
            round(m.text * 1.65),
            lane.x + m.text // 2,
            lane.y + max(2, (lane.height - round(m.text * 5.2)) // 2),
        )
        self._chip(curve.face_id, colour).paste(image, x, y)
        text_sprite(name, WHITE, m).paste(image, x, y + line + m.text // 2)
        text_sprite(f"{min(99, round(sure * 100))}%", DIM, m).paste(image, x, y + 2 * line + m.text // 2)
        disc = self._disc(lane)
        view, radius, middle = disc.of(image), self._radius(disc.height), (disc.height - 1) / 2
        first = int(np.searchsorted(curve.time_s, curve.time_s[at] - _TRAIL_S))
        trail = curve.affect[first : at + 1, :2].astype(np.float64)
        trail = trail / np.maximum(1, np.hypot(trail[:, 0], trail[:, 1]))[:, None]
        points = _fixed(np.stack([middle + trail[:, 0] * radius, middle - trail[:, 1] * radius], axis=1))
        faint = m.paint(_mixed(colour, _LANE, 0.5))
        cv2.polylines(view, [points], False, faint, max(1, m.line), cv2.LINE_AA, SHIFT)
        dot = max(1.6, m.text * 0.34)
        centre = (int(points[-1, 0]), int(points[-1, 1]))
        cv2.circle(view, centre, round((dot + max(1.0, m.line * 0.7)) * _ONE), m.paint(_LANE), -1, cv2.LINE_AA, SHIFT)
        cv2.circle(view, centre, round(dot * _ONE), m.paint(colour), -1, cv2.LINE_AA, SHIFT)

    def _chip(self, face_id: int, colour: Colour) -> Sprite:
        m = self._m
        number = text_mask(str(face_id), m.text)
        wide, high = number.shape[1] + m.text, m.text * 2
        mask = np.zeros((high, wide), np.float32)
        top = (high - m.text) // 2
        mask[top : top + number.shape[0], m.text // 2 : m.text // 2 + number.shape[1]] = number[: high - top]
        return Sprite.of([(m.paint(colour), rounded_mask(wide, high, m.text * 0.45)), (m.paint(_INK), mask)])

    def _draw_time(self, image: U8, start_s: float, time_s: float) -> None:
        """Seconds below the lanes, and the playhead over all of them."""
        m, plot, last = self._m, self._plot(self._boxes[0]), self._boxes[-1]
        foot = last.y + last.height
        per_s = plot.width / self._window_s
        now = plot.x + min(plot.width - 1.0, max(0.0, (time_s - start_s) * per_s))
        text_y = foot + m.text // 2
        clock = text_sprite(_clock(time_s, 0.1), WHITE, m)
        clock_x = min(max(round(now - clock.width / 2), plot.x), plot.x + plot.width - clock.width)
        first = int(np.ceil(start_s / self._step_s))
        for tick in range(first, int((start_s + self._window_s) / self._step_s) + 1):
            x = round(plot.x + (tick * self._step_s - start_s) * per_s)
            label = text_sprite(_clock(tick * self._step_s, self._step_s), DIM, m)
            left = x - label.width // 2
            cv2.line(image, (x, foot + 1), (x, foot + max(2, m.text // 3)), m.paint(_GRID), max(1, m.line // 2))
            if left + label.width + m.text < clock_x or left > clock_x + clock.width + m.text:
                label.paste(image, left, text_y)
        clock.paste(image, clock_x, text_y)
        for part, colour in ((m.line + 2, _INK), (m.line, WHITE)):
            ends = _fixed(np.array([[now, self._boxes[0].y + 1.0], [now, foot - 1.0]]))
            cv2.polylines(image, [ends], False, m.paint(colour), part, cv2.LINE_AA, SHIFT)


def _even(value: float) -> int:
    return int(value) // 2 * 2


def _fixed(points: npt.NDArray[np.float64]) -> Points:
    return np.round(np.clip(points, -30000, 30000) * _ONE).astype(np.int32)


def _mixed(colour: Colour, ground: Colour, part: float) -> Colour:
    red, green, blue = (round(a * part + b * (1 - part)) for a, b in zip(colour, ground, strict=True))
    return red, green, blue


def _clock(time_s: float, step_s: float) -> str:
    """Minutes and seconds, with tenths where the steps are that fine."""
    tenths = round(time_s * 10)
    text = f"{tenths // 600}:{tenths // 10 % 60:02}"
    return text if step_s == int(step_s) else f"{text}.{tenths % 10}"
