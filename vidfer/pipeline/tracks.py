"""A second look at a whole file: final ids, bridged gaps and smoothed affect, from what analysis left in the parts.

The parts lie in the order of time, linking and smoothing need them track by track. So the columns that these need go
into scratch files first, tracklet by tracklet; a track is then a few stretches in there. In memory are some bytes for
each frame, the sums of linking, and one track at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.pipeline.bridge import Bridge, bridge
from vidfer.pipeline.raw import matrix
from vidfer.pipeline.scratch import Rows, Scratch, Slots, Span
from vidfer.pipeline.timeline import Timeline
from vidfer.smooth import Smoothed, Smoothing
from vidfer.types import DETECTED, F32, I64, Bool
from vidfer.vision.tracklets import LinkOptions, Tracklet, link_tracklets

# Best detector score + mean presence of a track of a real face. One look can be wrong, a whole track hardly: on the
# development clips without a face 0.3 % of the frames keep one (a cartoon rabbit: 1.56 and 1.70; nothing else is above
# 1.45), and on the others no true face lies between 1.39 and 1.67.
SURE_FACE = 1.5

FRAME_COLUMNS = ("frame", "time_s", "shot", "epoch", "tracklet")
_LOOK_COLUMNS = ("frame", "tracklet", "status", "score", "presence", "quality", "box")
FACE_COLUMNS = (*_LOOK_COLUMNS, "emotion", "valence_arousal", "embedding")
_LOOK = np.dtype(
    [("at", "i4"), ("score", "f4"), ("presence", "f4"), ("quality", "f4"), ("box", "f4", 4), ("detected", "?")]
)
_AFFECT = np.dtype(("f4", 10))
_EMBEDDING = np.dtype(("f2", 128))
SMOOTHED = np.dtype([("emotion_probability", "f4", 8), ("valence_arousal", "f4", 2), ("emotion", "i1")])
_BLOCK = 4096  # rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One track of a face: every look at it, in the order of time.

    Attributes:
        face_id: Dense from 0, in order of first appearance.
        frame: i64[T].
        timestamp: Of its first and last frame, None where they have none.
        analysed: Number of frames from its first to its last one.
        look: Rows with score, quality and box.
        affect: f32[T,10], probabilities of the emotions, valence, arousal.
    """

    face_id: int
    frame: I64
    timestamp: tuple[float | None, float | None]
    analysed: int
    look: Rows
    affect: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The sure faces of one part, in its order, and what bridges gaps in its frames.

    Attributes:
        is_sure: bool[R], which rows of the part they are.
        face_id: i64[S].
        smoothed: [S] of `SMOOTHED`.
        bridge_at: i64[B], place of the frame among those of the part.
        bridge_id: i64[B], face id.
        bridge_box: f32[B,4].
    """

    is_sure: Bool
    face_id: I64
    smoothed: Rows
    bridge_at: I64
    bridge_id: I64
    bridge_box: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """Stretches of rows in the scratch files: start, end, face id (-1 is none), and where the track goes on (or -1)."""

    start: I64
    stop: I64
    face_id: I64
    onward: I64

    def of(self, slot: I64) -> I64:
        return np.searchsorted(self.start, slot, "right") - 1


class SecondLook:
    """Links, smooths and bridges the faces of a whole source; a context manager, which owns its scratch files.

    Args:
        folder: For the scratch files.
        parts: Reads some columns of the raw parts, from the first part on at every call.
        frame_interval_s: Usual time between two analysed frames.
    """

    def __init__(
        self, folder: Path, parts: Callable[[tuple[str, ...]], Iterable[pa.Table]], *, frame_interval_s: float
    ) -> None:
        self._folder, self._parts = folder, parts
        self._files = ExitStack()
        self._time = Timeline(frame_interval_s)
        self.faces = 0

    def __enter__(self) -> Self:
        with ExitStack() as files:
            self._look, self._affect, self._embedding, self._smoothed = (
                files.enter_context(Scratch(self._folder / f"{name}.scratch", kind))
                for name, kind in (
                    ("look", _LOOK),
                    ("affect", _AFFECT),
                    ("embedding", _EMBEDDING),
                    ("smoothed", SMOOTHED),
                )
            )
            self._count()
            self._gather()
            self._files = files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def _count(self) -> None:
        """The frames, and how many faces each tracklet has."""
        counts: dict[int, int] = {}
        for part in self._parts(FRAME_COLUMNS):
            frame, time_s, shot, epoch = (part[name].to_numpy() for name in FRAME_COLUMNS[:4])
            self._time.add(frame, time_s, shot, epoch)
            for name, count in zip(*np.unique(_tracklets(part), return_counts=True), strict=True):
                counts[int(name)] = counts.get(int(name), 0) + int(count)
        self._time.close()
        self._names = np.array(sorted(counts), np.int64)
        self._counts = np.array([counts[name] for name in self._names.tolist()], np.int64)

    def _slots(self) -> Callable[[pa.Table], I64]:
        """Gives the places in the scratch files of the faces of one part after the other."""
        slots = Slots(self._counts)
        return lambda part: slots.of(np.searchsorted(self._names, _tracklets(part)))

    def _gather(self) -> None:
        slots = self._slots()
        for part in self._parts(FACE_COLUMNS):
            slot = slots(part)
            faces = part.filter(pc.is_valid(part["tracklet"]))
            look = np.empty(len(slot), _LOOK)
            look["at"] = self._time.position(faces["frame"].to_numpy())
            look["detected"] = faces["status"].to_numpy() == DETECTED
            look["box"] = matrix(faces["box"], 4)
            for name in ("score", "presence", "quality"):
                look[name] = faces[name].to_numpy()
            affect = np.concatenate([softmax(matrix(faces["emotion"], 8)), matrix(faces["valence_arousal"], 2)], axis=1)
            self._look.put(slot, look)
            self._affect.put(slot, affect)
            self._embedding.put(slot, matrix(faces["embedding"], 128))

    def tracks(self, smoothing: Smoothing, link: LinkOptions, describe: Callable[[Track], T]) -> list[T]:
        """Smooth every track that is a face, and describe it; to be done before `observations`."""
        first = np.cumsum(self._counts) - self._counts
        links = link_tracklets(map(self._tracklet, first.tolist(), np.cumsum(self._counts).tolist()), link)
        start = first[links.tracklet] + links.start
        stop = np.append(start[1:], self._counts.sum())
        face_id, onward = np.full(len(start), -1), np.full(len(start), -1)
        order = np.lexsort((self._look.get(start)["at"], links.track))
        described: list[T] = []
        for mine in np.split(order, np.flatnonzero(np.diff(links.track[order])) + 1) if len(order) else []:
            spans = list(zip(start[mine].tolist(), stop[mine].tolist(), strict=True))
            look = self._look.read(spans)
            if not is_face(look["score"], look["presence"], look["detected"]):
                continue
            face_id[mine], onward[mine[:-1]] = len(described), start[mine[1:]]
            affect = self._affect.read(spans)
            described.append(describe(self._track(len(described), look, affect)))
            self.faces += len(look)
            at, quality = look["at"].copy(), look["quality"].copy()
            del look
            keep(self._smoothed, spans, self._time.smooth(at, affect, quality, smoothing))
        self._pieces = _Pieces(start=start, stop=stop, face_id=face_id, onward=onward)
        return described

    def _tracklet(self, start: int, stop: int) -> Tracklet:
        look = self._look.read([(start, stop)])
        at = look["at"].astype(np.int64)
        return Tracklet(
            frame=self._time.frame[at],
            time_s=self._time.time_s[at],
            shot=int(self._time.segment[at[0]]),
            box_px=look["box"].copy(),
            confidence=look["score"].copy(),
            embedding=lambda a, b: self._embedding.read([(start + a, start + b)]).astype(np.float32),
        )

    def stretches(self) -> Iterator[tuple[int, Tracklet]]:
        """Every stretch of a face, with its face id; to be done after `tracks`."""
        pieces = self._pieces
        for i in np.flatnonzero(pieces.face_id >= 0).tolist():
            yield int(pieces.face_id[i]), self._tracklet(int(pieces.start[i]), int(pieces.stop[i]))

    def _track(self, face_id: int, look: Rows, affect: F32) -> Track:
        at = look["at"]
        ends = at[0], at[-1]
        first, last = (float(self._time.time_s[i]) if self._time.is_timed[i] else None for i in ends)
        return Track(
            face_id=face_id,
            frame=self._time.frame[at],
            timestamp=(first, last),
            analysed=int(at[-1] - at[0]) + 1,
            look=look,
            affect=affect,
        )

    def observations(self, columns: tuple[str, ...]) -> Iterator[tuple[pa.Table, Seen]]:
        """The parts again, with some of their columns, and what is to be said of their faces."""
        slots, pending = self._slots(), Bridge.none()
        for part in self._parts(columns):
            frame = part["frame"].to_numpy()
            is_sure = pc.is_valid(part["tracklet"]).to_numpy().copy()
            slot = slots(part)
            face_id = self._pieces.face_id[self._pieces.of(slot)]
            is_sure[is_sure] = face_id >= 0
            slot, face_id = slot[face_id >= 0], face_id[face_id >= 0]
            box = matrix(part["box"], 4)[is_sure]
            pending = pending + self._bridge(slot, self._time.position(frame[is_sure]), face_id, box)
            now = pending.at <= self._time.position(frame[-1:]) if len(frame) else np.zeros(len(pending.at), bool)
            bridge, pending = pending.some(now), pending.some(~now)
            yield (
                part,
                Seen(
                    is_sure=is_sure,
                    face_id=face_id,
                    smoothed=self._smoothed.get(slot),
                    bridge_at=np.searchsorted(frame, self._time.frame[bridge.at]),
                    bridge_id=bridge.face_id,
                    bridge_box=bridge.box_px,
                ),
            )

    def _bridge(self, slot: I64, at: I64, face_id: I64, box: F32) -> Bridge:
        """What bridges the gaps behind these rows, up to the next rows of their tracks."""
        piece = self._pieces.of(slot)
        onward = np.where(slot + 1 < self._pieces.stop[piece], slot + 1, self._pieces.onward[piece])
        a = np.flatnonzero(onward >= 0)
        following = self._look.get(onward[a])
        gap = following["at"] > at[a] + 1
        a, following = a[gap], following[gap]
        return bridge(at[a], following["at"].astype(np.int64), face_id[a], box[a], following["box"], self._time)


def keep(scratch: Scratch, spans: Sequence[Span], smoothed: Smoothed) -> None:
    """Write a smoothed track to its places, as rows of `SMOOTHED`."""
    done = 0
    for start, stop in spans:
        for begin in range(start, stop, _BLOCK):
            slot = np.arange(begin, min(begin + _BLOCK, stop))
            rows = np.empty(len(slot), SMOOTHED)
            for name in SMOOTHED.names or ():
                rows[name] = getattr(smoothed, name)[done : done + len(slot)]
            scratch.put(slot, rows)
            done += len(slot)


def is_face(score: F32, presence: F32, detected: Bool) -> bool:
    """Whether a track is a face: best detector score + mean presence >= `SURE_FACE`."""
    best = float(score[detected].max(initial=0))
    return best + float(presence.mean(dtype=np.float64)) >= SURE_FACE


def softmax(logits: npt.NDArray[Any]) -> F32:
    """Probabilities f32[N,C] of logits."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def _tracklets(part: pa.Table) -> I64:
    found: I64 = pc.drop_null(part["tracklet"]).to_numpy()
    return found
