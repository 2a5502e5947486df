"""The detector at run time, on a made-up network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.errors import ModelError, UsageError
from vidfer.types import F32, U8
from vidfer.vision.detect import FaceDetector, non_maximum_suppression
from vidfer.vision.geometry import iou
from vidfer.vision.session import ModelCard


class _Picture:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height

    def rgb(self, width: int | None = None, height: int | None = None) -> U8:
        return np.full((height or self.height, width or self.width, 3), 200, np.uint8)

    def gray(self, width: int, height: int) -> U8:
        return np.zeros((height, width), np.uint8)


class _Network:
    """Gives fixed boxes and remembers the picture it was shown."""

    def __init__(self, box: Any, score: Any, **details: Any) -> None:
        self.card = ModelCard(name="fake", version="0", licence="none", sha256="", details=details)
        self._box, self._score = np.array(box, np.float32).reshape(-1, 4), np.array(score, np.float32)
        self.image: U8 = np.zeros(0, np.uint8)

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.image = inputs["image"]
        return {"box": self._box[None], "score": self._score[None]}


def test_boxes_come_back_in_px_of_the_picture() -> None:
    network = _Network([[32, 16, 64, 56], [0, 0, 20, 20]], [0.9, 0.2], threshold=0.5)
    found = FaceDetector(network).detect(_Picture(1280, 720))
    assert network.image.shape == (1, 384, 640, 3)
    assert (network.image[0, :360] == 200).all()
    assert (network.image[0, 360:] == 0).all()
    np.testing.assert_allclose(found.box_px, [[64, 32, 128, 112]])
    np.testing.assert_allclose(found.score, [0.9], rtol=1e-6)


def test_boxes_are_cut_at_the_border_and_dropped_in_the_padding() -> None:
    network = _Network([[-5, -8, 40, 40], [10, 362, 60, 380]], [0.9, 0.8], threshold=0.5)
    found = FaceDetector(network).detect(_Picture(640, 360))
    np.testing.assert_allclose(found.box_px, [[0, 0, 40, 40]])


def test_small_pictures_are_not_enlarged() -> None:
    network = _Network([[16, 16, 48, 48]], [0.9], threshold=0.5)
    found = FaceDetector(network).detect(_Picture(176, 144))
    assert network.image.shape == (1, 160, 192, 3)
    np.testing.assert_allclose(found.box_px, [[16, 16, 48, 48]])


def test_no_face_gives_empty_detections() -> None:
    assert len(FaceDetector(_Network([[0, 0, 9, 9]], [0.1]), threshold=0.5).detect(_Picture(64, 64))) == 0


def test_arguments_are_checked() -> None:
    with pytest.raises(UsageError, match="threshold"):
        FaceDetector(_Network([], []), threshold=1.5)
    with pytest.raises(UsageError, match="long_side"):
        FaceDetector(_Network([], [], threshold=0.5), long_side=8)
    with pytest.raises(ModelError, match="no threshold"):
        FaceDetector(_Network([], []))


@given(st.integers(0, 40), st.integers(0, 2**31))
def test_suppression_keeps_the_best_and_no_two_that_overlap(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    box: F32 = np.concatenate([low, low + rng.uniform(4, 40, (count, 2))], 1).astype(np.float32)
    score: F32 = rng.random(count).astype(np.float32)
    kept = non_maximum_suppression(box, score, 0.45)
    assert (np.diff(score[kept]) <= 0).all()
    between = iou(box[kept], box[kept])
    np.fill_diagonal(between, 0)
    assert (between <= 0.45 + 1e-5).all()
    for row in set(range(count)) - set(kept.tolist()):
        better = kept[score[kept] >= score[row]]
        assert (iou(box[row][None], box[better]) > 0.45 - 1e-5).any()
