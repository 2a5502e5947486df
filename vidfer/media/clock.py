"""The time of decoded frames: stamps as the container has them, never index / frame rate where there is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Any

_RESET_S = 1
_JUMP_S = 5  # stamps of a camera may run so far from the clock on the wall from one frame to the next
_VARIABLE = 0.01
_USUAL = 0.9  # of the steps, from which on longer ones are holes
_FEW_REPEATED = 0.05  # of the steps
_FINE_TICKS = 4  # a frame that lasts fewer ticks is counted in frames: one tick more is a frame left out, not rounding


@dataclass(frozen=True, slots=True)
class Moment:
    """When a frame is shown.

    Attributes:
        pts: Its stamp in ticks; None where the container has none.
        ticks: Ticks since the first frame.
        time_s: The same in seconds.
        epoch: +1 whenever the stamps start anew.
    """

    pts: int | None
    ticks: Fraction
    time_s: float
    epoch: int


@dataclass(slots=True)
class _State:
    """All that a clock keeps in mind.

    Attributes:
        origin: The stamp whose time is 0; moved wherever the stamps start anew.
        last: Ticks of the last frame since the first one.
        last_pts: The last stamp.
        before_jump: The stamp before the last one that was more than a second ahead.
        shortest, longest: Ticks between frames.
        steps: Steps between stamps.
        regular: Those of the length that the declared frame rate leads to.
        jumps: Those longer by half a frame or more.
        missing: How many frames more the stamps have room for.
        epoch: How often the stamps have started anew.
        guessing: Whether a frame had no stamp.
        latest: The most ticks of any frame since the first one.
        repeated: Steps between equal stamps.
    """

    origin: Fraction | None = None
    last: Fraction | None = None
    last_pts: int | None = None
    before_jump: int | None = None
    shortest: int | None = None
    longest: int = 0
    steps: int = 0
    regular: int = 0
    jumps: int = 0
    missing: int = 0
    epoch: int = 0
    guessing: bool = False
    latest: Fraction | None = None
    repeated: int = 0


# Names of what `Clock.state` gives.
CLOCK_STATE: tuple[str, ...] = tuple(_State.__dataclass_fields__)
_values = attrgetter(*CLOCK_STATE)


class Clock:
    """Gives the frames of one stream, in the order of showing, their moments, and learns how regular they are.

    Where the stamps go back by more than a second they have started anew (joined recordings, a camera that was switched
    off): a new epoch, in which time goes on one frame after the last one. Stamps that only come back to where they had
    jumped ahead from are frames out of order, as after damage: they keep their time, which then goes back.
    """

    def __init__(self, time_base: Fraction, frame_rate: Fraction | None) -> None:
        """Args: the tick in seconds, and the rate by which frames without a stamp are placed after the one before."""
        self._time_base = time_base
        self._nominal = None if not frame_rate else 1 / (frame_rate * time_base)
        self._usual = float(self._nominal or 0)
        self._now = _State()

    def moment(self, pts: int | None, duration: int | None) -> Moment:
        """The moment of the next frame, from its stamp and its duration in ticks (None or 0: unknown)."""
        now = self._now
        if pts is None:
            now.guessing = now.guessing or now.last is not None
            now.last = self._next(duration)
        else:
            if now.origin is None:
                now.origin = pts - self._next(duration)
            self._learn(pts, duration)
            now.last = pts - now.origin
        now.latest = now.last if now.latest is None else max(now.latest, now.last)
        return Moment(pts, now.last, float(now.last * self._time_base), now.epoch)

    @property
    def last_s(self) -> float:
        """The time of the last frame; 0 before there is one."""
        return float((self._now.last or 0) * self._time_base)

    @property
    def latest_s(self) -> float:
        """The largest time of any frame; stamps may step back at the end."""
        return float((self._now.latest or 0) * self._time_base)

    @property
    def repeated(self) -> int:
        """How many frames have the stamp of the frame before; 0 where those are few."""
        now = self._now
        return now.repeated if now.repeated > _FEW_REPEATED * now.steps else 0

    @property
    def epochs(self) -> int:
        """How often the stamps have started anew."""
        return self._now.epoch

    @property
    def is_guessing(self) -> bool:
        """Whether a frame after the first had no stamp."""
        return self._now.guessing

    @property
    def holes(self) -> tuple[int, int]:
        """How many frames seem to be missing, and in how many places; (0, 0) where frames come unevenly anyhow."""
        now = self._now
        usual = now.regular >= _USUAL * now.steps
        return (now.missing, now.jumps) if usual and now.missing > 0 else (0, 0)

    @property
    def is_variable(self) -> bool:
        """Whether the frames so far come at uneven intervals, beyond the rounding of stamps to ticks."""
        shortest = self._now.shortest
        if shortest is None:
            return False
        rounding = 1.0 if shortest >= _FINE_TICKS else 0.0
        return self._now.longest - shortest > max(rounding, shortest * _VARIABLE)

    def state(self) -> tuple[Any, ...]:
        """All that it knows so far."""
        return _values(self._now)

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from a state; fractions may be written as text."""
        now = self._now = _State(*state)
        now.origin = None if now.origin is None else Fraction(now.origin)
        now.last = None if now.last is None else Fraction(now.last)
        now.latest = None if now.latest is None else Fraction(now.latest)

    def _learn(self, pts: int, duration: int | None) -> None:
        now = self._now
        if now.last_pts is not None:
            step = pts - now.last_pts
            if step * self._time_base < -_RESET_S:
                if now.before_jump is None or pts <= now.before_jump:
                    self._start_anew(pts, duration)
                else:
                    self._look_for_holes(step)
            else:
                now.shortest = step if now.shortest is None else min(step, now.shortest)
                now.longest = max(step, now.longest)
                self._look_for_holes(step)
                if step * self._time_base > _RESET_S:
                    now.before_jump = now.last_pts
        now.last_pts = pts

    def _start_anew(self, pts: int, duration: int | None) -> None:
        now = self._now
        now.epoch += 1
        now.before_jump = None
        now.origin = pts - self._next(duration)

    def _look_for_holes(self, step: int) -> None:
        now, usual = self._now, self._usual
        now.steps += 1
        now.repeated += step == 0
        if usual:
            now.regular += abs(step - usual) <= max(1.0, usual * _VARIABLE)
            if step > 1.5 * usual or step <= 0:  # what goes back fills a hole
                now.jumps += step > 0
                now.missing += round(step / usual) - 1

    def _next(self, duration: int | None) -> Fraction:
        """Where the frame after the last one is."""
        last = self._now.last
        if last is None:
            return Fraction(0)
        return last + (Fraction(duration) if duration else self._nominal or 0)


