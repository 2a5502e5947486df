"""Which H.264 packets hold only the second field of a frame: broadcasters send two packets for one frame.

Read from the slice headers (ITU-T H.264, 7.3.2.1.1 and 7.3.3), since the decoder says nothing about the second packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.codec.context import CodecContext
    from av.packet import Packet
    from av.video.stream import VideoStream

_SLICES = (1, 5)
_SPS = 7
_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})  # profiles
_HEADER_BYTES = 24


class SecondFields:
    """Told every packet of a stream in turn, tells those that belong to the frame of the one before."""

    def __init__(self, context: CodecContext) -> None:
        """Args: the decoder, which knows the stream's header."""
        header = bytes(context.extradata or b"") if context.codec.canonical_name == "h264" else b""
        self._length_bytes = (header[4] & 3) + 1 if header[:1] == b"\1" and len(header) > 6 else 0
        # (bits of a frame's number, whether colours are planes of their own); None: frames are never cut into fields.
        self._format = _field_format(header[8:] if self._length_bytes else _unit(header, _SPS))
        self._waiting: tuple[int, int] | None = None

    def is_second(self, packet: Packet[VideoStream]) -> bool:
        """Whether this packet completes the frame that the one before began."""
        if self._format is None:
            return False
        field = self._field_of(bytes(packet))
        first, self._waiting = self._waiting, field
        if field is None or first is None or first != (field[0], 1 - field[1]):
            return False
        self._waiting = None
        return True

    def _field_of(self, data: bytes) -> tuple[int, int] | None:
        """Number and parity of a field; None for a whole frame."""
        for unit in _units(data, self._length_bytes):
            if unit and unit[0] & 31 in _SLICES:
                bits = _Bits(unit[1:])
                try:
                    bits.skip_ue(3)
                    number_bits, separate = self._format or (0, False)
                    bits.u(2 if separate else 0)
                    number = bits.u(number_bits)
                    is_field = bits.u(1)
                    return (number, bits.u(1)) if is_field else None
                except ValueError:
                    return None
        return None


class _Bits:
    """Reads bits and Exp-Golomb numbers from the start of a unit; `ValueError` at its end."""

    def __init__(self, data: bytes) -> None:
        data = data[: 20 * _HEADER_BYTES].replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, width: int) -> int:
        if width > self._left:
            raise ValueError("the unit ends")
        self._left -= width
        return self._value >> self._left & (1 << width) - 1

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def skip_ue(self, times: int) -> None:
        for _ in range(times):
            self.ue()

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def _units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """The beginnings of the units of a packet."""
    at = 0
    while length_bytes and at + length_bytes < len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        yield data[at : at + min(size, _HEADER_BYTES)]
        at += size
    while not length_bytes and (at := data.find(b"\0\0\1", at)) >= 0:
        at += 3
        yield data[at : at + _HEADER_BYTES]


def _unit(data: bytes, kind: int) -> bytes:
    """The first unit of a kind, to the end of the data; empty where there is none."""
    at = 0
    while (at := data.find(b"\0\0\1", at)) >= 0:
        at += 3
        if data[at : at + 1] and data[at] & 31 == kind:
            return data[at:]
    return b""


def _field_format(sps: bytes) -> tuple[int, bool] | None:
    """What a slice header's length depends on; None where frames are never cut into fields, or nobody knows."""
    bits, separate = _Bits(sps[1:]), False
    try:
        profile = bits.u(24) >> 16
        bits.ue()
        if profile in _WITH_CHROMA:
            chroma = bits.ue()
            separate = chroma == 3 and bool(bits.u(1))
            bits.skip_ue(2)
            bits.u(1)
            if bits.u(1):
                _skip_scaling(bits, 12 if chroma == 3 else 8)
        number_bits = bits.ue() + 4
        order = bits.ue()
        if order == 0:
            bits.ue()
        elif order == 1:
            bits.u(1)
            bits.skip_ue(2)
            bits.skip_ue(bits.ue())
        bits.ue()
        bits.u(1)
        bits.skip_ue(2)
        only_frames = bits.u(1)
    except ValueError:
        return None
    return None if only_frames else (number_bits, separate)


def _skip_scaling(bits: _Bits, lists: int) -> None:
    for which in range(lists):
        last = following = 8
        if bits.u(1):
            for _ in range(16 if which < 6 else 64):
                if following:
                    following = (last + bits.se()) % 256
                last = following or last
