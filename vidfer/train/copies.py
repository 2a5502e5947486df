"""Pictures that are in a data set more than once: FER2013 alone repeats some 700, also across splits."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.types import F32, U8, Bool

# Correlation of thumbnails. Copies were stored with other quality, so their bytes differ; next frames of a video and
# other pictures of a person stay below.
LEAST = 0.99
_SIDE = 24
_ROWS = 512


def copied(images: Sequence[U8], others: Sequence[U8]) -> Bool:
    """bool[N]: which pictures uint8[H,W] or uint8[H,W,3] are also among others, but for noise and size."""
    found = np.zeros(len(images), bool)
    if len(others):
        theirs = _thumbnails(others).T
        ours = _thumbnails(images)
        for start in range(0, len(ours), _ROWS):
            found[start : start + _ROWS] = (ours[start : start + _ROWS] @ theirs).max(1) >= LEAST
    return found


def first_of_its_kind(files: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """int64[N]: index of the first file with the same content."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(data, i) for i, data in enumerate(files)], np.int64)


def _thumbnails(images: Sequence[U8]) -> F32:
    """f32[N,576] grey, without mean, of unit length."""
    grey = (image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel() for image in grey]
    found = np.stack(small).astype(np.float32) if small else np.zeros((0, _SIDE * _SIDE), np.float32)
    found -= found.mean(1, keepdims=True)
    return np.asarray(found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-6), np.float32)
