"""Which tracks of a source show the same person, by appearance alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vidfer.types import F32, F64, I64
from vidfer.vision.linkage import NEVER, Pairs, join_closest_first, unit
from vidfer.vision.pieces import looked, overlapping
from vidfer.vision.tracklets import Tracklet


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOptions:
    """When two tracks are one person.

    Tracks that are surely one person are joined before (`LinkOptions.join_cosine`). What is left are people who came
    back looking otherwise; the mean of a whole track says more than a moment, so less likeness is enough. Chosen with
    `benchmarks/linking.py`: from 0.52 on nobody is taken for another there.

    Attributes:
        identity_cosine: Least likeness of two tracks, or of two groups of them: the cosine of their mean embeddings,
            times sqrt(trusted / (seen + doubt)) of both. It belongs to the network in use.
        identity_doubt: Weight of doubt in short tracks, in tenths of a second of looking.
    """

    identity_cosine: float = 0.56
    identity_doubt: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearances:
    """What the T tracks of a source look like, and when they are in the picture.

    Attributes:
        total: f32[T,D], sum of the embeddings of each track.
        seen: f64[T], tenths of a second of looking.
        trusted: f64[T], how much of that is clearly a face.
        track: i64[P], track of each stretch, in the order of their first frames.
        first: i64[P], its first frame.
        last: i64[P], its last frame.
    """

    total: F32
    seen: F64
    trusted: F64
    track: I64
    first: I64
    last: I64

    @classmethod
    def of(cls, stretches: Iterable[tuple[int, Tracklet]], count: int) -> Appearances:
        """From stretches of the tracks 0 to `count` - 1, each with its rows; one is looked at after the other."""
        sums: list[F64 | None] = [None] * count
        seen, trusted = np.zeros(count), np.zeros(count)
        spans = []
        for track, rows in stretches:
            total = rows.sum_known(0, len(rows))
            before = sums[track]
            sums[track] = total if before is None else before + total
            tenths = looked(len(rows), float(rows.time_s[-1] - rows.time_s[0]))
            seen[track] += tenths
            trusted[track] += tenths * float(rows.confidence.mean(dtype=np.float64).clip(0, 1))
            spans.append((int(rows.frame[0]), int(rows.frame[-1]), track))
        first, last, which = np.array(sorted(spans), np.int64).reshape(-1, 3).T
        known = [total for total in sums if total is not None]
        if len(known) < count:
            raise ValueError(f"{count - len(known)} of {count} tracks have no rows")
        vectors: F32 = np.array(known, np.float32) if known else np.zeros((0, 0), np.float32)
        return cls(total=vectors, seen=seen, trusted=trusted, track=which, first=first, last=last)

    @property
    def mean(self) -> F32:
        """Mean embedding of each track, f32[T,D] of unit length; zero where none is known."""
        return unit(self.total.astype(np.float64)).astype(np.float32)


def identities(tracks: Appearances, options: IdentityOptions | None = None) -> I64:
    """The person of each track, i64[T], dense from 0 in order of first appearance.

    The most alike are joined first (mean linkage), never two that share a frame.
    """
    options = options or IdentityOptions()
    label = join_closest_first(
        total=tracks.total.copy(),
        seen=tracks.seen,
        trusted=tracks.trusted,
        doubt=options.identity_doubt,
        least=options.identity_cosine,
        pairs=Pairs.of(len(tracks.seen), [_together(tracks)]),
    )
    dense: I64 = np.unique(label, return_inverse=True)[1].astype(np.int64)
    return dense


def _together(tracks: Appearances) -> tuple[I64, I64, F32]:
    """Pairs of tracks, each once, that are in the same frame somewhere."""
    count = len(tracks.seen)
    found: I64 = np.zeros(0, np.int64)
    for one, two in overlapping(tracks.first, tracks.last):
        a, b = np.sort((tracks.track[one], tracks.track[two]), axis=0)
        found = np.union1d(found, (a * count + b)[a != b])
    return found // max(count, 1), found % max(count, 1), np.full(len(found), NEVER)
