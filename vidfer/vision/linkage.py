"""Mean-linkage clustering that never joins what must stay apart, without a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfer.types import F32, F64, I64, Bool

I32 = npt.NDArray[np.int32]

NEVER = np.float32(np.inf)
_TILE = 1024  # rows of likenesses at a time, and columns
_AHEAD = 32  # products with all others computed in one go: one by one each would read all vectors from memory
_NEAR = 64  # clusters for each of these: looking so far ahead pays (3840 pieces of 8 persons: 2.8 s, with 512 8.8 s)
_KEPT = 64  # products kept
_ROUNDED = 100  # joins after which kept products are computed anew
_CROWDED = 0.8  # share of living clusters below which the others are cleared away
_MANY = 64  # remarks on a cluster, from which on it pays to have one for each other cluster only


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What is special about pairs of items: how much less likeness is enough to join them, or `NEVER`.

    Attributes:
        start: i64[P+1], where the pairs of each item begin; those of an item lie one behind the other.
        item: i32[Q], the other item. Each pair is there twice, once for each of its items.
        less: f32[Q].
    """

    start: I64
    item: I32
    less: F32

    @classmethod
    def of(cls, count: int, found: Iterable[tuple[I64, I64, F32]]) -> Pairs:
        """From stretches of pairs of items i64[Q], i64[Q], each pair once, and their `less`, for so many items."""
        listed = [(one.astype(np.int32), two.astype(np.int32), less) for one, two, less in found]
        listed.append((np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)))
        one, two, less = (np.concatenate(column) for column in zip(*listed, strict=True))
        listed.clear()
        start = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(one, minlength=count) + np.bincount(two, minlength=count), out=start[1:])
        order = np.argsort(np.concatenate((one, two)), kind="stable").astype(np.int32)
        return cls(start=start, item=np.concatenate((two, one))[order], less=np.concatenate((less, less))[order])


def join_closest_first(*, total: F32, seen: F64, trusted: F64, doubt: float, least: float, pairs: Pairs) -> I64:
    """Join the two most alike clusters, again and again, until none are alike enough.

    The likeness of two clusters is the cosine of their sums, times sqrt(trusted / (seen + doubt)) of each, plus the
    largest allowance between their items. Ties go to the lowest items.

    Args:
        total: f32[P,D], sum of the embeddings of each item; the memory is used for other things afterwards.
        seen: f64[P], how much stands behind each sum.
        trusted: f64[P], how much of that can be trusted.
        doubt: How much has to stand behind a sum to be half sure of it.
        least: Smallest likeness of clusters that are joined.
        pairs: Of items that must never be joined, or need less.

    Returns:
        i64[P], for each item the lowest item of its cluster.
    """
    if len(total) == 0:
        return np.zeros(0, np.int64)
    clusters = _Clusters(total, seen.copy(), trusted.copy(), doubt, pairs)
    clusters.forget_the_hopeless(least)
    clusters.compare_all()
    while clusters.join_closest(least):
        pass
    return clusters.lowest()


