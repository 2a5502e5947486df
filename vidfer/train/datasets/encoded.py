"""Encoded pictures by their number, whether or not all of them fit into memory."""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vidfer.errors import OutputError
from vidfer.types import I64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Pictures as they are stored, one after the other.

    Attributes:
        data: Where they are: in memory, or in a mapped file.
        start: i64[N], where each begins.
        stop: i64[N], where each ends.
    """

    data: memoryview
    start: I64
    stop: I64

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> bytes:
        return bytes(self.data[self.start[row] : self.stop[row]])

    def __iter__(self) -> Iterator[bytes]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: I64) -> Encoded:
        """Some of them, not copied."""
        return Encoded(data=self.data, start=self.start[rows], stop=self.stop[rows])


def keep_encoded(pictures: Iterable[bytes]) -> Encoded:
    """Put pictures into a temporary file without a name, which lasts as long as what is returned.

    It is mapped, not read: the system keeps in memory what there is room for, and needs to write nothing to give it up.

    Raises:
        OutputError: The folder for temporary files has no room for them.
    """
    stops = array("q", [0])
    try:
        with tempfile.TemporaryFile() as file:
            for picture in pictures:
                stops.append(stops[-1] + file.write(picture))
            file.flush()
            # Nothing cannot be mapped.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if stops[-1] else b""
    except OSError as error:
        raise OutputError(
            f"cannot keep pictures of training tables in a temporary file, {stops[-1] / 1e9:.1f} GB of them were read: "
            f"{error.strerror or error}; set TMPDIR to a folder on a disk with as much room as the tables take"
        ) from error
    bounds = np.array(stops, np.int64)
    return Encoded(data=memoryview(data), start=bounds[:-1], stop=bounds[1:])
