"""Hard cuts, found on thumbnails: cheap, decided on the frame itself, from the past only."""

from __future__ import annotations

import base64
import copy
from typing import Any

import cv2
import numpy as np

from vidfer.types import F64, U8

THUMBNAIL_W, THUMBNAIL_H = 64, 36

# Chosen on the development clips (every frame, every 2nd, 4th; cuts between any two of them) and on synthetic flashes,
# fades, pans and shakes: tests/property/test_cuts.py has them all.
_BLANK_CONTRAST = 3.0  # standard deviation in grey levels: black, white or faded out, nothing to compare
_SAME_DIFFERENCE = 0.3  # mean absolute difference / contrast; unrelated pictures are at 1.1
_SAME_CORRELATION = 0.85  # of the whole thumbnails, before blocks are looked at
_CUT_CHANGE = 0.24  # unrelated pictures have 0.55 in the median, motion at 25 frames/s stays below 0.17
_OVER_RECENT = 1.8  # a cut stands out of the motion before it
_RECENT_DECAY = 0.8  # per frame
# A flash drives a share of the picture into white and makes next to nothing darker; it lasts a few frames.
_WHITE_LEVEL, _WHITE_SHARE, _DARKER_LEVELS, _DARKER_SHARE, _FLASH_FRAMES = 245, 0.1, 8, 0.08, 3

_BLOCK_W, _BLOCK_H, _REACH_X, _REACH_Y = 20, 16, 8, 6
_BLOCKS = tuple((x, y) for y in (1, 19) for x in (1, 22, 43))
_KEPT_WEIGHT = 0.75  # the worst quarter does not count: something large may pass in front of a still camera
_NOISE_VARIANCE = 0.5  # grey levels squared; keeps flat blocks from counting


class CutDetector:
    """Says of each frame, as it comes, whether it is the first of a new shot.

    A frame is compared with the last one that showed something: six blocks are searched for within 12 % of the width,
    each up to gain and offset, so motion, faces near the camera, flashes and fades leave a high correlation and a cut
    does not. Frames with nothing on them (black, white) are skipped, so a dropout or a fade returns to the old picture.
    A frame that looks like a flash decides nothing either; if it stays so for three frames, or something else follows,
    that is the cut. The same frames always give the same answers; every source needs its own detector.
    """

    __slots__ = ("_flash_frames", "_recent", "_reference")

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Args: `state()` of the detector to go on from."""
        self._reference: U8 | None = None
        self._recent = 0.0
        self._flash_frames = 0
        if state is not None:
            self._recent, self._flash_frames = state["recent"], state["flash_frames"]
            if state["reference"] is not None:
                pixels = np.frombuffer(base64.b64decode(state["reference"]), np.uint8)
                self._reference = pixels.reshape(THUMBNAIL_H, THUMBNAIL_W)

    def copy(self) -> CutDetector:
        """One that goes on from here by itself; cheap, since the thumbnail is shared and never written to."""
        return copy.copy(self)

    def state(self) -> dict[str, Any]:
        """All that decides what it will say, JSON-able."""
        pixels = None if self._reference is None else base64.b64encode(self._reference.tobytes()).decode("ascii")
        return {"reference": pixels, "recent": self._recent, "flash_frames": self._flash_frames}

    def is_cut(self, gray: U8) -> bool:
        """Whether this frame opens a new shot; call it for every frame, in order.

        Args:
            gray: uint8[36,64], luma of the whole picture.

        Raises:
            ValueError: The thumbnail has another shape or type.
        """
        if gray.shape != (THUMBNAIL_H, THUMBNAIL_W) or gray.dtype != np.uint8:
            raise ValueError(f"gray must be uint8[{THUMBNAIL_H},{THUMBNAIL_W}], got {gray.dtype}{list(gray.shape)}")
        contrast = _contrast(gray)
        if contrast < _BLANK_CONTRAST:
            return False
        if self._reference is None:
            self._keep(gray, 0.0)
            return False
        change = _change(self._reference, gray, contrast)
        if change <= max(_CUT_CHANGE, _OVER_RECENT * self._recent):
            self._keep(gray, change)
            return False
        if self._flash_frames < _FLASH_FRAMES and _is_flash(self._reference, gray):
            self._flash_frames += 1
            return False
        self._keep(gray, 0.0)
        return True

    def _keep(self, gray: U8, change: float) -> None:
        self._reference = gray.copy()
        self._recent = max(change, self._recent * _RECENT_DECAY)
        self._flash_frames = 0


def _contrast(gray: U8) -> float:
    return float(cv2.meanStdDev(gray)[1][0, 0])


def _is_flash(before: U8, now: U8) -> bool:
    turned_white = np.count_nonzero((now >= _WHITE_LEVEL) & (before < _WHITE_LEVEL))
    darker = np.count_nonzero(cv2.subtract(before, now) > _DARKER_LEVELS)
    return bool(turned_white > _WHITE_SHARE * now.size and darker < _DARKER_SHARE * now.size)


def _change(before: U8, now: U8, contrast: float) -> float:
    """0 (same picture) to 1 (nothing in common), blind to gain, offset and motion within reach."""
    if cv2.norm(before, now, cv2.NORM_L1) < _SAME_DIFFERENCE * contrast * now.size:
        return 0.0
    if (whole := float(cv2.matchTemplate(before, now, cv2.TM_CCOEFF_NORMED)[0, 0])) > _SAME_CORRELATION:
        return 1.0 - whole
    blocks = np.array([_block_change(before, now, x, y) for x, y in _BLOCKS])
    return _mean_of_least(blocks[:, 0], blocks[:, 1], _KEPT_WEIGHT)


def _block_change(before: U8, now: U8, x: int, y: int) -> tuple[float, float]:
    """Change of one block and its weight (both in [0, 1]); flat blocks weigh little."""
    block = now[y : y + _BLOCK_H, x : x + _BLOCK_W]
    variance = _contrast(block) ** 2
    strongest = max(variance, _contrast(before[y : y + _BLOCK_H, x : x + _BLOCK_W]) ** 2)
    weight = strongest / (strongest + 4 * _NOISE_VARIANCE)
    if variance == 0:
        return 1.0, weight
    around = before[max(0, y - _REACH_Y) : y + _BLOCK_H + _REACH_Y, max(0, x - _REACH_X) : x + _BLOCK_W + _REACH_X]
    found = float(cv2.matchTemplate(around, block, cv2.TM_CCOEFF_NORMED).max())
    return 1.0 - found * variance / (variance + _NOISE_VARIANCE), weight


def _mean_of_least(values: F64, weights: F64, share: float) -> float:
    """Weighted mean of the smallest values that together hold this share of the weight."""
    order = np.argsort(values, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(weights[order])))
    used = np.diff(np.minimum(before, share * before[-1]))
    return float(used @ values[order] / used.sum()) if used.sum() > 0 else 0.0
