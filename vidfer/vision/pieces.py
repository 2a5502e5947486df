"""Pieces of tracklets as rows of few large arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.types import F32, F64, I64

Rows = npt.NDArray[Any]
_BLOCK = 1024  # pieces

# Rows of a tracklet from `start` on; in order of (first frame, rest of the first box) once they are sorted.
PIECE = np.dtype(
    [
        *((name, "i8") for name in ("start", "first", "last", "shot")),
        *((name, "f8") for name in ("begin_s", "end_s", "seen", "trusted")),
        *((name, "f4", 4) for name in ("first_box", "last_box")),
    ]
)


class FoundPieces:
    """Collects pieces in blocks: many small arrays would take twice the memory, and leave holes in it."""

    def __init__(self) -> None:
        self._count = 0
        self._pieces: list[Rows] = []
        self._sums: list[list[F32]] = [[], [], []]

    def add(self, piece: Rows, sums: tuple[F64, F64, F64]) -> None:
        """Take a piece of `PIECE`, and its sums."""
        place = self._count % _BLOCK
        if place == 0:
            self._pieces.append(np.empty(_BLOCK, PIECE))
            for blocks, vector in zip(self._sums, sums, strict=True):
                blocks.append(np.empty((_BLOCK, *vector.shape), np.float32))
        self._pieces[-1][place] = piece
        for blocks, vector in zip(self._sums, sums, strict=True):
            blocks[-1][place] = vector
        self._count += 1

    def sorted(self) -> tuple[Rows, I64, list[F32]]:
        """The pieces in order, where each of them comes from, and their sums; forgets them."""
        pieces = np.concatenate(self._pieces)[: self._count]
        self._pieces.clear()
        box = pieces["first_box"]
        order = np.lexsort((box[:, 3], box[:, 1], box[:, 2], box[:, 0], pieces["first"]))
        return pieces[order], order, [_in_order(blocks, order) for blocks in self._sums]


def _in_order(blocks: list[F32], order: I64) -> F32:
    """[P,D]; empties the list, which holds as much again."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rows = np.empty((len(order), *blocks[0].shape[1:]), np.float32)
    for begin in range(0, len(order), _BLOCK):
        places = rank[begin : begin + _BLOCK]
        rows[places] = blocks.pop(0)[: len(places)]
    return rows


def looked(count: int, duration_s: float) -> float:
    """Tenths of a second of looking that so many faces of a piece stand for: neighbouring frames say the same."""
    return min(float(count), 1 + 10 * duration_s)


def overlapping(first: I64, last: I64) -> Iterator[tuple[I64, I64]]:
    """All pairs of pieces, each once, that have frames in common; they come in the order of their first frames."""
    # Those that overlap a piece and are behind it follow it at once.
    return ranges(np.arange(len(first)) + 1, np.searchsorted(first, last, "right"))


def ranges(start: I64, stop: I64) -> Iterator[tuple[I64, I64]]:
    """All (i, j) with start[i] <= j < stop[i], block by block."""
    for begin in range(0, len(start), _BLOCK):
        count = np.maximum(stop[begin : begin + _BLOCK] - start[begin : begin + _BLOCK], 0)
        if count.any():
            one = np.repeat(np.arange(begin, begin + len(count)), count)
            yield one, start[one] + np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
