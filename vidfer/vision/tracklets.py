"""The second look at the tracklets of a whole source: split where the person changes, join what is one person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vidfer.types import F32, F64, I64
from vidfer.vision.linkage import NEVER, Pairs, join_closest_first, unit
from vidfer.vision.pieces import PIECE, FoundPieces, Rows, looked, overlapping, ranges

Found = tuple[I64, I64, F32]  # pairs of pieces, and how much less likeness they need

_SIZE_CHANGE = 1.6  # of a face within `follow_gap_s`
_BLOCK = 1024  # rows at a time: sums of embeddings are float64


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """When tracklets are split and joined; cosines are between mean embeddings and belong to the network in use.

    Chosen with `benchmarks/linking.py`: halves and seconds of clips of 16 persons joined into one file, holes in
    them, and strangers who follow each other in one place. Nobody is merged from join_cosine 0.52 on; the likeness of
    strangers ends at 0.55, that of two halves of a clip begins at 0.77. Of 16 persons who stand in one spot, one after
    the other without a pause, three pairs share a track. composite_dev and interview2 have no switch. The networks have
    seen crops of these clips; of persons held out of training, 1 in 1,000 pairs of strangers' pictures has 0.53.

    Attributes:
        split_window_s: Length of the two windows that are compared around a possible split.
        split_min_frames: Faces that each window holds at least; where frames are far apart it is longer for that.
        split_cosine: A tracklet is split where its windows are less alike than this.
        join_cosine: Two pieces are joined when they are at least so alike, wherever they are.
        join_doubt: Weight of doubt in short pieces, in tenths of a second of looking: likeness is multiplied by
            sqrt(seen / (seen + doubt)) of both pieces.
        return_cosine: What is enough instead within one shot and `return_gap_s`: fewer people can be meant.
        return_gap_s: Longest absence from the picture for that.
        follow_cosine: What is enough instead where one piece begins near in place and time to the end of the other.
        follow_gap_s: How near in time; within one shot.
        follow_reach: How near in place, in face sizes, at once.
        follow_speed: What may be added to the reach, in face sizes per second.
    """

    split_window_s: float = 0.3
    split_min_frames: int = 3
    split_cosine: float = 0.30
    join_cosine: float = 0.60
    join_doubt: float = 1.0
    return_cosine: float = 0.56
    return_gap_s: float = 10.0
    follow_cosine: float = 0.55
    follow_gap_s: float = 1.0
    follow_reach: float = 0.5
    follow_speed: float = 2.0

    def __post_init__(self) -> None:
        if not -1 <= self.split_cosine <= self.follow_cosine <= self.return_cosine <= self.join_cosine <= 1:
            raise ValueError(f"-1 <= split <= follow <= return <= join_cosine <= 1 is needed, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracklet:
    """One tracklet of the online tracker: T faces, at most one per frame, all in one shot.

    Attributes:
        frame: i64[T], index of the frame of each face, increasing.
        time_s: f64[T], not decreasing.
        shot: Number of the shot.
        box_px: f32[T,4], xyxy.
        confidence: f32[T] in [0, 1], how clearly each is a face: in the dark and far away all faces look alike. The
            likeness of two pieces is multiplied by the square roots of their mean confidences.
        embedding: Gives f32[stop-start,D] of unit length for (start, stop); rows that are not finite are unknown. They
            are the bulk, and never wanted all at once.
    """

    frame: I64
    time_s: F64
    shot: int
    box_px: F32
    confidence: F32
    embedding: Callable[[int, int], F32]

    def __post_init__(self) -> None:
        if len({len(column) for column in (self.frame, self.time_s, self.box_px, self.confidence)}) != 1:
            raise ValueError("all columns of a tracklet must have one row per face each")
        if (np.diff(self.frame) <= 0).any():
            raise ValueError("a tracklet has one face per frame, in the order of the frames")

    def __len__(self) -> int:
        return len(self.frame)

    def known(self, start: int, stop: int) -> F32:
        """Embeddings of some rows, zero where unknown."""
        found = self.embedding(start, stop)
        found[~np.isfinite(found).all(axis=1)] = 0
        return found

    def sum_known(self, start: int, stop: int) -> F64:
        """Sum of the embeddings of some rows, f64[D]."""
        blocks = (self.known(i, min(i + _BLOCK, stop)) for i in range(start, stop, _BLOCK))
        total: F64 = sum((block.sum(axis=0, dtype=np.float64) for block in blocks), start=np.zeros(()))
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Pieces of tracklets in order of (tracklet, start): i64[P] each.

    Attributes:
        tracklet: Which one of those given.
        start: Its first row in there; the piece goes on to the start of the next one.
        track: Id of the track it belongs to.
    """

    tracklet: I64
    start: I64
    track: I64


