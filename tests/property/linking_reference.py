"""Linking, straightforward: all rows in memory at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfer.types import F32, F64, I64
from vidfer.vision.linkage import unit
from vidfer.vision.tracklets import _SIZE_CHANGE, LinkOptions


def link(*, frame, time_s, shot, tracklet, box_px, embedding, confidence=None, options=None):
    """Track ids i64[R] of all faces of a source."""
    options = options or LinkOptions()
    trust = np.ones(len(frame), np.float32) if confidence is None else confidence
    if len(frame) == 0:
        return np.zeros(0, np.int64)
    order = np.lexsort((frame, tracklet))
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
    pieces, rank, total, head, tail = _pieces(rows, starts, order, options)
    less = allowances(pieces, unit(head), unit(tail), options)
    label = closest_first(total, pieces.seen, pieces.trusted, options, overlaps(pieces), less)
    label = np.unique(label, return_inverse=True)[1]
    track = np.empty(len(frame), np.int64)
    track[order] = np.repeat(label[rank], np.diff(starts, append=len(frame)))
    return track


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Faces in order of (tracklet, frame)."""

    frame: I64
    time_s: F64
    shot: I64
    box_px: F32
    embedding: F32
    confidence: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """In order of (first frame, x of the first box)."""

    first: I64
    last: I64
    begin_s: F64
    end_s: F64
    shot: I64
    first_box: F32
    last_box: F32
    seen: F64
    trusted: F64


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
    for block in (slice(i, i + 8192) for i in range(0, len(at), 8192)):
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


def _pieces(rows: _Rows, starts: I64, order: I64, options: LinkOptions) -> tuple[_Pieces, I64, F64, F64, F64]:
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
    pieces = _Pieces(
        first=rows.frame[starts],
        last=rows.frame[ends - 1],
        begin_s=rows.time_s[starts],
        end_s=rows.time_s[ends - 1],
        shot=rows.shot[starts],
        first_box=rows.box_px[starts],
        last_box=rows.box_px[ends - 1],
        seen=seen,
        trusted=seen * np.clip(confidence, 0, 1),
    )
    return pieces, rank, total, head, tail


def overlaps(pieces):
    """bool[P,P]: the same frames."""
    return (pieces.first[:, None] <= pieces.last) & (pieces.last[:, None] >= pieces.first)


def allowances(pieces, head, tail, options):
    """f64[P,P]: how much less likeness is enough."""
    count = len(pieces.first)
    less = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            gap = pieces.begin_s[j] - pieces.end_s[i]
            if pieces.first[j] <= pieces.last[i] or pieces.shot[i] != pieces.shot[j]:
                continue
            a, b = pieces.last_box[i].astype(float), pieces.first_box[j].astype(float)
            sizes = [np.sqrt(max(x[2] - x[0], 1e-3) * max(x[3] - x[1], 1e-3)) for x in (a, b)]
            distance = np.hypot(*((b[:2] + b[2:]) / 2 - (a[:2] + a[2:]) / 2))
            follows = gap <= options.follow_gap_s + 1e-9
            follows &= distance <= max(sizes) * (options.follow_reach + options.follow_speed * gap)
            follows &= min(sizes) * _SIZE_CHANGE >= max(sizes)
            follows &= tail[i] @ head[j] >= options.follow_cosine
            if follows:
                less[i, j] = less[j, i] = options.join_cosine - options.follow_cosine
            elif gap <= options.return_gap_s + 1e-9:
                less[i, j] = less[j, i] = options.join_cosine - options.return_cosine
    return less


def closest_first(total, seen, trusted, options, apart, less):
    """i64[P], the lowest piece of each cluster: a matrix of all pairs, made anew for each join."""
    total, seen, trusted, apart, less = (array.copy() for array in (total, seen, trusted, apart, less))
    label = np.arange(len(total))
    alive = np.ones(len(total), bool)
    while True:
        vector = unit(total) * np.sqrt(trusted / (seen + options.join_doubt))[:, None]
        alike = vector @ vector.T + less
        alike[apart | ~(alive[:, None] & alive) | np.eye(len(total), dtype=bool)] = -np.inf
        keep, drop = sorted(np.unravel_index(alike.argmax(), alike.shape))
        if alike[keep, drop] < options.join_cosine:
            return label
        label[label == drop] = keep
        alive[drop] = False
        for column in (total, seen, trusted):
            column[keep] += column[drop]
        apart[keep] |= apart[drop]
        less[keep] = np.maximum(less[keep], less[drop])
        apart[:, keep], less[:, keep] = apart[keep], less[keep]