class _Clusters:
    """For each cluster the best partner is remembered with its likeness.

    A join changes only likenesses with the new cluster, which are computed at once. Where the remembered partner has
    gone or grown, its likeness stays as an upper bound, and the row is looked at again only when it comes out on top.
    The clusters stand in the order of their lowest items; places of those that are gone are cleared away now and then.
    """

    def __init__(self, total: F32, seen: F64, trusted: F64, doubt: float, pairs: Pairs) -> None:
        count = len(total)
        self._place = np.arange(count, dtype=np.int32)  # of each item's cluster, -1 where it takes no part any more
        self._item: I64 = np.arange(count, dtype=np.int64)  # the lowest of each cluster
        self._seen, self._trusted, self._doubt = seen, trusted, doubt
        self._vector, self._length = total, np.empty(count)  # the sums are their product
        for begin in range(0, count, _TILE):
            self._scale(slice(begin, begin + _TILE), total[begin : begin + _TILE].astype(np.float64))
        self._pairs = pairs
        self._grown: dict[int, tuple[I32, F32]] = {}  # pairs of clusters of several items
        self._alive = np.ones(count, bool)
        self._best = np.full(count, -np.inf, np.float32)
        self._partner = np.full(count, -1, np.int32)
        self._kept: list[int] = []  # places of the clusters whose products are in the rows of `_product`
        self._joins: list[int] = []
        self._product: F32 = np.zeros((0, count), np.float32)

    def lowest(self) -> I64:
        """For each item the lowest item of its cluster."""
        lowest = np.arange(len(self._place))
        part = self._place >= 0
        lowest[part] = self._item[self._place[part]]
        return lowest

    def forget_the_hopeless(self, least: float) -> None:
        """Leave out items, as short looks at what is hardly a face, that not even their double would be joined with."""
        sure = np.sqrt(self._trusted / (self._seen + self._doubt))
        surest = np.sqrt((self._trusted / np.maximum(self._seen, 1e-9)).max())
        less = np.zeros(len(sure), np.float32)
        some = np.flatnonzero(self._pairs.less != NEVER)
        np.maximum.at(less, self._pairs.item[some], self._pairs.less[some])
        self._alive = sure * surest + less >= least - 1e-5
        self._clear_away()

    def compare_all(self) -> None:
        """Find the best partner of each cluster; none has joined yet."""
        count = len(self._best)
        for top in range(0, count, _TILE):
            rows = self._vector[top : top + _TILE]
            row, place, less = self._special(top, top + len(rows))
            for left in range(0, count, _TILE):
                alike = rows @ self._vector[left : left + _TILE].T
                here = (place >= left) & (place < left + _TILE)
                at = row[here], place[here] - left
                alike[at] = np.where(less[here] == NEVER, -np.inf, alike[at] + less[here])
                if top == left:
                    np.fill_diagonal(alike, -np.inf)
                partner = alike.argmax(axis=1)
                best = alike[np.arange(len(rows)), partner]
                better = np.flatnonzero(best > self._best[top : top + _TILE])
                self._best[top + better], self._partner[top + better] = best[better], left + partner[better]

    def _special(self, first: int, last: int) -> tuple[I64, I32, F32]:
        """Row (from `first` on), place of the other and `less` of the pairs of some single items."""
        spans = [slice(*self._pairs.start[item : item + 2]) for item in self._item[first:last].tolist()]
        place = self._place[np.concatenate([self._pairs.item[span] for span in spans])]
        row = np.repeat(np.arange(last - first), [span.stop - span.start for span in spans])
        less = np.concatenate([self._pairs.less[span] for span in spans])
        return row[place >= 0], place[place >= 0], less[place >= 0]

    def join_closest(self, least: float) -> bool:
        """Join the two closest clusters; False when no two are alike enough."""
        while len(self._best):
            i = int(self._best.argmax())
            if self._best[i] < least:
                break
            j = int(self._partner[i])
            if j >= 0 and self._alive[j]:
                self._merge(min(i, j), max(i, j))
                return True
            self._remember_best(i, self._row(i))
        return False

    def _merge(self, keep: int, drop: int) -> None:
        self._grown[int(self._item[keep])] = self._pairs_of_both(keep, drop)
        self._place[self._place == drop] = keep
        self._alive[drop] = False
        self._best[drop] = -np.inf
        both = [keep, drop]
        products = [self._products(i, both) for i in both]
        joins = max(self._joins[self._kept.index(i)] for i in both)
        self._seen[keep], self._trusted[keep] = self._seen[both].sum(), self._trusted[both].sum()
        length = self._length[both]
        self._scale(slice(keep, keep + 1), length[None] @ self._vector[both])
        share = (length / max(self._length[keep], 1e-30)).astype(np.float32)
        self._product[:, keep] = self._product[:, both] @ share
        k = self._kept.index(keep)
        self._product[k] = share[0] * products[0] + share[1] * products[1]
        self._joins[k] = joins + 1
        row = self._row(keep)
        self._partner[self._partner == keep] = -1  # what they remember is about the smaller cluster
        better = np.flatnonzero(self._alive & (row >= self._best))
        self._best[better], self._partner[better] = row[better], keep
        self._remember_best(keep, row)
        if np.count_nonzero(self._alive) < _CROWDED * len(self._alive):
            self._clear_away()

    def _pairs_of(self, i: int) -> tuple[I32, F32]:
        item = int(self._item[i])
        span = slice(*self._pairs.start[item : item + 2])
        return self._grown.get(item) or (self._pairs.item[span], self._pairs.less[span])

    def _pairs_of_both(self, keep: int, drop: int) -> tuple[I32, F32]:
        both = zip(self._pairs_of(keep), self._pairs_of(drop), strict=True)
        item, less = (np.concatenate(column) for column in both)
        self._grown.pop(int(self._item[drop]), None)
        if len(item) > _MANY:
            place = self._place[item]
            order = np.lexsort((-less, place))
            first = order[np.flatnonzero(np.diff(place[order], prepend=-2))]
            item, less = item[first], less[first]
        return item, less

    def _remember_best(self, i: int, row: F32) -> None:
        self._partner[i] = row.argmax()
        self._best[i] = row[self._partner[i]]

    def _row(self, i: int) -> F32:
        """Likeness of cluster i to all others, -inf where they must not be joined."""
        row = self._products(i, [i]).copy()
        item, less = self._pairs_of(i)
        most = np.zeros(len(row) + 1, np.float32)  # the last one for items that take no part
        np.maximum.at(most, self._place[item], less)
        row += most[:-1]
        row[(row == NEVER) | ~self._alive] = -np.inf
        row[i] = -np.inf
        return row

    def _products(self, i: int, wanted: list[int]) -> F32:
        """Products of the vector of cluster i with all, up to rounding; those of the wanted ones are not thrown away.

        The vector of two that join is a sum of theirs, and so are its products.
        """
        if i not in self._kept or self._joins[self._kept.index(i)] > _ROUNDED:
            self._look_ahead(i, wanted)
        product: F32 = self._product[self._kept.index(i)]
        return product

    def _look_ahead(self, i: int, wanted: list[int]) -> None:
        """Compute the products of a cluster, and those of the ones that will come out on top soon."""
        count = max(1, min(_AHEAD, len(self._best) // _NEAR))
        soon = np.argpartition(-self._best, count - 1)[:count].tolist()
        fresh = [i, *(j for j in soon if j not in self._kept and j != i)]
        stay = [k for k, j in enumerate(self._kept) if j != i and self._alive[j]]
        stay.sort(key=lambda k: (self._kept[k] not in wanted, -self._best[self._kept[k]]))
        stay = stay[: _KEPT - len(fresh)]
        product = self._vector[fresh] @ self._vector.T
        self._product = np.concatenate((self._product[stay], product))
        self._kept = [self._kept[k] for k in stay] + fresh
        self._joins = [self._joins[k] for k in stay] + [0] * len(fresh)

    def _scale(self, which: slice, total: F64) -> None:
        sure = np.sqrt(self._trusted[which] / (self._seen[which] + self._doubt))
        sure = np.maximum(sure, 1e-9)  # what nobody trusts keeps its sum
        self._length[which] = np.linalg.norm(total, axis=1) / sure
        self._vector[which] = unit(total) * sure[:, None]

    def _clear_away(self) -> None:
        alive: Bool = self._alive
        there = np.append(np.where(alive, np.cumsum(alive, dtype=np.int32) - 1, -1), -1).astype(np.int32)
        self._place, self._partner = there[self._place], there[self._partner][alive]
        self._item, self._vector, self._length = self._item[alive], self._vector[alive], self._length[alive]
        self._seen, self._trusted, self._best = self._seen[alive], self._trusted[alive], self._best[alive]
        stay = [k for k, j in enumerate(self._kept) if alive[j]]
        self._kept, self._joins = [int(there[self._kept[k]]) for k in stay], [self._joins[k] for k in stay]
        self._product = self._product[stay][:, alive]
        self._alive = np.ones(len(self._item), bool)


def unit(vectors: F64) -> F64:
    """Vectors f64[...,D] at length 1; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: F64 = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled
