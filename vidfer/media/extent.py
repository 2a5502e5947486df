"""How long a file should be by what its own container says: the surest sign of a copy that was broken off."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MOST_BOXES = 1_000_000
_TS_SYNC = 0x47
_TS_PACKETS = (188, 192, 204)


def missing_bytes(path: Path, container: str) -> int:
    """How many bytes a file lacks at its end; 0 where it is whole or its container does not tell.

    Args:
        path: The file.
        container: FFmpeg's name of the format.

    Raises:
        OSError: It cannot be read.
    """
    kinds = {"mov": _of_boxes, "matroska": _of_ebml, "avi": _of_riff, "mpegts": _of_ts}
    measure = kinds.get(container.split(",")[0])
    if measure is None:
        return 0
    size = path.stat().st_size
    with path.open("rb") as file:
        return max(0, measure(file, size) - size)


def _of_boxes(file: BinaryIO, size: int) -> int:
    """MP4 and MOV: boxes of a size and a name, one after the other."""
    end = 0
    for _ in range(_MOST_BOXES):
        if end >= size:
            break
        file.seek(end)
        head = file.read(16)
        if len(head) < 8 or not head[4:8].isalnum():
            break  # no box: damage, or what someone appended
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: to the end of the file
            break
        end += length
    return end


def _of_ebml(file: BinaryIO, size: int) -> int:
    """Matroska and WebM: a header, then one segment; live recordings leave its size open."""
    head = file.read(4096)
    at = 0
    for wanted in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if head[at : at + 4] != wanted or at + 4 >= len(head):
            return 0
        first = head[at + 4]
        if first == 0:
            return 0
        width = 9 - first.bit_length()
        length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:
            return 0
        at += 4 + width + length
    return at


def _of_riff(file: BinaryIO, size: int) -> int:
    """AVI: chunks of at most 1 GB each."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        (length,) = struct.unpack("<I", head[4:])
        if length == 0:  # never closed
            break
        end += 8 + length + length % 2
    return end


def _of_ts(file: BinaryIO, size: int) -> int:
    """MPEG-TS: packets of one length without a count; only a last one that is not whole tells."""
    file.seek(max(0, size - 8 * _TS_PACKETS[-1]))
    begin = file.tell()
    data = file.read()
    for length in _TS_PACKETS:
        for last in range(len(data) - 1, max(-1, len(data) - 1 - length), -1):
            if all(at >= 0 and data[at] == _TS_SYNC for at in range(last, last - 5 * length, -length)):
                # Packets of 192 bytes begin with 4 bytes of time.
                return begin + last + (188 if length == 192 else length)
    return 0
