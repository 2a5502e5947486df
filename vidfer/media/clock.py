"""The time of decoded frames: stamps as the container has them, never index / frame rate where there is better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_log = logging.getLogger(__name__)

_RESET_S = 1
_VARIABLE = 0.01
_FINE_TICKS = 4  # a frame that lasts fewer ticks is counted in frames: one tick more is a frame left out, not rounding


@dataclass(frozen=True, slots=True)
class Moment:
    """When a frame is shown.

    Attributes:
        pts: Its stamp in ticks; None where the container has none.
        ticks: Ticks since the first frame; None where nothing tells.
        time_s: The same in seconds.
        epoch: +1 whenever the stamps start anew.
    """

    pts: int | None
    ticks: Fraction | None
    time_s: float | None
    epoch: int


class Clock:
    """Gives the frames of one stream, in the order of showing, their moments, and learns how regular they are."""

    def __init__(self, time_base: Fraction, frame_rate: Fraction | None) -> None:
        """Args: the tick in seconds, and the rate by which frames without a stamp are placed after the one before."""
        self._time_base = time_base
        self._nominal = None if not frame_rate else 1 / (frame_rate * time_base)
        self._origin: Fraction | None = None
        self._last: Fraction | None = None
        self._last_pts: int | None = None
        self._shortest: int | None = None
        self._longest = 0
        self._epoch = 0
        self._guessing = False

    def moment(self, pts: int | None, duration: int | None) -> Moment:
        """The moment of the next frame, from its stamp and its duration in ticks (None or 0: unknown)."""
        if pts is None:
            ticks = self._guess(duration)
        else:
            if self._origin is None:
                self._origin = pts - self._guess(duration) if self._last is not None else Fraction(pts)
            ticks = pts - self._origin
            self._learn(pts)
        self._last = ticks
        time_s = None if ticks is None else float(ticks * self._time_base)
        return Moment(pts, ticks, time_s, self._epoch)

    @property
    def last_s(self) -> float:
        """The time of the last frame; 0 before there is one."""
        return float((self._last or 0) * self._time_base)

    def state(self) -> tuple[Any, ...]:
        """All that it knows so far."""
        return (
            self._origin, self._last, self._last_pts, self._shortest, self._longest, self._epoch, self._guessing
        )  # fmt: skip

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from a state; fractions may be written as text."""
        origin, last, self._last_pts, self._shortest, self._longest, self._epoch, self._guessing = state
        self._origin = None if origin is None else Fraction(origin)
        self._last = None if last is None else Fraction(last)

    @property
    def is_variable(self) -> bool:
        """Whether the frames so far come at uneven intervals, beyond the rounding of stamps to ticks."""
        if self._shortest is None:
            return False
        rounding = 1.0 if self._shortest >= _FINE_TICKS else 0.0
        return self._longest - self._shortest > max(rounding, self._shortest * _VARIABLE)

    def _learn(self, pts: int) -> None:
        if self._last_pts is not None:
            step = pts - self._last_pts
            if step * self._time_base < -_RESET_S:
                self._epoch += 1
                _log.warning("the stamps go back by %.1f s: a new epoch begins", float(-step * self._time_base))
            else:
                self._shortest = step if self._shortest is None else min(step, self._shortest)
                self._longest = max(step, self._longest)
        self._last_pts = pts

    def _guess(self, duration: int | None) -> Fraction:
        if self._last is None:
            return Fraction(0)
        if not self._guessing:
            self._guessing = True
            _log.warning("frames without a time stamp: placed after the one before by their duration")
        return self._last + (Fraction(duration) if duration else self._nominal or 0)
