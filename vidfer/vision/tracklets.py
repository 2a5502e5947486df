"""The second look at the tracklets of a whole source: split where the person changes, join what is one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfer.types import F32, F64, I64
from vidfer.vision.linkage import Allowance, join_closest_first, unit

_SIZE_CHANGE = 1.6  # of a face within `follow_gap_s`
_BLOCK = 8192  # rows at a time: sums of embeddings are float64

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """When tracklets are split and joined; cosines are between mean embeddings and belong to the network in use.

    Chosen on twelve clips of 17 persons, halved and joined into one file of 24 shots (no two persons in one track; at
    join_cosine 0.6 the first two meet), and on composite_dev and interview2 (no switch for join_cosine 0.5 to 0.7).

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
    split_cosine: float = 0.25
    join_cosine: float = 0.65
    join_doubt: float = 1.0
    return_cosine: float = 0.45
    return_gap_s: float = 10.0
    follow_cosine: float = 0.35
    follow_gap_s: float = 1.0
    follow_reach: float = 0.5
    follow_speed: float = 2.0

    def __post_init__(self) -> None:
        if not -1 <= self.split_cosine <= self.follow_cosine <= self.return_cosine <= self.join_cosine <= 1:
            raise ValueError(f"-1 <= split <= follow <= return <= join_cosine <= 1 is needed, got {self}")


