"""The face network with its packaged weights: what a face gets depends on its picture and its box alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.media.file import VideoFile
from vidfer.media.picture import ArrayPicture
from vidfer.vision import session
from vidfer.vision.detect import FaceDetector
from vidfer.vision.face import HEADS, FaceNetwork

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"
IN_PX = ("landmarks", "landmarks68", "box")
# Of places: times the size of the face; of degrees and logits: times ten; of all else, which is at most one: as it is.
TOLERANCE = 1e-3
few = settings(max_examples=12)


@pytest.fixture(scope="module")
def network():
    return FaceNetwork(session.load("face_analyzer", device="cpu"))


@pytest.fixture(scope="module")
def scene():
    """Two pictures far apart in the demo clip, and the boxes of their faces."""
    detector = FaceDetector(session.load("face_detector", device="cpu"))
    with VideoFile(CLIP) as video:
        pictures = [frame.picture for frame in video if frame.index in (0, 60)]
    boxes = [detector.detect(picture).box_px for picture in pictures]
    assert [len(found) for found in boxes] == [2, 2]
    return pictures, boxes


@pytest.fixture(scope="module")
def alone(network, scene):
    """What every face gets when the network sees nothing else: picture number, face number -> heads."""
    pictures, boxes = scene
    one_by_one = {}
    for p, picture in enumerate(pictures):
        for f in range(len(boxes[p])):
            one_by_one[p, f] = network.analyse([picture], [boxes[p][f : f + 1]])[0]
    return one_by_one


def assert_same(found, wanted, size_px):
    assert set(found) == set(wanted) == set(HEADS)
    for name in HEADS:
        scale = size_px if name in IN_PX else 10.0 if name in ("pose", "emotion") else 1.0
        assert np.abs(found[name] - wanted[name]).max() <= TOLERANCE * scale, name


def size_of(box):
    return float((box[2:] - box[:2]).max())


@few
@given(calls=st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 1), max_size=6)), min_size=1, max_size=5))
def test_a_face_does_not_depend_on_what_else_is_looked_at(network, scene, alone, calls):
    """Any pictures in any order, with any faces any number of times, over the borders of the micro-batches."""
    pictures, boxes = scene
    given_boxes = [boxes[p][faces].reshape(-1, 4) for p, faces in calls]
    results = network.analyse([pictures[p] for p, _ in calls], given_boxes)
    assert len(results) == len(calls)
    for (p, faces), heads in zip(calls, results, strict=True):
        assert {len(values) for values in heads.values()} == {len(faces)}
        for row, f in enumerate(faces):
            one = {name: values[row : row + 1] for name, values in heads.items()}
            assert_same(one, alone[p, f], size_of(boxes[p][f]))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_every_face_of_a_batch_is_the_one_asked_for(network, scene, alone, count):
    pictures, boxes = scene
    which = np.arange(count) % 2
    heads = network.analyse([pictures[0]], [boxes[0][which]])[0]
    for row, f in enumerate(which.tolist()):
        one = {name: values[row : row + 1] for name, values in heads.items()}
        assert_same(one, alone[0, f], size_of(boxes[0][f]))


def test_no_face_gives_empty_heads_of_the_usual_width(network, scene, alone):
    pictures, _ = scene
    none = np.zeros((0, 4), np.float32)
    for heads in network.analyse(pictures, [none, none]):
        assert {name: (0, values.shape[1]) for name, values in alone[0, 0].items()} == {
            name: values.shape for name, values in heads.items()
        }
    assert network.analyse([], []) == []


def test_ranges(alone, scene):
    _, boxes = scene
    for (p, f), heads in alone.items():
        assert 0.5 < heads["presence"][0, 0] <= 1
        assert 0 <= heads["quality"][0, 0] <= 1
        assert np.abs(heads["valence_arousal"]).max() <= 1
        assert np.linalg.norm(heads["embedding"]) == pytest.approx(1, abs=1e-3)
        centre = heads["landmarks68"].reshape(68, 2).mean(0)
        box = boxes[p][f]
        assert (centre > box[:2]).all()
        assert (centre < box[2:]).all()


@few
@given(x=st.integers(0, 400), y=st.integers(0, 400))
def test_what_it_finds_moves_with_the_picture(network, scene, alone, x, y):
    """Landmarks, depth and box by the offset; all else stays."""
    pictures, boxes = scene
    picture, box = pictures[0], boxes[0][0]
    height, width = picture.height, picture.width
    # The crop reaches outside the box: it must not see the border that appears.
    pad = np.pad(picture.rgb(), ((y, 400 - y), (x, 400 - x), (0, 0)), mode="edge")
    assert pad.shape[:2] == (height + 400, width + 400)
    moved = network.analyse([ArrayPicture(pad)], [box[None] + np.array([x, y, x, y], np.float32)])[0]
    still = alone[0, 0]
    for name, step in (("landmarks68", (x, y)), ("landmarks", (x, y, 0)), ("box", (x, y))):
        shift = (moved[name] - still[name]).reshape(-1, len(step)) - np.array(step)
        assert np.abs(shift).max() < 0.5, name
    for name in set(HEADS) - set(IN_PX):
        scale = 10.0 if name in ("pose", "emotion") else 1.0
        assert np.abs(moved[name] - still[name]).max() < 0.05 * scale, name