def link_tracklets(tracklets: Iterable[Tracklet], options: LinkOptions | None = None) -> Links:
    """Make tracks of all tracklets of a source.

    1. A tracklet is split where the person in it changes (`split_*`).
    2. The pieces that are most alike are joined first, again and again (mean linkage), never two that overlap in time;
       alike by appearance alone (`join_*`), or less so where one takes over from the other (`follow_*`).
    3. Ids are dense from 0, in order of (first frame, x of the first box).

    The order of the tracklets does not matter.

    Args:
        tracklets: Looked at one after the other.
        options: Thresholds.
    """
    options = options or LinkOptions()
    owner: list[int] = []
    found = FoundPieces()
    for number, tracklet in enumerate(tracklets):
        starts = [0, *_changes(tracklet, options).tolist()] if len(tracklet) else []
        for span in pairwise([*starts, len(tracklet)]):
            found.add(_piece(tracklet, *span, options), _sums(tracklet, *span, options))
        owner += [number] * len(starts)
    if not owner:
        return Links(tracklet=(none := np.zeros(0, np.int64)), start=none, track=none)
    pieces, order, (total, head, tail) = found.sorted()
    allowed = list(_allowances(pieces, head, tail, options))
    del head, tail  # most of what is in memory now
    start = np.empty(len(order), np.int64)
    track = np.empty(len(order), np.int64)
    start[order], track[order] = pieces["start"], _join(pieces, total, allowed, options)
    return Links(tracklet=np.array(owner), start=start, track=track)


def _changes(tracklet: Tracklet, options: LinkOptions) -> I64:
    """Rows before which a tracklet is to be split; the least alike moments first, none near another."""
    time_s, window = tracklet.time_s, options.split_window_s + 1e-9
    at: I64 = np.arange(options.split_min_frames, len(time_s) - options.split_min_frames + 1, dtype=np.int64)
    if len(at) == 0:
        return at
    low = np.minimum(np.searchsorted(time_s, time_s[at - 1] - window), at - options.split_min_frames)
    high = np.maximum(np.searchsorted(time_s, time_s[at] + window, "right"), at + options.split_min_frames)
    alike = np.empty(len(at))
    for block in (slice(i, i + _BLOCK) for i in range(0, len(at), _BLOCK)):
        base, top = int(low[block][0]), int(high[block][-1])
        known = tracklet.known(base, top)
        sums = np.zeros((1 + len(known), known.shape[1]))
        np.cumsum(known, axis=0, dtype=np.float64, out=sums[1:])
        before, middle, after = (sums[index[block] - base] for index in (low, at, high))
        alike[block] = (unit(middle - before) * unit(after - middle)).sum(axis=1)
    unlike = np.flatnonzero(alike < options.split_cosine)
    time_s = time_s[at[unlike]]
    taken = np.zeros(len(unlike), bool)
    chosen = []
    for i in np.argsort(alike[unlike], kind="stable"):
        if not taken[i]:
            chosen.append(at[unlike[i]])
            taken |= np.abs(time_s - time_s[i]) <= window
    return np.sort(np.array(chosen, np.int64))


def _piece(tracklet: Tracklet, start: int, end: int, options: LinkOptions) -> Rows:
    time_s = tracklet.time_s[start:end]
    begin_s, end_s = float(time_s[0]), float(time_s[-1])
    seen = looked(end - start, end_s - begin_s)
    confidence = float(tracklet.confidence[start:end].mean(dtype=np.float64))
    piece = np.zeros((), PIECE)
    piece["start"], piece["shot"] = start, tracklet.shot
    piece["first"], piece["last"] = tracklet.frame[start], tracklet.frame[end - 1]
    piece["begin_s"], piece["end_s"] = begin_s, end_s
    piece["seen"], piece["trusted"] = seen, seen * min(max(confidence, 0.0), 1.0)
    piece["first_box"], piece["last_box"] = tracklet.box_px[start], tracklet.box_px[end - 1]
    return piece


