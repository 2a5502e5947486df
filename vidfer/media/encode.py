"""The annotated video: H.264 in MP4 with the times and the sound of its source."""

from __future__ import annotations

import contextlib
import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.video.frame import PictureType
from av.video.reformatter import ColorRange

from vidfer.errors import OutputError
from vidfer.media.audio import AudioCarrier
from vidfer.media.cores import available_cores
from vidfer.media.planes import YuvPicture, pixels_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from av.video.stream import VideoStream

    from vidfer.types import ColourSpace

_log = logging.getLogger(__name__)

_FALLBACK_RATE = Fraction(25)
_MOVIE_TICKS = 1000
_LATEST_START_S = 10
# Measured on annotated 1080p, 720p and 360p (CPU ms a frame, MB for 48, 90 and 90 frames, PSNR of luma in dB):
# ultrafast with deblocking, without which blocks show
#   CRF 24                                 7.8, 2.00, 45.6   3.2, 1.74, 44.6   0.95, 0.78, 41.2
#   quantiser 23                           6.0, 1.97, 45.4   2.6, 1.87, 45.1   0.83, 0.89, 42.1
#   quantiser 24                           5.6, 1.75, 44.6   2.6, 1.68, 44.3   0.82, 0.79, 41.2
#   quantiser 24, subme 1                  7.5, 1.43, 45.0   3.3, 1.41, 44.7   1.00, 0.62, 41.7
# A fixed quantiser saves x264 to guess beforehand what each frame will cost.
_ENCODER = {"preset": "ultrafast", "qp": "23", "x264-params": "deblock=0,0"}
_MOST_THREADS = 4  # each holds some frames
_FRAGMENT_FRAMES = 50  # from key frame to key frame, where each is a fragment: what a kill costs


class VideoWriter:
    """Writes an MP4 (H.264, yuv420p, faststart) frame by frame; a context manager.

    The file appears under its name when the block ends well; until then it is NAME.part, and an error removes it. A
    fragmented one is there from the start and can be played at any moment, also after a kill; an error leaves it.
    Stamps are kept exactly, variable frame rate included. A video that starts before 0 or more than ten seconds late is
    moved to 0 together with its sound: MP4 would show nothing for that long.

    Args:
        path: The file to make.
        width: Of the pictures, px, even.
        height: Of the pictures, px, even.
        time_base: The tick of the stamps in seconds, as in the source.
        frame_rate: The source's average; None where it is unknown.
        audio_from: The file whose sound is carried over.
        colours: What the numbers of the pictures mean.
        fragmented: For recordings that have no end yet.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        frame_rate: Fraction | None = None,
        audio_from: Path | None = None,
        colours: ColourSpace,
        fragmented: bool = False,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"a video must have an even width and height, got {width}x{height}")
        self._path = Path(path)
        self._fragmented = fragmented
        self._part = self._path if fragmented else self._path.with_name(self._path.name + ".part")
        self._size = (width, height)
        self._time_base = Fraction(time_base)
        rate = (frame_rate or _FALLBACK_RATE).limit_denominator(1 << 16)
        self._nominal = max(1, round(1 / (rate * self._time_base)))
        self._shift: int | None = None
        self._last_pts: int | None = None
        self._repaired = False
        self._colours = colours
        self._audio: AudioCarrier | None = None
        with self._readable_errors():
            self._container = av.open(str(self._part.absolute()), "w", format="mp4", options=self._mux_options())
        try:
            self._stream = self._add_video(rate)
            if audio_from is not None:
                self._audio = self._carrier(audio_from)
            with self._readable_errors():
                self._container.start_encoding()  # opens the file: what is wrong with the place shows now
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._readable_errors():
                self._finish()
        except BaseException:
            self._discard()
            raise

    def write(self, picture: YuvPicture, pts: int | None) -> None:
        """Add a picture, shown from `pts` on; a stamp that is missing or not later is replaced."""
        frame = picture.frame
        if (frame.width, frame.height) != self._size or picture.colours != self._colours:
            got = f"{frame.width}x{frame.height} in {picture.colours}"
            raise ValueError(f"a picture must be {self._size[0]}x{self._size[1]} in {self._colours}, got {got}")
        pts = self._usable(pts)
        if self._shift is None:
            self._shift = self._shift_from(pts)
        with self._readable_errors():
            frame.pts, frame.time_base = pts + self._shift, self._time_base
            frame.pict_type = PictureType.NONE  # as the decoder found it, it would force the kind of the new frame
            self._container.mux(self._stream.encode(frame))
            if self._audio is not None:
                self._audio.carry_until(pts * self._time_base, self._shift * self._time_base)

    def _usable(self, pts: int | None) -> int:
        """A stamp that is later than the one before."""
        last = self._last_pts
        if pts is None or (last is not None and pts <= last):
            if not self._repaired:
                self._repaired = True
                _log.warning("%s: the source has stamps that are missing or not rising: replaced", self._path.name)
            pts = 0 if last is None else last + (self._nominal if pts is None else 1)
        self._last_pts = pts
        return pts

    def _shift_from(self, first_pts: int) -> int:
        """What to add to every stamp."""
        start_s = first_pts * self._time_base
        if self._audio is not None and self._audio.start_s is not None:
            start_s = min(start_s, max(self._audio.start_s, Fraction(0)))
        return 0 if first_pts >= 0 and start_s <= _LATEST_START_S else -round(start_s / self._time_base)

    def _mux_options(self) -> dict[str, str]:
        # The time before the first frame is written in ticks of the movie, 1 ms unless told otherwise: a multiple of
        # the source's ticks keeps it exact.
        ticks = self._time_base.denominator
        movie_ticks = ticks * -(-_MOVIE_TICKS // ticks)
        order = "+frag_keyframe+empty_moov+default_base_moof" if self._fragmented else "+faststart"
        return {"movflags": order, "video_track_timescale": str(ticks), "movie_timescale": str(movie_ticks)}

    def _add_video(self, rate: Fraction) -> VideoStream:
        options = {**_ENCODER, "g": str(_FRAGMENT_FRAMES)} if self._fragmented else _ENCODER
        stream = self._container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = self._size
        stream.pix_fmt = pixels_of(self._colours)
        context, colours = stream.codec_context, self._colours
        context.time_base = self._time_base
        context.thread_count = min(_MOST_THREADS, available_cores())
        stream.colorspace, stream.color_primaries = colours.matrix, colours.primaries
        stream.color_trc = colours.transfer
        stream.color_range = ColorRange.JPEG if colours.full_range else ColorRange.MPEG
        return stream

    def _carrier(self, source: Path) -> AudioCarrier | None:
        try:
            return AudioCarrier(source, self._container)
        except (av.FFmpegError, OSError) as error:
            _log.warning("%s: no sound, since %s cannot be opened: %s", self._path.name, source, error)
            return None

    def _finish(self) -> None:
        if self._last_pts is None:
            raise OutputError(f"{self._path} was not written: it got no picture")
        self._container.mux(self._stream.encode(None))
        if self._audio is not None:
            self._audio.carry_until(None, (self._shift or 0) * self._time_base)
            self._audio.close()
        self._container.close()
        with self._part.open("rb+") as file:  # a power cut must not leave a torn file under the name
            os.fsync(file.fileno())
        self._part.replace(self._path)

    def _discard(self) -> None:
        """Leave nothing behind; what else goes wrong now matters less than the error that led here."""
        if self._audio is not None:
            self._audio.close()
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        if not self._fragmented:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = error.strerror or error
            raise OutputError(
                f"{self._path} cannot be written: {reason}; check the folder and the free space"
            ) from error
