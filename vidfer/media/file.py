"""Video files: every frame with its true time, upright, damage survived and counted."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from vidfer.errors import InputError
from vidfer.media.bookmark import Place, luma_crc32
from vidfer.media.clock import Clock
from vidfer.media.extent import missing_bytes
from vidfer.media.ledger import FrameCounts, Ledger, damage_warnings
from vidfer.media.picture import Layout, VideoPicture, sane_aspect_ratio
from vidfer.media.reading import Reading
from vidfer.media.timecode import Sampler, Sampling
from vidfer.types import ColourSpace, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_log = logging.getLogger(__name__)

_END_TOLERANCE_S = 0.5
# AVI has no presentation stamps: what comes as pts is out of order (FFmpeg 8: 1 4 3 5 2), dts is the order of showing.
_DTS_CONTAINERS = frozenset({"avi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a video file says about itself.

    Attributes:
        width, height: Of the upright picture with square pixels, even; the coded ones beside them are as stored.
        rotation: Degrees clockwise by which the stored picture is turned to stand upright.
        sample_aspect_ratio: Width / height of a stored pixel.
        average_frame_rate: As declared; None where the file doesn't say.
        variable_frame_rate: Whether the frames decoded so far come at uneven intervals; final after the last frame.
        frames_declared: 0 where the container doesn't say (many .mkv); only ever compared.
        stream: Which of the video streams.
    """

    path: Path
    name: str
    size_bytes: int
    container: str
    codec: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    sample_aspect_ratio: Fraction
    time_base: Fraction
    average_frame_rate: Fraction | None
    variable_frame_rate: bool
    duration_s: float | None
    frames_declared: int
    stream: int
    has_audio: bool


