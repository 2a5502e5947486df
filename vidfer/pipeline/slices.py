"""Slices of a long file, analysed apart: by other processes, on other machines, in any order.

A slice is read from a key frame some way before its first frame, and ends where the next one begins. What it leaves is
the raw parts of a run; `stitch` makes of all of them what one pass would have made.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vidfer.errors import InputError, UsageError, one_line
from vidfer.media.file import VideoFile
from vidfer.output.files import write_text
from vidfer.pipeline.analyze import Interval
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.looking import look, who
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions, frame_interval_s
from vidfer.pipeline.report import Account, StageTimes
from vidfer.pipeline.results import OnProgress, Progress
from vidfer.pipeline.resume import Journal
from vidfer.pipeline.split import Border, Splitter, forecast_of
from vidfer.pipeline.timed import timed_frames
from vidfer.types import Frame
from vidfer.vision.track import FaceTracker, TrackerOptions

_log = logging.getLogger(__name__)

_LOST = "lost.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a file; JSON-able.

    Attributes:
        key: SHA-256 of what decides its parts besides the networks: the file's content, the options, its borders.
        number: From 0.
        count: How many slices the file has.
        source: Fingerprint of the file.
        begin: Stamp of its first frame; None for the beginning of the file. Stamps are ticks, as in the tables' `pts`.
        end: Stamp of the frame before which it ends; None for the end of the file.
        frames: How many frames it has; None where that is not known.
        start_s, end_s: When it begins and ends.
        at_cut: Whether a shot begins with it.
        warm_from: Stamp of the frame that analysis begins with.
        bookmark: Where reading begins; None for the beginning of the file.
    """

    key: str
    number: int
    count: int
    source: dict[str, Any]
    begin: int | None = None
    end: int | None = None
    frames: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    at_cut: bool = False
    warm_from: int | None = None
    bookmark: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Self:
        """From JSON."""
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """What became of a slice.

    Attributes:
        state: "done", "resumed" (done after an interruption), "already done", or "lost": the file is damaged so that
            reading cannot begin there. Stitching then analyses the rest of the file.
        frames: Analysed, those before the first one included.
        faces: Found in them.
        seconds: Spent on it, by interrupted runs, too.
    """

    state: str
    frames: int = 0
    faces: int = 0
    seconds: float = 0.0


def plan_slices(path: Path, options: ProcessOptions, slice_s: float) -> list[Slice]:
    """Split a video into slices of about this length.

    One slice where the file is short, has no key frames to begin with, or its packets do not tell which frames they
    will give: without time stamps, with stamps that step back or stand still, with one packet for each field.

    Args:
        path: The video.
        options: Of the run.
        slice_s: Seconds.

    Raises:
        InputError: The video cannot be read.
        UsageError: The length is not allowed.
    """
    if not 0 < slice_s < float("inf"):
        raise UsageError(f"slice_s is {slice_s}: give the seconds of a slice, more than 0")
    with VideoFile(path, stream=options.stream, sampling=options.sampling()) as video, Fingerprint(path) as source:
        source.begin()
        info, borders = video.info, list[Border]()
        if info.duration_s is None or info.duration_s > slice_s:
            forecast = forecast_of(path, video, options)
            if forecast.oddity is None:
                borders = Splitter(info, options, forecast).borders(slice_s)
            else:
                _log.info("%s is analysed in one piece: %s", path, forecast.oddity)
        known = {**source.as_dict(), "sha256": source.sha256}
    if not borders:
        return [_slice(known, options, 0, [None, None], None)]
    ends = [None, *borders, None]
    pts = forecast.pts
    frames = [0, *pts.searchsorted([border.pts for border in borders]).tolist(), len(pts)]
    return [
        _slice(known, options, number, [*ends[number : number + 2]], frames[number + 1] - frames[number], len(ends) - 1)
        for number in range(len(ends) - 1)
    ]


def _slice(
    source: dict[str, Any],
    options: ProcessOptions,
    number: int,
    ends: list[Border | None],
    frames: int | None,
    count: int = 1,
) -> Slice:
    first, last = ends
    about: dict[str, Any] = {"end": last.pts if last else None}
    if first is not None:
        about |= {"begin": first.pts, "warm_from": first.warm_from, "bookmark": first.anchor.bookmark}
    decides = {"source": source["sha256"], "options": options.deciding(), **about}
    return Slice(
        key=hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest(),
        number=number,
        count=count,
        source=source,
        frames=frames,
        start_s=first.time_s if first else 0.0,
        end_s=last.time_s if last else None,
        at_cut=first is not None and first.is_cut,
        **about,
    )


