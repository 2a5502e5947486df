"""The data that flows through vidfer: small frozen containers over numpy columns.

Units stand in the names. Boxes are ``xyxy`` float32 in pixels of the upright picture with square pixels; images are RGB
uint8. Shapes are checked on creation, with the shape in the message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

U8 = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]  # RGB, or YUV once it is painted
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# How a face got its box; the values of the column `face_status`.
DETECTED, TRACKED, PREDICTED = 0, 1, 2
FACE_STATUS = ("detected", "tracked", "predicted")


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...], dtype: npt.DTypeLike) -> None:
    wanted = "[" + ",".join("N" if n is None else str(n) for n in shape) + "]"
    same = len(array.shape) == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=True))
    if not same or array.dtype != np.dtype(dtype):
        raise ValueError(f"{name} must be {np.dtype(dtype)}{wanted}, got {array.dtype}{list(array.shape)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourSpace:
    """What the numbers of a YUV picture mean, in codes of ITU-T H.273.

    Attributes:
        matrix: From RGB to YUV; never "unspecified".
        full_range: Black is 0 and white 255, not 16 and 235.
        primaries: Which red, green and blue.
        transfer: From light to numbers.
    """

    matrix: int
    full_range: bool
    primaries: int
    transfer: int


class Picture(Protocol):
    """One decoded picture, upright and with square pixels, converted only as far as somebody asks for it."""

    @property
    def width(self) -> int:
        """Width in px of the upright picture with square pixels; even."""
        ...

    @property
    def height(self) -> int:
        """Height in px of the upright picture with square pixels; even."""
        ...

    def rgb(self, width: int | None = None, height: int | None = None) -> U8:
        """The picture as read-only RGB uint8[H,W,3]; scaled to (width, height) where given."""
        ...

    def part(self, left: int, top: int, right: int, bottom: int) -> U8:
        """`rgb()[top:bottom, left:right]`, converted by itself where that costs less."""
        ...

    def gray(self, width: int, height: int) -> U8:
        """Luma as uint8[height,width]; cheap, for cut detection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One decoded frame of a source with its exact time.

    Attributes:
        source_id: Name of the source, without credentials.
        index: 0-based count of the decoded frames of the source.
        epoch: +1 at each reconnect or pts reset.
        pts: Presentation time in ticks of the stream's time base; None where the container has none.
        time_s: (pts - first pts) x time base in seconds, the first frame of the source is 0.0.
        captured_utc: Wall clock of live sources.
        dropped_before: Frames of the source dropped (not skipped by sampling) since the previous one given out.
        corrupt: Decoded with damage.
        picture: The pixels.
        bookmark: Says, as JSON, where reading stands after this frame, for a source that can go on from there; empty
            for others. It takes some ms and the decoded picture: ask every few seconds, and while the frame is at hand.
    """

    source_id: str
    index: int
    epoch: int = 0
    pts: int | None
    time_s: float | None
    captured_utc: datetime | None = None
    dropped_before: int = 0
    corrupt: bool = False
    picture: Picture = field(repr=False)
    bookmark: Callable[[], dict[str, Any]] = field(default=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Faces a detector found in one picture: box_px f32[N,4] (xyxy), score f32[N] in [0, 1]."""

    box_px: F32
    score: F32

    def __post_init__(self) -> None:
        _check("box_px", self.box_px, (None, 4), np.float32)
        _check("score", self.score, (len(self.box_px),), np.float32)

    def __len__(self) -> int:
        return len(self.box_px)

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(box_px=np.zeros((0, 4), np.float32), score=np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The faces of one frame, analysed.

    Attributes:
        box_px: f32[N,4], xyxy.
        score: f32[N], confidence of the box in [0, 1].
        status: u8[N], DETECTED or TRACKED.
        track_id: i64[N], the online tracker's id; -1 before tracking.
        heads: Head name -> f32[N,C] in frame units, from `vision.face.FaceNetwork`:
            ``emotion`` (8 logits), ``valence_arousal`` (2), ``landmarks`` (478*3: x, y, z px),
            ``landmarks68`` (136 px), ``presence`` (1), ``embedding`` (128, unit length),
            ``pose`` (pitch, yaw, roll in degrees), ``quality`` (1).
    """

    box_px: F32
    score: F32
    status: U8
    track_id: I64
    heads: dict[str, F32]

    def __post_init__(self) -> None:
        n = len(self.box_px)
        _check("box_px", self.box_px, (None, 4), np.float32)
        _check("score", self.score, (n,), np.float32)
        _check("status", self.status, (n,), np.uint8)
        _check("track_id", self.track_id, (n,), np.int64)
        for name, values in self.heads.items():
            if values.ndim != 2 or len(values) != n or values.dtype != np.float32:
                raise ValueError(f"head {name} must be float32[{n},C], got {values.dtype}{list(values.shape)}")

    def __len__(self) -> int:
        return len(self.box_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """What analysis found in one frame; ``shot`` is +1 at each detected cut."""

    index: int
    epoch: int
    pts: int | None
    time_s: float | None
    captured_utc: datetime | None
    shot: int
    corrupt: bool
    faces: Faces
