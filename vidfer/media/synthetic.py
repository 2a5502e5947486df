"""Videos whose truth is known: sprites that move along paths, with their boxes; and a writer of odd files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import cv2
import numpy as np

from vidfer.media.picture import ArrayPicture
from vidfer.types import F32, U8, Frame

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_BT601 = 6
_OPAQUE = 127
_FIXED = {"threads": "1", "preset": "veryfast"}  # one thread: the same bytes on every machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a sprite is: its centre in px of the picture, its size against its own pixels, its turn clockwise."""

    x: float
    y: float
    scale: float = 1.0
    turn_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """Something that moves through the picture.

    Attributes:
        identity: Its number in the truth.
        image: uint8[h,w,4], RGB and opacity.
        box: The part of the image that counts (x0, y0, x1, y1 in px of the image), such as the face of a portrait.
        path: Time in seconds -> placement; None while it is not there.
    """

    identity: int
    image: U8 = field(repr=False)
    box: tuple[float, float, float, float]
    path: Callable[[float], Placement | None] = field(repr=False)

    def to_picture(self, at: Placement) -> F32:
        """Transform f32[2,3] from the image's pixels to the picture's (OpenCV: the middle of the first one is 0)."""
        height, width = self.image.shape[:2]
        turn = math.radians(at.turn_deg)
        cos, sin = math.cos(turn) * at.scale, math.sin(turn) * at.scale
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        return np.array(
            [
                [cos, -sin, at.x - 0.5 - cos * centre_x + sin * centre_y],
                [sin, cos, at.y - 0.5 - sin * centre_x - cos * centre_y],
            ],
            np.float32,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueBox:
    """The truth about one sprite in one frame: box_px f32[4] (xyxy, not cut at the border), the part in sight."""

    identity: int
    box_px: F32
    visibility: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticVideo:
    """A drawn video; later sprites cover earlier ones. Iterating gives its frames.

    Attributes:
        background: RGB uint8[H,W,3], even sides.
        sprites: From the farthest to the nearest.
        pts: A stamp per frame in ticks, rising; uneven ones make a variable frame rate.
        time_base: The tick in seconds.
    """

    background: U8 = field(repr=False)
    sprites: Sequence[Sprite]
    pts: Sequence[int]
    time_base: Fraction
    name: str = "synthetic"

    def __len__(self) -> int:
        return len(self.pts)

    def __iter__(self) -> Iterator[Frame]:
        for index, pts in enumerate(self.pts):
            image, _ = self.draw(index)
            yield Frame(
                source_id=self.name, index=index, pts=pts, time_s=self.time_s(index), picture=ArrayPicture(image)
            )

    def time_s(self, index: int) -> float:
        """Seconds from the first frame to this one."""
        return float((self.pts[index] - self.pts[0]) * self.time_base)

    def draw(self, index: int) -> tuple[U8, list[TrueBox]]:
        """A frame, RGB uint8[H,W,3], and its truth: a box for each sprite that is at least partly in sight."""
        image = self.background.astype(np.float32)
        owner = np.full(image.shape[:2], -1)
        placed: list[tuple[int, Sprite, F32]] = []
        for order, sprite in enumerate(self.sprites):
            at = sprite.path(self.time_s(index))
            if at is None:
                continue
            transform = sprite.to_picture(at)
            _paste(image, owner, order, sprite.image, transform)
            placed.append((order, sprite, transform))
        truth = [_truth(owner == order, sprite, transform) for order, sprite, transform in placed]
        return np.rint(image).astype(np.uint8), [box for box in truth if box.visibility > 0]


def solid_sprite(
    identity: int, colour: tuple[int, int, int], width: int, height: int, path: Callable[[float], Placement | None]
) -> Sprite:
    """A rectangle of one colour; all of it counts."""
    image = np.full((height, width, 4), 255, np.uint8)
    image[:, :, :3] = colour
    return Sprite(identity=identity, image=image, box=(0, 0, width, height), path=path)


def write_video(
    path: Path,
    frames: Iterable[tuple[U8, int]],
    *,
    time_base: Fraction,
    codec: str = "libx264",
    rotation_deg: int = 0,
    sample_aspect_ratio: Fraction = Fraction(1),
    sound: F32 | None = None,
    sound_rate: int = 48000,
    quality: int = 20,
) -> None:
    """Write pictures into a file; its suffix chooses the container.

    Args:
        path: The file to make.
        frames: Pictures as they are stored (RGB uint8[H,W,3], one size), and their rising stamps in ticks.
        time_base: The tick in seconds; the container may round to its own.
        codec: Name of an encoder.
        rotation_deg: What a player is told to turn the stored pictures by, clockwise.
        sample_aspect_ratio: The shape of a stored pixel.
        sound: f32[samples] in [-1, 1], mono, from the first frame on.
        sound_rate: Samples per second.
        quality: CRF of the encoder: smaller is better and larger.
    """
    pictures = iter(frames)
    opening = next(pictures)
    options = {"movflags": "+faststart"} if path.suffix in {".mp4", ".mov", ".m4v"} else {}
    with av.open(str(path), "w", options=options) as container:
        video = cast("VideoStream", container.add_stream(codec, rate=25, options=_FIXED | {"crf": str(quality)}))
        video.height, video.width = opening[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.colorspace = video.color_primaries = video.color_trc = _BT601  # what av.VideoFrame.from_ndarray leads to
        video.codec_context.time_base = time_base
        video.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotation_deg:
            video.set_display_rotation(-rotation_deg)
        audio = None if sound is None else _Sound(container, sound, sound_rate)
        for image, pts in itertools.chain([opening], pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = pts, time_base
            container.mux(video.encode(frame))
            if audio is not None:
                audio.write_until(float((pts - opening[1]) * time_base))
        container.mux(video.encode(None))
        if audio is not None:
            audio.write_until(None)


class _Sound:
    """Samples that are encoded as the pictures go on, so that the file has both side by side."""

    def __init__(self, container: OutputContainer, samples: F32, rate: int) -> None:
        self._container = container
        self._stream: AudioStream = container.add_stream("aac", rate=rate, layout="mono")
        self._samples = samples.astype(np.float32)
        self._rate = rate
        self._done = 0

    def write_until(self, time_s: float | None) -> None:
        """Write the samples before this time; None: all that are left."""
        end = len(self._samples) if time_s is None else min(len(self._samples), int(time_s * self._rate))
        if end > self._done:
            frame = av.AudioFrame.from_ndarray(self._samples[None, self._done : end], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._done, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._done = end
        if time_s is None:
            self._container.mux(self._stream.encode(None))


def _paste(image: F32, owner: np.ndarray[Any, Any], order: int, sprite: U8, transform: F32) -> None:
    """Draw a sprite into the picture and mark the pixels that are now its own."""
    height, width = image.shape[:2]
    # Opacity is multiplied in first: otherwise the colour behind a transparent edge would shine through.
    soft = sprite.astype(np.float32)
    soft[:, :, :3] *= soft[:, :, 3:] / 255
    shrink = max(1, int(1 / max(1e-3, math.hypot(float(transform[0, 0]), float(transform[1, 0])))))
    if shrink > 1:  # average first: sampling alone would leave out pixels and flicker
        soft = cast(F32, cv2.blur(soft, (shrink, shrink)))
    warped = cv2.warpAffine(soft, transform, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    opacity = warped[:, :, 3:] / 255
    image *= 1 - opacity
    image += warped[:, :, :3]
    owner[warped[:, :, 3] > _OPAQUE] = order


def _truth(mine: np.ndarray[Any, Any], sprite: Sprite, transform: F32) -> TrueBox:
    x0, y0, x1, y1 = sprite.box
    # A pixel's index is its middle, but a box counts from the pixel's edge.
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32) - 0.5
    moved = corners @ transform[:, :2].T + transform[:, 2] + 0.5
    box = np.concatenate([moved.min(axis=0), moved.max(axis=0)]).astype(np.float32)
    left, top, right, bottom = np.rint(box).astype(int)
    in_sight = int(np.count_nonzero(mine[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]))
    # Against what would be in sight with nothing before it and no border: a box has transparent corners.
    alone = transform - np.array([[0, 0, left], [0, 0, top]], np.float32)
    size = (max(1, right - left), max(1, bottom - top))
    whole = int(np.count_nonzero(cv2.warpAffine(sprite.image[:, :, 3].astype(np.float32), alone, size) > _OPAQUE))
    return TrueBox(identity=sprite.identity, box_px=box, visibility=min(1.0, in_sight / max(1, whole)))
