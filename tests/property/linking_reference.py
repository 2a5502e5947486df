"""Linking, straightforward: all rows in memory at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfer.types import F32, F64, I64
from vidfer.vision.linkage import unit
from vidfer.vision.tracklets import LinkOptions, _allowances, _join, _Pieces


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
    label = _join(pieces, total, _allowances(pieces, unit(head), unit(tail), options), options)
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
