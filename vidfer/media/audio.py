"""The sound of one file carried over to another, packet by packet."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import av

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

    AudioPacket = Packet[AudioStream]

_log = logging.getLogger(__name__)

# What players accept inside MP4; the rest (PCM, Vorbis, WMA, ...) is encoded anew.
_COPIED = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "opus"})


class AudioCarrier:
    """Carries every audio stream of a file over into an MP4, in step with its video; what MP4 cannot hold becomes AAC.

    Sound never makes a video fail: what cannot be read is left out with a warning.
    """

    def __init__(self, source: Path, output: OutputContainer) -> None:
        """Args: the file with the sound, and the MP4, to which its streams are added."""
        self._output = output
        self._tracks: dict[int, _Track] = {}
        self._waiting: AudioPacket | None = None
        self._source = av.open(str(source.absolute()), metadata_errors="ignore")
        streams = [stream for stream in self._source.streams.audio if self._add(stream)]
        self._packets: Iterator[AudioPacket] = self._source.demux(tuple(streams)) if streams else iter(())

    def carry_until(self, time_s: Fraction | None, shift_s: Fraction) -> None:
        """Write the sound up to this time of the source (None: all that is left), moved by `shift_s`."""
        while (packet := self._next()) is not None:
            if time_s is not None and packet.dts is not None and packet.dts * packet.time_base > time_s:
                self._waiting = packet
                return
            track = self._tracks[packet.stream.index]
            try:
                self._output.mux(track.carry(packet, shift_s))
            except ValueError:  # "invalid data" and "invalid argument"; a full disk is an OSError
                track.lost += 1
        if time_s is None:
            for track in self._tracks.values():
                self._output.mux(track.flush(shift_s))
                if track.lost:
                    _log.warning("%d damaged packets of the sound were left out", track.lost)

    @property
    def start_s(self) -> Fraction | None:
        """Where the source begins, sound or picture, in seconds."""
        start = self._source.start_time
        return None if start is None else Fraction(start, av.time_base)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _add(self, stream: AudioStream) -> bool:
        name = stream.codec_context.codec.canonical_name if stream.codec_context else "of an unknown kind"
        try:
            self._tracks[stream.index] = (_Copy if name in _COPIED else _Encode)(stream, self._output)
        except (av.FFmpegError, AttributeError, ValueError) as error:
            _log.warning("the sound of stream %d (%s) is left out: %s", stream.index, name, error)
            return False
        return True

    def _next(self) -> AudioPacket | None:
        packet, self._waiting = self._waiting, None
        while packet is None:
            try:
                packet = next(self._packets)
            except StopIteration:
                return None
            except av.FFmpegError as error:
                _log.warning("the sound ends early: %s", error.strerror)
                return None
            if packet.size == 0:  # PyAV's sign for the end of a stream
                packet = None
        return packet


class _Track(Protocol):
    lost: int

    def carry(self, packet: AudioPacket, shift_s: Fraction) -> list[AudioPacket]: ...

    def flush(self, shift_s: Fraction) -> list[AudioPacket]: ...


class _Copy:
    """Packets as they are; those whose stamps MP4 would refuse are lost."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self.lost = 0
        self._target = output.add_stream_from_template(source)
        self._last_dts: int | None = None

    def carry(self, packet: AudioPacket, shift_s: Fraction) -> list[AudioPacket]:
        if packet.dts is None or (self._last_dts is not None and packet.dts <= self._last_dts):
            self.lost += 1
            return []
        self._last_dts = packet.dts
        shift = round(shift_s / packet.time_base)
        packet.pts = (packet.dts if packet.pts is None else packet.pts) + shift
        packet.dts += shift
        packet.stream = self._target
        return [packet]

    def flush(self, shift_s: Fraction) -> list[AudioPacket]:
        return []


class _Encode:
    """Decoded and encoded as AAC."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self.lost = 0
        self._source = source
        layout = "mono" if source.channels == 1 else "stereo"
        self._target: AudioStream = output.add_stream("aac", rate=source.sample_rate, layout=layout)

    def carry(self, packet: AudioPacket | None, shift_s: Fraction) -> list[AudioPacket]:
        try:
            frames = self._source.decode(packet)
        except av.FFmpegError:
            self.lost += 1
            return []
        encoded: list[AudioPacket] = []
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts += round(shift_s / frame.time_base)
            encoded += self._target.encode(frame)
        return encoded

    def flush(self, shift_s: Fraction) -> list[AudioPacket]:
        return self.carry(None, shift_s) + self._target.encode(None)