def analyse_slice(
    path: Path,
    options: ProcessOptions,
    slice: Slice,  # noqa: A002 - what it is
    folder: Path,
    models: Models | None = None,
    progress: OnProgress | None = None,
) -> SliceResult:
    """Analyse a slice into raw parts. Called again it goes on with what was interrupted, and gives back what is done.

    Args:
        path: The video.
        options: Those that it was planned with.
        slice: Of `plan_slices`.
        folder: Of its own.
        models: Loaded networks; loaded here by default.
        progress: Called after every few frames.

    Raises:
        InputError: The video cannot be read, or is another one.
        OutputError: The parts cannot be written, or another process is at work on them.
    """
    with Fingerprint(path) as source:
        check_source(path, source, slice)
        models = models or Models(options.device, options.precision)
        with Journal(folder, {**who(options, models), "slice": slice.key}, source, keep=True) as journal:
            word = "already done"
            if journal.analysed is None:
                _analyse(path, options, slice, journal, models, progress)
                word = "resumed" if journal.resumed_frames else "done"
            if (state := journal.state) is not None:
                return SliceResult(state=word, frames=state["frames"], faces=state["faces"], seconds=state["wall_s"])
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _LOST, json.dumps({"slice": slice.key}))
    return SliceResult(state="lost")


def check_source(path: Path, source: Fingerprint, slice: Slice) -> None:  # noqa: A002
    """Refuse another file than the one that was planned.

    Raises:
        InputError: It is another one.
    """
    if not source.is_of(slice.source):
        raise InputError(f"{path} is not the file that its slices were planned for: plan them again")


def is_lost(slice: Slice, folder: Path) -> bool:  # noqa: A002
    """Whether a slice could not be read."""
    with suppress(OSError, ValueError):
        return bool(json.loads((folder / _LOST).read_text(encoding="utf-8")) == {"slice": slice.key})
    return False


def _analyse(
    path: Path,
    options: ProcessOptions,
    slice: Slice,  # noqa: A002
    journal: Journal,
    models: Models,
    progress: OnProgress | None,
) -> None:
    """Fill the journal; it stays empty where reading cannot begin."""
    begun = _begin(path, options, slice, journal)
    if begun is None:
        return
    video, tracker, interval_s = begun
    with video:
        tell = _Teller(journal, progress, slice.frames)
        times, rest = StageTimes(), list[Frame]()
        frames = itertools.dropwhile(lambda frame: _is_before(frame, slice.warm_from), timed_frames(video, times))
        # The last segment before the first frame of the slice ends there, as that of the slice before does.
        head = () if slice.begin is None else _before(slice.begin, frames, rest)
        for stretch in (head, _before(slice.end, itertools.chain(rest, frames), [])):
            look(
                journal,
                stretch,
                tracker,
                models=models,
                options=options,
                frame_interval_s=interval_s,
                times=times,
                tell=tell,
            )
        if journal.state is not None:
            journal.all_analysed(Account.of(video).as_dict())
        elif slice.bookmark is None:
            raise InputError(options.nothing_of(video.info))


def _begin(
    path: Path,
    options: ProcessOptions,
    slice: Slice,  # noqa: A002
    journal: Journal,
) -> tuple[VideoFile, FaceTracker, float] | None:
    """The video and the tracker as the journal leaves them, and the usual time between two frames.

    None where reading cannot begin.
    """

    def opened(mark: dict[str, Any] | None) -> VideoFile:
        return VideoFile(path, stream=options.stream, sampling=options.sampling(), bookmark=mark)

    if journal.state is not None:
        try:
            with ExitStack() as stack:
                video = stack.enter_context(opened(journal.state["analysis"]["bookmark"]))
                interval_s = frame_interval_s(video.info, options)
                tracker = journal.replay(TrackerOptions(), interval_s)
                stack.pop_all()
                return video, tracker, interval_s
        except InputError as error:
            journal.discard(one_line(error))
    else:
        journal.discard("they were made otherwise, or from another video")
    try:
        video = opened(slice.bookmark)
    except InputError as error:
        if slice.bookmark is None:
            raise
        _log.warning("slice %d of %s cannot be read by itself: %s", slice.number + 1, path, one_line(error))
        return None
    interval_s = frame_interval_s(video.info, options)
    return video, FaceTracker(frame_interval_s=interval_s, options=TrackerOptions()), interval_s


def _before(end: int | None, frames: Iterable[Frame], rest: list[Frame]) -> Iterator[Frame]:
    """Frames up to one that is not given out but put into `rest`."""
    for frame in frames:
        if end is not None and not _is_before(frame, end):
            rest.append(frame)
            return
        yield frame


def _is_before(frame: Frame, stamp: int | None) -> bool:
    """By stamps, not by numbers: frames that are lost by damage do not count."""
    return stamp is not None and (frame.pts is None or frame.pts < stamp)


class _Teller:
    """Tells how far a slice is, in frames of the slice."""

    def __init__(self, journal: Journal, progress: OnProgress | None, frames: int | None) -> None:
        self._before, self._faces, self._progress = journal.resumed_frames, journal.resumed_faces, progress
        self._done, self._frames, self._began = self._before, frames, time.perf_counter()

    def __call__(self, interval: Interval, faces: int) -> None:
        """The next frames are done; `faces` is not used since it begins anew with every stretch."""
        self._done += len(interval.results)
        self._faces += sum(len(result.faces) for result in interval.results)
        if self._progress is not None:
            self._progress(
                Progress(
                    stage="analyse",
                    frames_done=self._done,
                    frames_total=self._frames,
                    time_s=interval.results[-1].time_s or 0.0,
                    seconds=time.perf_counter() - self._began,
                    faces=self._faces,
                    frames_before=self._before,
                )
            )
