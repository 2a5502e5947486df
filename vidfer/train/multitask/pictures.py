"""Training pictures: decoded once and kept while they fit, else decoded whenever they are drawn."""

from __future__ import annotations

from collections.abc import Callable

from vidfer.errors import DataError
from vidfer.train.data import decode_image
from vidfer.train.datasets.encoded import Encoded
from vidfer.types import U8

_MB = 1_000_000


class Pictures:
    """Pictures by number.

    Args:
        encoded: As they are stored.
        memory_mb: Decoded ones are kept up to this size; the first ones, since all are drawn as often.
        progress: Told how many of how many were looked at.

    Attributes:
        unreadable: Numbers of those that cannot be decoded.
    """

    def __init__(self, encoded: Encoded, memory_mb: int, progress: Callable[[int, int], None] | None = None) -> None:
        self._encoded = encoded
        self._decoded: dict[int, U8] = {}
        self.unreadable: list[int] = []
        left = memory_mb * _MB
        for row, data in enumerate(encoded):
            if progress:
                progress(row + 1, len(encoded))
            try:
                picture = decode_image(data)
            except DataError:
                self.unreadable.append(row)
                continue
            if picture.nbytes <= left:
                left -= picture.nbytes
                self._decoded[row] = picture

    def __len__(self) -> int:
        return len(self._encoded)

    @property
    def kept(self) -> int:
        """How many are kept decoded."""
        return len(self._decoded)

    def __getitem__(self, row: int) -> U8:
        """A picture, uint8[H,W,3] RGB or uint8[H,W]."""
        kept = self._decoded.get(row)
        return decode_image(self._encoded[row]) if kept is None else kept