class LiveClock:
    """Times of the frames of a camera: by its stamps where they go on, by this machine's clock where they do not.

    Never back, over any number of connections: a new epoch begins with each of them, and wherever the stamps jump.

    Args:
        epoch: Of the first frame.
        time_s: Of the first frame.
    """

    def __init__(self, *, epoch: int, time_s: float) -> None:
        self._epoch, self._time_s = epoch, time_s
        self._offset_s: float | None = None  # from stamps to times; None before the first stamp of an epoch
        self._stamp_s = self._first_stamp_s = 0.0
        self._step_s = 0.0  # the last one that was fine
        self._came: float | None = None  # when the last frame came
        self._begins = self._connected = self._arrivals = False
        self._anchor = self._nominal_s = 0.0

    @property
    def stamped_s(self) -> float:
        """How far the stamps of this connection have come."""
        return self._stamp_s - self._first_stamp_s

    def connect(self, *, arrivals: bool, frame_rate: Fraction | None = None) -> None:
        """A new connection, or another picture.

        Args:
            arrivals: Frames come when they are made: the clock on the wall says how far they are apart.
            frame_rate: As declared, for streams whose first frames have no stamps and come all at once.
        """
        self._arrivals, self._begins = arrivals, self._came is not None
        self._nominal_s = float(1 / frame_rate) if frame_rate else 0.0
        self._offset_s, self._connected = None, True

    def moment(self, pts: int | None, tick: Fraction, now: float) -> tuple[int, float]:
        """Epoch and time of the next frame, from its stamp and from when it came."""
        stamp_s = None if pts is None else float(pts * tick)
        elapsed_s = 0.0 if self._came is None else now - self._came
        # Frames of a recording come as fast as they are read.
        guess_s = self._time_s + (elapsed_s if self._arrivals or self._begins else self._step_s)
        if stamp_s is not None and self._offset_s is None and not (self._begins or self._connected):
            guess_s = self._time_s + (self._nominal_s or elapsed_s)  # the frames before had no stamps
        time_s = guess_s
        if stamp_s is not None and self._offset_s is not None:
            step_s, time_s = stamp_s - self._stamp_s, stamp_s + self._offset_s
            if step_s < -_RESET_S or (self._arrivals and abs(time_s - guess_s) > _JUMP_S):
                self._begins, self._offset_s, time_s = True, None, guess_s
            elif step_s > 0:
                self._step_s = step_s
            else:  # some cameras repeat one stamp for ever
                time_s = guess_s
        if stamp_s is not None:
            if self._offset_s is None:
                self._offset_s, self._first_stamp_s = time_s - stamp_s, stamp_s
            self._stamp_s = stamp_s
        if self._connected:
            self._anchor, self._connected = now - time_s, False
        self._epoch += self._begins
        self._begins, self._came = False, now
        self._time_s = max(self._time_s, time_s)
        return self._epoch, self._time_s

    def due(self, time_s: float) -> float:
        """When a frame of this time is to be shown, if the first one of the connection was when it came."""
        return self._anchor + time_s
