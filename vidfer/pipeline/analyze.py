"""Analysis of one source: cut into segments, look at them in parallel, track in order.

frames --> Segmenter (a thread) --> segments --> Looker (`workers` threads, any order) --> tracker (the caller)

What is seen in a segment is a pure function of its frames and of the key frames around them, so the results do not
depend on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from vidfer.pipeline.looks import Detector, Key, Looker, Network
from vidfer.pipeline.queues import read_ahead
from vidfer.pipeline.segments import Segment, Segmenter
from vidfer.types import DETECTED, F32, I64, Detections, Frame, FrameResult

# Pictures wait in memory: never more of them than this many pixels (0.1 GB), but enough segments to keep the threads
# busy.
_MOST_WAITING_PX = 32 * 1920 * 1080
_SEGMENTS_AHEAD = 1
_EMBEDDING_SIZE = 128


class Tracker(Protocol):
    """Gives tracklet ids; see `vision.track.FaceTracker`."""

    def update(self, time_s: float, shot: int, detections: Detections, embedding: F32) -> I64:
        """Tracklet id of every detection."""
        ...


class Follower:
    """The tracker, its clock, and the precision of the parts: so replaying parts gives the same ids as analysing.

    Args:
        tracker: Tracker of the source.
        frame_interval_s: How far the clock goes on with a frame that has no time.
        time_s: What the clock shows.
    """

    def __init__(self, tracker: Tracker, frame_interval_s: float, time_s: float = 0.0) -> None:
        self._tracker, self._interval_s, self.time_s = tracker, frame_interval_s, time_s

    def update(self, time_s: float | None, shot: int, detections: Detections, embedding: F32) -> I64:
        """Tracklet id of every face of the next frame; call it for frames without faces too."""
        self.time_s = time_s if time_s is not None else self.time_s + self._interval_s
        return self._tracker.update(self.time_s, shot, detections, embedding.astype(np.float16).astype(np.float32))


@dataclass(slots=True)
class AnalysisCounts:
    """How often the expensive things ran, for the results given out so far."""

    frames: int = 0
    detector_runs: int = 0
    faces: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Results of the frames of one segment, and where the analysis stands after them.

    It holds the last picture: keep one at most.

    Attributes:
        results: Tracked, in order.
        segment: Of which only the last frame is left.
        key: The last frame as a key frame.
        time_s: The tracker's clock.
    """

    results: list[FrameResult]
    segment: Segment
    key: Key
    time_s: float

    def state(self) -> dict[str, Any]:
        """All that an `Analyzer` needs to go on after this interval, except the tracker; JSON-able.

        `bookmark` is the last frame's: where reading has to go on.
        """
        return {
            "bookmark": self.segment.frames[-1].bookmark(),
            "segmenter": self.segment.state(),
            "key": self.key.state(),
            "time_s": self.time_s,
        }


_Seen = tuple[list[FrameResult], int]  # results without ids, and how often the detector ran


@dataclass(slots=True, kw_only=True)
class _Running:
    """A segment that threads are at work on."""

    segment: Segment
    pixels: int
    key: Future[Key]
    looked: Future[_Seen]


class Analyzer:
    """Frames in, intervals of results out, in the same order.

    Args:
        detector: Face detector; used by all threads.
        network: Face network; used by all threads.
        tracker: Tracker of this source; owned by this analyzer. To go on after a state it must have seen all frames up
            to there again, through a `Follower`.
        frame_interval_s: Usual time between two frames.
        detect_every: Frames from key frame to key frame, see `Segmenter`.
        state: `Interval.state()` of the interval to go on after.
        workers: Threads that look at segments.
    """

    def __init__(
        self,
        detector: Detector,
        network: Network,
        tracker: Tracker,
        *,
        frame_interval_s: float,
        detect_every: int | None = None,
        state: dict[str, Any] | None = None,
        workers: int = 1,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._looker = Looker(detector, network)
        self._follower = Follower(tracker, frame_interval_s, state["time_s"] if state else 0.0)
        self._workers = workers
        self._segmenter = Segmenter(
            frame_interval_s=frame_interval_s, detect_every=detect_every, state=state and state["segmenter"]
        )
        self._key: Future[Key] = Future()
        if state:
            self._key.set_result(Key.from_state(state["key"]))
        self.counts = AnalysisCounts()

    def intervals(self, frames: Iterable[Frame]) -> Generator[Interval]:
        """Analyse all frames; call it once. The frames are taken by a thread of their own.

        Any error ends the analysis and all of its threads, and so does closing the generator (`contextlib.closing`: an
        error of the caller alone doesn't close it).
        """
        segments = self._segmenter.segments(frames)
        with read_ahead("segment", segments, _SEGMENTS_AHEAD) as waiting, _pool(self._workers) as pool:
            running: deque[_Running] = deque()
            for segment in waiting:
                running.append(self._start(pool, segment))
                while running and (running[0].looked.done() or self._is_full(running)):
                    yield self._finish(running.popleft())
            while running:
                yield self._finish(running.popleft())

    def _is_full(self, running: deque[_Running]) -> bool:
        enough = len(running) > self._workers
        return enough and (len(running) > 2 * self._workers or sum(r.pixels for r in running) > _MOST_WAITING_PX)

    def _start(self, pool: ThreadPoolExecutor, segment: Segment) -> _Running:
        before, self._key = self._key, Future()
        last = segment.frames[-1]
        pixels = len(segment.frames) * last.picture.width * last.picture.height
        looked = pool.submit(self._look, segment, before, self._key)
        return _Running(segment=replace(segment, frames=[last]), pixels=pixels, key=self._key, looked=looked)

    def _look(self, segment: Segment, before: Future[Key], key: Future[Key]) -> _Seen:
        """Runs in the pool, which starts segments in order: whom this waits for has started, and so have those before.

        It waits for little: detector and face network on one frame.
        """
        *between, last = segment.frames
        try:
            (end,) = self._looker.find([last])
            start = None if segment.opens else before.result()
            self._looker.confirm([end], None if start is None else [start.box_px])
            key.set_result(end.key())
        except BaseException as error:
            key.set_exception(error)
            raise
        looks = [end] if start is None else [*self._looker.between(between, start, end.key()), end]
        results = [look.result(segment.shot) for look in looks]
        return results, sum(look.status == DETECTED for look in looks)

    def _finish(self, running: _Running) -> Interval:
        looked, detector_runs = running.looked.result()
        results = [self._track(result) for result in looked]
        self.counts.frames += len(results)
        self.counts.faces += sum(len(result.faces) for result in results)
        self.counts.detector_runs += detector_runs
        return Interval(
            results=results, segment=running.segment, key=running.key.result(), time_s=self._follower.time_s
        )

    def _track(self, result: FrameResult) -> FrameResult:
        faces = result.faces
        detections = Detections(box_px=faces.box_px, score=faces.score)
        embedding = faces.heads.get("embedding", np.zeros((0, _EMBEDDING_SIZE), np.float32))
        ids = self._follower.update(result.time_s, result.shot, detections, embedding)
        return replace(result, faces=replace(faces, track_id=ids))


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops what has not begun when the block is left, and waits for what has."""
    pool = ThreadPoolExecutor(workers, "look")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