def link_tracklets(
    *,
    frame: I64,
    time_s: F64,
    shot: I32,
    tracklet: I64,
    box_px: F32,
    embedding: F32,
    confidence: F32 | None = None,
    options: LinkOptions | None = None,
) -> I64:
    """Track ids of all faces of a source from the tracklets of the online tracker.

    1. A tracklet is split where the person in it changes (`split_*`).
    2. The pieces that are most alike are joined first, again and again (mean linkage), never two that overlap in time;
       alike by appearance alone (`join_*`), or less so where one takes over from the other (`follow_*`).
    3. Ids are dense from 0, in order of (first frame, x of the first box).

    Neither the order of the rows nor the names of the tracklets matter.

    Args:
        frame: i64[R], index of the frame of each face.
        time_s: f64[R].
        shot: i32[R].
        tracklet: i64[R]; a tracklet has at most one face per frame and lies in one shot.
        box_px: f32[R,4], xyxy.
        embedding: f32[R,D] of unit length; rows that are not finite are unknown.
        confidence: f32[R] in [0, 1], how clearly each is a face: in the dark and far away all faces look alike. The
            likeness of two pieces is multiplied by the square roots of their mean confidences.
        options: Thresholds.

    Returns:
        i64[R] track ids.

    Raises:
        ValueError: A tracklet has two faces in one frame, or shapes differ.
    """
    options = options or LinkOptions()
    trust = np.ones(len(frame), np.float32) if confidence is None else confidence
    if len({len(column) for column in (frame, time_s, shot, tracklet, box_px, embedding, trust)}) != 1:
        raise ValueError("all columns must have one row per face each")
    if len(frame) == 0:
        return np.zeros(0, np.int64)
    order = np.lexsort((frame, tracklet))
    same = (np.diff(tracklet[order]) == 0) & (np.diff(frame[order]) == 0)
    if same.any():
        raise ValueError(f"a tracklet has one face per frame, but tracklet {tracklet[order][1:][same][0]} has more")
    known = embedding[order]
    known[~np.isfinite(known).all(axis=1)] = 0
    rows = _Rows(
        frame=frame[order],
        time_s=time_s[order],
        shot=shot[order],
        box_px=box_px[order],
        embedding=known,
        confidence=trust[order],
    )
    starts = _split(rows, np.flatnonzero(np.diff(tracklet[order], prepend=tracklet[order][0] - 1)), options)
    pieces = _pieces(rows, starts, order, options)
    label = _join(pieces, options)
    track = np.empty(len(frame), np.int64)
    track[order] = np.repeat(label[pieces.rank], np.diff(starts, append=len(frame)))
    return track


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Faces in order of (tracklet, frame)."""

    frame: I64
    time_s: F64
    shot: I32
    box_px: F32
    embedding: F32
    confidence: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """Pieces in order of (first frame, x of the first box); rank[p] is where piece p in order of rows has gone."""

    rank: I64
    first: I64
    last: I64
    begin_s: F64
    end_s: F64
    shot: I32
    first_box: F32
    last_box: F32
    seen: F64
    trusted: F64
    total: F64  # [P,D], sum of embeddings
    head: F64  # [P,D], mean direction of the first moments
    tail: F64


def _split(rows: _Rows, starts: I64, options: LinkOptions) -> I64:
    """Where pieces start: the starts of the tracklets, and the moments at which the person changes."""
    ends = np.append(starts[1:], len(rows.frame))
    found = [starts]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start >= 2 * options.split_min_frames:
            found.append(start + _changes(rows.time_s[start:end], rows.embedding[start:end], options))
    return np.sort(np.concatenate(found))


def _changes(time_s: F64, embedding: F32, options: LinkOptions) -> I64:
    """Indices in one tracklet before which it is to be split; the least alike moments first, none near another."""
    window = options.split_window_s + 1e-9
    at: I64 = np.arange(1, len(time_s), dtype=np.int64)
    low = np.minimum(np.searchsorted(time_s, time_s[at - 1] - window), at - options.split_min_frames)
    high = np.maximum(np.searchsorted(time_s, time_s[at] + window, "right"), at + options.split_min_frames)
    enough = (low >= 0) & (high <= len(time_s))
    at, low, high = at[enough], low[enough], high[enough]
    if len(at) == 0:
        return at
    alike = np.empty(len(at))
    for block in (slice(i, i + _BLOCK) for i in range(0, len(at), _BLOCK)):
        base, top = low[block][0], high[block][-1]
        sums = np.cumsum(embedding[base:top], axis=0, dtype=np.float64)
        sums = np.concatenate([np.zeros((1, sums.shape[1])), sums])
        before, middle, after = (sums[index[block] - base] for index in (low, at, high))
        alike[block] = (unit(middle - before) * unit(after - middle)).sum(axis=1)
    chosen = np.zeros(len(at), bool)
    taken = alike >= options.split_cosine
    for i in np.argsort(alike, kind="stable"):
        if not taken[i]:
            chosen[i] = True
            taken |= np.abs(time_s[at] - time_s[at[i]]) <= window
    return at[chosen]


def _pieces(rows: _Rows, starts: I64, order: I64, options: LinkOptions) -> _Pieces:
    ends = np.append(starts[1:], len(rows.frame))
    box = rows.box_px[starts]
    canonical = np.lexsort((order[starts], box[:, 3], box[:, 1], box[:, 2], box[:, 0], rows.frame[starts]))
    rank = np.empty(len(starts), np.int64)
    rank[canonical] = np.arange(len(starts))
    starts, ends = starts[canonical], ends[canonical]
    count, dimensions = len(starts), rows.embedding.shape[1]
    total, head, tail = (np.zeros((count, dimensions)) for _ in range(3))
    confidence = np.zeros(count)
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        time_s, embedding = rows.time_s[start:end], rows.embedding[start:end]
        total[i] = embedding.sum(axis=0, dtype=np.float64)
        confidence[i] = rows.confidence[start:end].mean(dtype=np.float64)
        head[i] = embedding[time_s <= time_s[0] + options.split_window_s].sum(axis=0, dtype=np.float64)
        tail[i] = embedding[time_s >= time_s[-1] - options.split_window_s].sum(axis=0, dtype=np.float64)
    seen = np.minimum(ends - starts, 1 + 10 * (rows.time_s[ends - 1] - rows.time_s[starts]))
    return _Pieces(
        rank=rank,
        first=rows.frame[starts],
        last=rows.frame[ends - 1],
        begin_s=rows.time_s[starts],
        end_s=rows.time_s[ends - 1],
        shot=rows.shot[starts],
        first_box=rows.box_px[starts],
        last_box=rows.box_px[ends - 1],
        seen=seen,
        trusted=seen * np.clip(confidence, 0, 1),
        total=total,
        head=unit(head),
        tail=unit(tail),
    )


def _join(pieces: _Pieces, options: LinkOptions) -> I64:
    """Dense track id of each piece."""
    overlap = [
        np.flatnonzero((pieces.first <= last) & (pieces.last >= first))
        for first, last in zip(pieces.first, pieces.last, strict=True)
    ]
    label = join_closest_first(
        total=pieces.total,
        seen=pieces.seen,
        trusted=pieces.trusted,
        doubt=options.join_doubt,
        least=options.join_cosine,
        forbidden=overlap,
        allowance=_allowances(pieces, options),
    )
    # A cluster goes by its earliest piece, so the order of the labels is that of the tracks.
    dense: I64 = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return dense


def _allowances(pieces: _Pieces, options: LinkOptions) -> list[Allowance]:
    """For each piece the others of its shot that need less likeness to be joined with it, and how much less."""
    first_centre, first_size = _centre_and_size(pieces.first_box)
    last_centre, last_size = _centre_and_size(pieces.last_box)
    back, on = options.join_cosine - options.return_cosine, options.join_cosine - options.follow_cosine
    pairs: list[list[tuple[int, float]]] = [[] for _ in pieces.first]
    for i in range(len(pairs)):
        gap = pieces.begin_s - pieces.end_s[i]
        after = (pieces.first > pieces.last[i]) & (pieces.shot == pieces.shot[i])
        later = np.flatnonzero(after & (gap <= max(options.return_gap_s, options.follow_gap_s) + 1e-9))
        gap, size = gap[later], np.maximum(last_size[i], first_size[later])
        distance = np.hypot(*(first_centre[later] - last_centre[i]).T)
        follows = gap <= options.follow_gap_s + 1e-9
        follows &= distance <= size * (options.follow_reach + options.follow_speed * gap)
        follows &= np.minimum(last_size[i], first_size[later]) * _SIZE_CHANGE >= size
        follows &= pieces.head[later] @ pieces.tail[i] >= options.follow_cosine
        less = np.where(follows, on, np.where(gap <= options.return_gap_s + 1e-9, back, 0.0))
        for j, cosine in zip(later.tolist(), less.tolist(), strict=True):
            pairs[i].append((j, cosine))
            pairs[j].append((i, cosine))
    return [Allowance.of(pair) for pair in pairs]


def _centre_and_size(box: F32) -> tuple[F64, F64]:
    wide = box.astype(np.float64)
    size = np.sqrt(np.prod(np.maximum(wide[:, 2:] - wide[:, :2], 1e-3), axis=1))
    return (wide[:, :2] + wide[:, 2:]) / 2, size
