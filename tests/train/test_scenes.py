"""Training pictures: boxes stay inside, follow the pixels, and depend on the seed alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.errors import DataError
from vidfer.train import hard, mosaic, paste, scenes


def _scene(name: str, box: list[list[float]], valid: list[bool], *, negative: bool = False) -> scenes.Scene:
    rng = np.random.default_rng(len(name))
    image = rng.integers(0, 80, (180, 240, 3), np.uint8)
    for x0, y0, x1, y1 in box:
        image[int(y0) : int(y1), int(x0) : int(x1)] = 230
    array = np.array(box, np.float32).reshape(-1, 4)
    flags = np.array(valid, bool)
    return scenes.Scene(name=name, image=image, box_px=array, valid=flags, masked=flags & False, negative=negative)


def _mixer() -> mosaic.SceneMixer:
    face = paste.face_cut(
        np.full((96, 96, 3), 200, np.uint8), np.random.default_rng(0).uniform(20, 70, (478, 2)).astype(np.float32), 0.1
    )
    peopled = _scene("people", [[30, 40, 70, 90], [150, 60, 190, 110]], [True, False])
    places = [hard.Place(scene=i, box_px=np.array([100, 100, 130, 140], np.float32)) for i in range(2)]
    return mosaic.SceneMixer([peopled, _scene("empty", [], [], negative=True)], [face], places)


@given(st.integers(0, 2**31), st.sampled_from([128, 160, 224]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_boxes_lie_inside_and_faces_are_big_enough(seed: int, size: int, calm: bool) -> None:
    sample = _mixer().sample(size, np.random.default_rng(seed), calm=calm)
    assert sample.image.shape == (size, size, 3)
    assert sample.image.dtype == np.uint8
    assert sample.box_px.shape == (len(sample.valid), 4)
    assert (sample.box_px >= 0).all()
    assert (sample.box_px <= size).all()
    side = sample.box_px[:, 2:] - sample.box_px[:, :2]
    assert (side > 0).all()
    assert (side[sample.valid].min(initial=np.inf)) >= scenes.MIN_FACE_PX


def test_the_seed_decides() -> None:
    first = next(mosaic.batches(_mixer(), 7, 128, 4))
    again = next(mosaic.batches(_mixer(), 7, 128, 4))
    other = next(mosaic.batches(_mixer(), 8, 128, 4))
    np.testing.assert_array_equal(first[0], again[0])
    assert all((a.box_px == b.box_px).all() for a, b in zip(first[1], again[1], strict=True))
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()


def test_ignore_regions_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = mosaic.SceneMixer([_scene("p", [[80, 60, 150, 130]], [False]), _scene("n", [], [], negative=True)], [])
    monkeypatch.setattr(mixer, "_paste_some", lambda image, box, valid, _: (image, box, valid))
    rng = np.random.default_rng(0)
    crops = [mixer._crop(160, rng, negative=False) for _ in range(40)]
    assert sum(len(crop.valid) for crop in crops) > 10
    assert not any(crop.valid.any() for crop in crops)


@given(st.floats(0.3, 3), st.floats(-180, 180))
def test_moved_boxes_hold_the_moved_ellipse(scale: float, turn: float) -> None:
    angle = np.deg2rad(turn)
    matrix = np.array(
        [[np.cos(angle) * scale, -np.sin(angle) * scale, 5], [np.sin(angle) * scale, np.cos(angle) * scale, -3]],
        np.float32,
    )
    box = np.array([[10, 20, 50, 90]], np.float32)
    around = np.linspace(0, 2 * np.pi, 720)
    ellipse = np.stack([30 + 20 * np.cos(around), 55 + 35 * np.sin(around)], 1) @ matrix[:, :2].T + matrix[:, 2]
    moved = scenes.move_boxes(box, matrix)[0]
    np.testing.assert_allclose(moved, [*ellipse.min(0), *ellipse.max(0)], atol=0.05)


def test_hidden_and_tiny_faces_become_ignore_regions() -> None:
    box = np.array([[-30, 10, 10, 50], [20, 20, 60, 60], [5, 5, 9, 9], [200, 0, 240, 40]], np.float32)
    clipped, valid = scenes.clip_boxes(box, np.ones(4, bool), 100)
    np.testing.assert_array_equal(clipped, [[0, 10, 10, 50], [20, 20, 60, 60], [5, 5, 9, 9]])
    np.testing.assert_array_equal(valid, [False, True, False])


def test_pasted_faces_lie_in_their_boxes() -> None:
    rng = np.random.default_rng(3)
    ring = np.linspace(0, 2 * np.pi, 478)
    points = np.stack([48 + 25 * np.cos(ring), 48 + 30 * np.sin(ring)], 1).astype(np.float32)
    portrait = np.zeros((96, 96, 3), np.uint8)
    cv2.ellipse(portrait, (48, 48), (25, 30), 0, 0, 360, (255, 255, 255), -1)
    face = paste.face_cut(portrait, points, 0.0)
    for scale in (0.2, 0.5, 1.0, 2.0):
        matrix = np.array([[scale, 0, 90], [0, scale, 70]], np.float32)
        image = paste.paste(np.zeros((240, 240, 3), np.uint8), face, matrix, scale, rng)
        box = scenes.move_boxes(face.box_px[None], matrix)[0]
        y, x = np.nonzero(image.max(2) > image.max() * 0.6)
        np.testing.assert_allclose(
            [x.min(), y.min(), x.max() + 1, y.max() + 1], box, atol=max(2.5, 0.08 * (box[2] - box[0]))
        )


def test_a_covered_face_is_gone_and_a_half_covered_one_ignored() -> None:
    box = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    kept, valid = scenes.cover_boxes(box, np.ones(3, bool), np.array([0, 0, 26, 10], np.float32))
    np.testing.assert_array_equal(kept, box[1:])
    np.testing.assert_array_equal(valid, [False, True])


def test_one_scene_in_ten_is_held_out() -> None:
    share = np.mean([scenes.held_out(f"scene_{i}.jpg") for i in range(2000)])
    assert 0.07 < share < 0.13


def _stored(folder: Path) -> Path:
    """Scenes of train, one of which is also in val and another among those held out."""
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (160, 120)) for _ in range(9)]
    held = next(name for name in map(str, range(100)) if scenes.held_out(name))
    named = [(f"t{i}", "train", pictures[i]) for i in range(5)] + [(held, "train", pictures[3])]
    named += [(f"v{i}", "val", pictures[i]) for i in (4, 7, 8)]
    rows = [
        {"image": cv2.imencode(".png", picture)[1].tobytes(), "name": name, "split": split, "negative": True}
        | {"boxes": [], "valid": [], "masked": []}
        for name, split, picture in named
    ]
    types = pa.schema(
        [("image", pa.binary()), ("name", pa.string()), ("split", pa.string()), ("negative", pa.bool_())]
        + [
            ("boxes", pa.list_(pa.list_(pa.float32()))),
            ("valid", pa.list_(pa.bool_())),
            ("masked", pa.list_(pa.bool_())),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, types), folder / "scenes.parquet")
    return folder / "scenes.parquet"


def test_what_val_shows_is_not_trained_on_nor_what_is_held_out(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from vidfer.train.detector import training_scenes

    path = _stored(tmp_path)
    train = scenes.load_scenes(path, "train")
    assert [s.name for s in train[:-1]] == ["t0", "t1", "t2", "t3"]
    assert [s.name for s in scenes.load_scenes(path, "val")] == ["v4", "v7", "v8"]
    kept, aside = training_scenes(train)
    assert ([s.name for s in kept], aside) == (["t0", "t1", "t2"], train[-1:])
    kept, aside = training_scenes(train, lambda name: name == "t1")
    assert (kept, aside) == ([train[0], *train[2:]], train[1:2])


def test_missing_data_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scenes\.parquet is missing"):
        scenes.load_scenes(tmp_path / "scenes.parquet", "train")