class VideoFile:
    """A video file, opened: iterate once for its frames, in order. A context manager; pictures outlive it.

    Args:
        path: The file.
        stream: Which of its video streams, from 0; cover pictures are not videos.
        sampling: Which of its frames to give out. `Frame.index` counts all of them.
        bookmark: Of a frame of this file (`Frame.bookmark`), read with the same sampling: go on with the one after it,
            exactly as that reading would have done.

    Attributes:
        first_pts: The stamp of the first frame that can be decoded.

    Raises:
        InputError: It cannot be read or has no video that can be decoded.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        stream: int = 0,
        sampling: Sampling | None = None,
        bookmark: dict[str, Any] | None = None,
    ) -> None:
        self._path = Path(path)
        self._ledger = Ledger()
        self._reading = Reading(self._path, stream)
        try:
            frames = self._reading.frames(self._ledger)
            opening = next(frames, None)
            if opening is None:
                raise InputError(
                    f"{path} has no frame that can be decoded: it holds {self.counts.packets} video packets, and all "
                    f"failed ({self._reading.first_error or 'no reason given'}); damaged or cut off: get it again from "
                    "its source"
                )
            self._frames: Iterator[tuple[int, av.VideoFrame]] = itertools.chain([opening], frames)
            first = opening[1]
            ratio = sane_aspect_ratio(self._reading.video.sample_aspect_ratio)
            self._layout = Layout.of_frame(first, ratio)
            self._info = self._describe(first, ratio, stream)
            self.first_pts: int | None = first.pts
            begin = self._reading.video.start_time
            late = 0 if begin is None or first.pts is None else max(0, first.pts - begin)
            self._late_s = float(late * self._info.time_base)
            self._cut_bytes = missing_bytes(self._path, self._info.container)
            self._clock = Clock(self._info.time_base, self._info.average_frame_rate)
            self._sampler = Sampler(sampling or Sampling(), self._info.time_base)
            self._stopping = False
            self._finished = False
            if bookmark is not None:
                self._go_on_from(bookmark)
        except BaseException:
            self._reading.close()
            raise

    @property
    def counts(self) -> FrameCounts:
        """Where the frames went so far."""
        return self._ledger.counts

    @property
    def info(self) -> SourceInfo:
        """What the file says about itself; `variable_frame_rate` from the frames given out so far."""
        return replace(self._info, variable_frame_rate=self._clock.is_variable)

    @property
    def colours(self) -> ColourSpace:
        """What the numbers of `VideoPicture.yuv()` mean."""
        return self._layout.colours

    @property
    def truncated(self) -> bool:
        """Whether the file, read to its end, is shorter than it says it should be."""
        return self._finished and not self._stopping and (self._cut_bytes > 0 or self._ends_early)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the file, one line each; final after the last frame."""
        counts, info, texts = self.counts, self._info, []
        if self.truncated:
            missing = info.frames_declared - counts.packets
            reasons = [f"{self._cut_bytes} bytes are missing"] if self._cut_bytes else []
            reasons += [f"{missing} of {info.frames_declared} declared frames are missing"] if missing > 0 else []
            whole = f" of {info.duration_s:.1f} s" if info.duration_s and self._ends_early else ""
            texts.append(
                f"the file is cut off: {', '.join([f'it ends at {self._clock.latest_s:.1f} s{whole}', *reasons])}"
            )
        if self._reading.end_error:
            texts.append(f"the file cannot be read on {self._reading.end_error}")
        texts += damage_warnings(counts)
        frames, places = self._clock.holes
        if places:
            texts.append(f"frames are missing where the stamps jump ahead ({places}x): about {frames}")
        if self._clock.repeated:
            texts.append(f"frames have the stamp of the frame before ({self._clock.repeated}x): their time is unknown")
        if self._clock.epochs:
            texts.append(f"the stamps start anew ({self._clock.epochs}x): time goes on from the frame before")
        return texts

    @property
    def _ends_early(self) -> bool:
        if self._clock.repeated:  # a time that stands still says nothing about the end
            return False
        # AVI declares empty places for repeated frames too, but those don't shorten it. Sound may be longer than the
        # picture, so a container's own duration only counts where a frame count says the same or there is no sound.
        info = self._info
        few = info.frames_declared > self.counts.packets
        if info.duration_s is None:
            return few
        end_s = self._late_s + self._clock.latest_s
        return (few or not (info.frames_declared or info.has_audio)) and end_s < info.duration_s - _END_TOLERANCE_S

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; pictures given out stay usable."""
        self._reading.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames that were asked for, in the order of showing."""
        counts, sampler = self.counts, self._sampler
        use_dts = self._info.container in _DTS_CONTAINERS
        for packet, decoded in self._frames:
            index = counts.decoded
            corrupt = self._ledger.came(packet, decoded)
            if self._stopping:  # what the decoder still holds comes out, not without holes, and is counted
                counts.not_sampled += 1
                continue
            moment = self._clock.moment(decoded.dts if use_dts else decoded.pts, decoded.duration)
            if sampler.is_past(index, moment.ticks):
                self._stopping = True
                self._reading.stop_after(packet)
            if self._stopping or not sampler.takes(index, moment.ticks):
                counts.not_sampled += 1
                continue
            yield Frame(
                source_id=self._info.name,
                index=index,
                epoch=moment.epoch,
                pts=moment.pts,
                time_s=moment.time_s,
                corrupt=corrupt,
                picture=VideoPicture(decoded, self._layout),
                bookmark=Place(
                    decoded,
                    packet,
                    restart=self._ledger.restart(packet),
                    ledger=self._ledger.snapshot(),
                    clock=self._clock.state(),
                    step=sampler.step,
                ),
            )
        self._ledger.close()
        self._finished = True
        if self._clock.is_guessing:
            _log.info("%s: frames without a time stamp were placed after the one before by their duration", self._path)

    def _go_on_from(self, bookmark: dict[str, Any]) -> None:
        """Take up reading after the frame of a bookmark, at the latest key frame that gives the same frames."""
        for start in dict.fromkeys((bookmark["restart"], 0)):
            self._reading.close()
            self._reading = Reading(self._path, self._info.stream)
            self._ledger = Ledger(bookmark["ledger"])
            if start and not self._ledger.is_clean:  # a decoder that met damage is not as one that did not
                continue
            if start and bookmark.get("seek"):
                if not self._reading.go_to(bookmark["seek"]):
                    continue
                self._ledger.begin_at(start)
            self._frames = self._reading.frames(self._ledger, start)
            # From the start frames are counted: a damaged packet may give two of one stamp.
            nth = itertools.islice(self._frames, self.counts.decoded - 1, None)
            found = next(nth if start == 0 else (f for f in self._frames if f[0] == bookmark["packet"]), None)
            if found is None or (found[0], found[1].pts) != (bookmark["packet"], bookmark["pts"]):
                continue
            # From the start nothing can be missing. What a decoder makes up in place of damage, which not every decoder
            # notices (VP8 does not), may differ from time to time. A forecast knows no picture.
            if start == 0 or bookmark["crc32"] in (None, luma_crc32(found[1])):
                self._clock.restore(bookmark["clock"])
                self._sampler.step = bookmark["sampler"]
                return
        raise InputError(f"{self._path} is not the file that the bookmark was made in: begin anew")

    def _describe(self, first: av.VideoFrame, ratio: Fraction, stream: int) -> SourceInfo:
        video, container, layout = self._reading.video, self._reading.container, self._layout
        time_base = Fraction(video.time_base or Fraction(1, av.time_base))
        duration_s = float(video.duration * time_base) if video.duration else (container.duration or 0) / av.time_base
        return SourceInfo(
            path=self._path,
            name=self._path.name,
            size_bytes=self._path.stat().st_size,
            container=container.format.name,
            codec=video.codec_context.codec.canonical_name,
            width=layout.width,
            height=layout.height,
            coded_width=first.width,
            coded_height=first.height,
            rotation=layout.turn.rotation,
            sample_aspect_ratio=ratio,
            time_base=time_base,
            average_frame_rate=Fraction(video.average_rate) if video.average_rate else None,
            variable_frame_rate=False,
            duration_s=duration_s or None,
            frames_declared=video.frames,
            stream=stream,
            has_audio=bool(container.streams.audio),
        )
