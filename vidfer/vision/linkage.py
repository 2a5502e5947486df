"""Mean-linkage clustering that never joins what must stay apart, without a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.types import F32, F64, I64


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much less likeness f32[K] is enough to join one item with the items i64[K]."""

    item: I64
    less: F32

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, float]]) -> Allowance:
        """From (item, less) pairs."""
        return cls(item=np.array([i for i, _ in pairs], np.int64), less=np.array([x for _, x in pairs], np.float32))

    def __add__(self, other: Allowance) -> Allowance:
        return Allowance(item=np.concatenate((self.item, other.item)), less=np.concatenate((self.less, other.less)))


def join_closest_first(
    *,
    total: F64,
    seen: F64,
    trusted: F64,
    doubt: float,
    least: float,
    forbidden: Sequence[I64],
    allowance: Sequence[Allowance],
) -> I64:
    """Join the two most alike clusters, again and again, until none are alike enough.

    The likeness of two clusters is the cosine of their sums, times sqrt(trusted / (seen + doubt)) of each, plus the
    largest allowance between their items. Ties go to the lowest items.

    Args:
        total: f64[P,D], sum of the embeddings of each item.
        seen: f64[P], how much stands behind each sum.
        trusted: f64[P], how much of that can be trusted.
        doubt: How much has to stand behind a sum to be half sure of it.
        least: Smallest likeness of clusters that are joined.
        forbidden: For each item those that it must never be joined with, itself included; symmetric.
        allowance: For each item; symmetric.

    Returns:
        i64[P], for each item the lowest item of its cluster.
    """
    clusters = _Clusters(total.copy(), seen.copy(), trusted.copy(), doubt, list(forbidden), list(allowance))
    while clusters.join_closest(least):
        pass
    return clusters.label


class _Clusters:
    """For each cluster the best partner is remembered with its likeness.

    A join changes only likenesses with the new cluster, which are computed at once. Where the remembered partner has
    gone or grown, its likeness stays as an upper bound, and the row is looked at again only when it comes out on top.
    """

    def __init__(
        self, total: F64, seen: F64, trusted: F64, doubt: float, forbidden: list[I64], allowance: list[Allowance]
    ) -> None:
        count = len(total)
        self.label: I64 = np.arange(count, dtype=np.int64)
        self._total, self._seen, self._trusted, self._doubt = total, seen, trusted, doubt
        self._forbidden, self._allowance = forbidden, allowance
        self._vector = self._scaled(slice(None)).astype(np.float32)
        self._alive = np.ones(count, bool)
        self._best = np.full(count, np.inf, np.float32)
        self._partner = np.full(count, -1)

    def join_closest(self, least: float) -> bool:
        """Join the two closest clusters; False when no two are alike enough."""
        while len(self._best):
            i = int(np.argmax(self._best))
            if self._best[i] < least:
                break
            j = int(self._partner[i])
            if j >= 0 and self._alive[j]:
                self._merge(min(i, j), max(i, j))
                return True
            self._remember_best(i, self._row(i))
        return False

    def _merge(self, keep: int, drop: int) -> None:
        self.label[self.label == drop] = keep
        self._alive[drop] = False
        self._best[drop] = -np.inf
        self._total[keep] += self._total[drop]
        self._seen[keep] += self._seen[drop]
        self._trusted[keep] += self._trusted[drop]
        self._vector[keep] = self._scaled(slice(keep, keep + 1))[0]
        self._forbidden[keep] = np.concatenate((self._forbidden[keep], self._forbidden[drop]))
        self._allowance[keep] = self._allowance[keep] + self._allowance[drop]
        row = self._row(keep)
        self._partner[self._partner == keep] = -1  # what they remember is about the smaller cluster
        better = self._alive & (row >= self._best)
        self._best[better], self._partner[better] = row[better], keep
        self._remember_best(keep, row)

    def _remember_best(self, i: int, row: F32) -> None:
        self._partner[i] = int(np.argmax(row))
        self._best[i] = row[self._partner[i]]

    def _row(self, i: int) -> F32:
        """Likeness of cluster i to all others, -inf where they must not be joined."""
        row: F32 = self._vector @ self._vector[i]
        less = np.zeros_like(row)
        np.maximum.at(less, self.label[self._allowance[i].item], self._allowance[i].less)
        row += less
        row[~self._alive] = -np.inf
        row[self.label[self._forbidden[i]]] = -np.inf
        return row

    def _scaled(self, which: slice) -> F64:
        sure = np.sqrt(self._trusted[which] / (self._seen[which] + self._doubt))
        scaled: F64 = unit(self._total[which]) * sure[:, None]
        return scaled


def unit(vectors: F64) -> F64:
    """Vectors f64[...,D] at length 1; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: F64 = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled
