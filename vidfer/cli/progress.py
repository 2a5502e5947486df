"""What a person sees on stderr while a run lasts: one live line on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from vidfer.pipeline.results import Progress

_STAGES = {"analyse": "analysing", "finish": "finishing", "render": "drawing"}
_LIVE_S = 0.1
_SPARSE_S = 10.0


def clock(seconds: float) -> str:
    """Seconds as people read them: 0:07, 12:30, 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def describe(progress: Progress) -> str:
    """One moment of a run in words: frames, frames/s, times real time, time left, faces."""
    done, total, seconds = progress.frames_done, progress.frames_total, progress.seconds
    words = [_STAGES.get(progress.stage, progress.stage)]
    if done:
        words.append(f"{done}/{total} frames" if total else f"{done} frames")
    now = done - progress.frames_before  # the rest was done by a run that was interrupted
    if now > 0 and seconds > 0:
        words.append(f"{now / seconds:.0f} frames/s")
        if progress.time_s > 0:
            words.append(f"{progress.time_s * now / done / seconds:.1f}x real time")
        if total and total > done:
            words.append(f"{clock((total - done) * seconds / now)} left")
    if progress.stage == "analyse" and done:
        words.append("1 face" if progress.faces == 1 else f"{progress.faces} faces")
    return " · ".join(words)


def is_live(stream: TextIO) -> bool:
    """Whether a line on `stream` can be written over."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _write(stream: TextIO, text: str) -> None:
    """Show something at once; a reader that went away (`2>&1 | head`) is no reason to stop the work."""
    with suppress(OSError):
        stream.write(text)
        stream.flush()


class ProgressLine:
    """Writes the progress of one source after another to a stream.

    Args:
        stream: Where to, usually stderr.
        live: Write over one line; else a line every ten seconds.
        now: Seconds of a clock that only goes forward.
    """

    def __init__(self, stream: TextIO, *, live: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self.live = live
        self._now = now
        self._due = now() + (0 if live else _SPARSE_S)
        self._shown = False

    def update(self, source: str, progress: Progress) -> None:
        """Show how far `source` is, unless something was shown just now."""
        self.offer(lambda: f"{source}: {describe(progress)}")

    def offer(self, text: Callable[[], str]) -> None:
        """Show a text, unless something was shown just now."""
        now = self._now()
        if now < self._due:
            return
        self._due = now + (_LIVE_S if self.live else _SPARSE_S)
        self.write(text())

    def write(self, text: str) -> None:
        """Show this, over what was shown before on a terminal."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            _write(self._stream, f"\r{text[:width]}\x1b[K")
            self._shown = True
        else:
            _write(self._stream, text + "\n")

    def clear(self) -> None:
        """Take the live line away, so that something else can be written."""
        if self._shown:
            _write(self._stream, "\r\x1b[K")
            self._shown = False


class LogLines(logging.Handler):
    """Warnings of the library as single lines on stderr that do not run into the live line."""

    def __init__(self, stream: TextIO, line: ProgressLine) -> None:
        super().__init__()
        self._stream = stream
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._line.clear()
        _write(self._stream, f"vidfer: {record.levelname.lower()}: {self.format(record)}\n")


class JsonLines(logging.Handler):
    """The log as JSON, one object a line: time, level, message, and what a record says besides."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        utc = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"utc": utc, "level": record.levelname.lower(), "message": record.getMessage()}
        besides = {name: getattr(record, name, None) for name in ("camera", "event", "reason")}
        entry |= {name: value for name, value in besides.items() if value is not None}
        if record.exc_info:
            entry["traceback"] = logging.Formatter().formatException(record.exc_info)
        _write(self._stream, json.dumps(entry, ensure_ascii=False) + "\n")


@contextmanager
def logs_shown(
    line: ProgressLine,
    stream: TextIO,
    *,
    debug: bool,
    quiet: bool,
    usual: int = logging.WARNING,
    handler: logging.Handler | None = None,
) -> Iterator[None]:
    """Send vidfer's own log to `stream`, or to `handler`: all with `debug`, errors only with `quiet`, else `usual`."""
    logger = logging.getLogger("vidfer")
    handler, level = handler or LogLines(stream, line), logger.level
    logger.setLevel(logging.DEBUG if debug else logging.ERROR if quiet else usual)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
