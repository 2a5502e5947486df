"""Rows on the disk by group: what comes mixed, frame after frame, is read again track after track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vidfer.output.files import writing
from vidfer.types import I64

Rows = npt.NDArray[Any]
Span = tuple[int, int]  # from, to (not included)


class Slots:
    """Places for rows that come mixed: those of a group lie one behind the other, the groups too.

    Args:
        counts: i64[G], how many rows each group will have.
    """

    def __init__(self, counts: I64) -> None:
        self.first: I64 = np.cumsum(counts) - counts
        self._next = self.first.copy()

    def of(self, group: I64) -> I64:
        """Places of the next rows, whose groups these are."""
        order = np.argsort(group, kind="stable")
        ranked = group[order]
        begin = np.flatnonzero(np.diff(ranked, prepend=-1))
        count = np.diff(begin, append=len(group))
        slot = np.empty(len(group), np.int64)
        slot[order] = self._next[ranked] + np.arange(len(group)) - np.repeat(begin, count)
        self._next[ranked[begin]] += count
        return slot


class Scratch:
    """A file of rows of one type that lasts as long as its context; made empty, whatever was there.

    Plain reads and writes: pages of a mapped file would count as memory of this process.

    Args:
        path: The file.
        dtype: What a row is.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._path, self._dtype = path, np.dtype(dtype)
        with writing(path):
            self._file = path.open("w+b")

    def put(self, slot: I64, rows: Rows) -> None:
        """Write rows to their places."""
        order = np.argsort(slot)
        rows = np.ascontiguousarray(rows[order])
        with writing(self._path):
            for begin, end, start in _runs(slot[order]):
                self._file.seek(start * self._dtype.itemsize)
                self._file.write(rows[begin:end].data.cast("B"))

    def get(self, slot: I64) -> Rows:
        """The rows at some places."""
        order = np.argsort(slot)
        rows = self.read([(start, start + end - begin) for begin, end, start in _runs(slot[order])])
        found = np.empty_like(rows)
        found[order] = rows
        return found

    def read(self, spans: Sequence[Span]) -> Rows:
        """The rows of some stretches, one behind the other."""
        rows = np.empty(sum(stop - start for start, stop in spans), self._dtype)
        at = 0
        for start, stop in spans:
            self._file.seek(start * self._dtype.itemsize)
            self._file.readinto(rows[at : at + stop - start].view(np.uint8).data)
            at += stop - start
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with writing(self._path):
                self._file.close()
        finally:
            self._path.unlink(missing_ok=True)


def _runs(slot: I64) -> list[tuple[int, int, int]]:
    """Stretches of neighbouring places in sorted ones: from, to, and the first place."""
    begin = np.flatnonzero(np.diff(slot, prepend=-2) != 1)
    return list(zip(begin.tolist(), [*begin.tolist(), len(slot)][1:], slot[begin].tolist(), strict=True))
