"""The figures of `vidfer summary` as the page shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vidfer.output.words import duration, percent, plain, signed
from vidfer.stats.summary import FaceSummary, SourceSummary
from vidfer.types import EMOTIONS

BAR_WIDE = 1000
# A table of all pairs of a crowd would be all one sees; `vidfer summary` has them.
MOST_PAIRS = 12


def shown(summary: SourceSummary) -> list[dict[str, Any]]:
    """What every face showed, by smoothed labels."""
    return [_shown(face) for face in summary.faces if face.smooth is not None]


def _shown(face: FaceSummary) -> dict[str, Any]:
    assert face.smooth is not None
    edges = np.rint(np.cumsum([0.0, *face.smooth.share]) * BAR_WIDE).astype(int).tolist()
    minutes = face.measured_s / 60
    shares = list(zip(EMOTIONS, face.smooth.share.tolist(), strict=True))
    most = sorted(((share, name) for name, share in shares if share > 0), reverse=True)
    return {
        "id": face.face_id,
        "seconds": duration(face.measured_s),
        "bar": [
            (name, left, right - left)
            for name, left, right in zip(EMOTIONS, edges[:-1], edges[1:], strict=True)
            if right > left
        ],
        "told": f"Face {face.face_id}: " + ", ".join(f"{name} {percent(share)}" for share, name in most),
        "shares": [percent(share) if share else "–" for _, share in shares],
        "expressivity": plain(face.smooth.expressivity),
        "changes": plain(int(face.transitions.sum()) / minutes, 0) if minutes else "–",
    }


def pairs(summary: SourceSummary) -> list[list[str]]:
    """Pairs of faces and how far they move together, the least likely by chance first."""
    known = [pair for pair in summary.synchrony if pair.surrogate_p is not None]
    unknown = [pair for pair in summary.synchrony if pair.surrogate_p is None]
    best = sorted(known, key=lambda pair: (pair.surrogate_p or 0.0, -pair.correlation)) + unknown
    return [
        [
            f"{pair.first} and {pair.second}",
            pair.signal,
            duration(pair.shared_s),
            plain(pair.correlation),
            f"{signed(pair.lag_s)} s",
            plain(pair.surrogate),
            plain(pair.surrogate_p),
        ]
        for pair in best[:MOST_PAIRS]
    ]
