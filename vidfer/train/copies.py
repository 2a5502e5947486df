"""Pictures that are in a data set more than once, also across its splits: FER2013 alone repeats some 700.

Collections of photographs also hold the same one cut in other ways and mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.types import F32, U8, Bool

# Correlation of thumbnails. Copies were stored with other quality, so their bytes differ; next frames of a video and
# other pictures of a person stay below.
LEAST = 0.99
# Correlation of a thumbnail with one of a part of the other picture. Of the scenes' pairs, looked at, nearly all above
# are the same photograph or place, and many of those below are not.
LEAST_OF_A_PART = 0.9
_PARTS = (1.0, 0.85, 0.7)  # of a side
_PART_SIDE = 96  # of the pictures that parts are cut of
_SIDE = 24
_ROWS = 512


def copied(images: Sequence[U8], others: Sequence[U8]) -> Bool:
    """bool[N]: which pictures uint8[H,W] or uint8[H,W,3] are also among others, but for noise and size."""
    found = np.zeros(len(images), bool)
    if len(others):
        theirs = thumbnails(others).T
        ours = thumbnails(images)
        for start in range(0, len(ours), _ROWS):
            found[start : start + _ROWS] = (ours[start : start + _ROWS] @ theirs).max(1) >= LEAST
    return found


def shared(images: Sequence[U8], others: Sequence[U8]) -> Bool:
    """bool[N]: which pictures uint8[H,W,3] show what another shows, also cut in another way or mirrored."""
    found = np.zeros(len(images), bool)
    if len(others) and len(images):
        ours, theirs = ([_small(image) for image in of] for of in (images, others))
        of_us, of_them = thumbnails(ours), thumbnails([*theirs, *(image[:, ::-1] for image in theirs)])
        for i, image in enumerate(ours):
            found[i] = (thumbnails(_parts(image)) @ of_them.T).max() >= LEAST_OF_A_PART
        for image in theirs:
            parts = _parts(image)
            likeness = of_us @ thumbnails([*parts, *(part[:, ::-1] for part in parts)]).T
            found |= likeness.max(1) >= LEAST_OF_A_PART
    return found


def _small(image: U8) -> U8:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (_PART_SIDE, _PART_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _parts(image: U8) -> list[U8]:
    """The picture, and its parts at corners, borders and in the middle."""
    parts = []
    for width, height in product((round(share * _PART_SIDE) for share in _PARTS), repeat=2):
        lefts, tops = ({0, (_PART_SIDE - side) // 2, _PART_SIDE - side} for side in (width, height))
        parts += [image[y : y + height, x : x + width] for x, y in product(sorted(lefts), sorted(tops))]
    return parts


def first_of_its_kind(files: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """int64[N]: index of the first file with the same content."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(data, i) for i, data in enumerate(files)], np.int64)


def thumbnails(images: Sequence[U8]) -> F32:
    """f32[N,576] grey, without mean, of unit length."""
    grey = (image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel() for image in grey]
    found = np.stack(small).astype(np.float32) if small else np.zeros((0, _SIDE * _SIDE), np.float32)
    found -= found.mean(1, keepdims=True)
    return np.asarray(found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-6), np.float32)