def _sums(tracklet: Tracklet, start: int, end: int, options: LinkOptions) -> tuple[F64, F64, F64]:
    """Sums of the embeddings of a piece: of all, and of its first and last moments."""
    time_s = tracklet.time_s[start:end]
    head = start + int(np.searchsorted(time_s, time_s[0] + options.split_window_s, "right"))
    tail = start + int(np.searchsorted(time_s, time_s[-1] - options.split_window_s))
    return tracklet.sum_known(start, end), tracklet.sum_known(start, head), tracklet.sum_known(tail, end)


def _join(pieces: Rows, total: F32, allowed: list[Found], options: LinkOptions) -> I64:
    """Dense track id of each piece."""
    label = join_closest_first(
        total=total,
        seen=pieces["seen"],
        trusted=pieces["trusted"],
        doubt=options.join_doubt,
        least=options.join_cosine,
        pairs=Pairs.of(len(pieces), [*_apart(pieces), *allowed]),
    )
    # A cluster goes by its earliest piece, so the order of the labels is that of the tracks.
    dense: I64 = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return dense


def _apart(pieces: Rows) -> Iterator[Found]:
    """Pairs of pieces that have frames in common."""
    for one, two in overlapping(pieces["first"], pieces["last"]):
        yield one, two, np.full(len(one), NEVER)


def _allowances(pieces: Rows, head: F32, tail: F32, options: LinkOptions) -> Iterator[Found]:
    """Pairs of pieces of one shot that need less likeness to be joined, and how much less."""
    first_centre, first_size = _centre_and_size(pieces["first_box"])
    last_centre, last_size = _centre_and_size(pieces["last_box"])
    back, on = options.join_cosine - options.return_cosine, options.join_cosine - options.follow_cosine
    for one, two in _successors(pieces, max(options.return_gap_s, options.follow_gap_s) + 1e-9):
        gap = pieces["begin_s"][two] - pieces["end_s"][one]
        small, large = np.sort((last_size[one], first_size[two]), axis=0)
        distance = np.hypot(*(first_centre[two] - last_centre[one]).T)
        follows = gap <= options.follow_gap_s + 1e-9
        follows &= distance <= large * (options.follow_reach + options.follow_speed * gap)
        follows &= small * _SIZE_CHANGE >= large
        near = np.flatnonzero(follows)
        ends = unit(tail[one[near]].astype(np.float64)), unit(head[two[near]].astype(np.float64))
        follows[near] = (ends[0] * ends[1]).sum(axis=-1) >= options.follow_cosine
        less = np.where(follows, on, np.where(gap <= options.return_gap_s + 1e-9, back, 0.0))
        yield one, two, less.astype(np.float32)


def _successors(pieces: Rows, longest_s: float) -> Iterator[tuple[I64, I64]]:
    """Pairs of pieces of one shot, of which the second begins after the end of the first, but not much later."""
    order = np.lexsort((pieces["first"], pieces["shot"]))
    bounds = np.flatnonzero(np.diff(pieces["shot"][order])) + 1
    for begin, end in pairwise([0, *bounds.tolist(), len(order)]):
        mine = order[begin:end]
        first, begin_s = pieces["first"][mine], pieces["begin_s"][mine]
        start = np.searchsorted(first, pieces["last"][mine], "right")
        stop = np.searchsorted(begin_s, pieces["end_s"][mine] + longest_s, "right")
        for one, two in ranges(start, stop):
            yield mine[one], mine[two]


def _centre_and_size(box: F32) -> tuple[F64, F64]:
    wide = box.astype(np.float64)
    size = np.sqrt(np.prod(np.maximum(wide[:, 2:] - wide[:, :2], 1e-3), axis=1))
    return (wide[:, :2] + wide[:, 2:]) / 2, size
