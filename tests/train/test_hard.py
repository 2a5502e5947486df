"""Hard negatives: which finds of a detector count, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidfer.train import hard, mosaic, paste, scenes


def scene(box: list[list[float]], *, negative: bool = False) -> scenes.Scene:
    image = np.random.default_rng(0).integers(0, 80, (180, 240, 3), np.uint8)
    array = np.array(box, np.float32).reshape(-1, 4)
    valid = np.array([True, False][: len(array)], bool)
    return scenes.Scene(name="s", image=image, box_px=array, valid=valid, masked=valid & False, negative=negative)


PEOPLED = scene([[30, 40, 70, 90], [150, 60, 190, 110]])
EMPTY = scene([], negative=True)


def finder(boxes: list[list[float]], scores: list[float]) -> hard.Finder:
    return lambda image: (np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def test_what_touches_no_label_is_a_hard_place() -> None:
    finds = [[32, 42, 71, 91], [150, 55, 185, 105], [100, 10, 130, 45], [60, 80, 100, 130], [200, 120, 210, 130]]
    places = hard.hard_places(finder(finds, [0.9, 0.8, 0.7, 0.2, 0.6]), [PEOPLED])
    # Not the face, not the ignore region, not the low score, and not the tiny one, which may be a face without a label.
    np.testing.assert_array_equal([p.box_px for p in places], [finds[2]])


def test_pictures_without_faces_are_searched_at_half_size_too() -> None:
    places = hard.hard_places(finder([[10, 10, 30, 30]], [0.5]), [PEOPLED, EMPTY])
    of_empty = [p.box_px.tolist() for p in places if p.scene == 1]
    assert of_empty == [[10, 10, 30, 30], [20, 20, 60, 60]]


def test_no_scene_gives_more_than_its_share() -> None:
    boxes = [[float(x), 0, float(x) + 15, 15] for x in range(0, 200, 10)]
    places = hard.hard_places(finder(boxes, np.linspace(0.3, 0.9, len(boxes)).tolist()), [scene([[0, 100, 60, 170]])])
    assert len(places) == hard._MOST_A_SCENE
    assert places[0].box_px[0] == boxes[-1][0]
    assert hard.hard_places(finder([], []), [PEOPLED, EMPTY]) == []


@pytest.mark.parametrize("count", [0, 3])
def test_places_are_kept_in_a_file(count: int, tmp_path: Path) -> None:
    boxes = np.random.default_rng(count).uniform(0, 100, (count, 4)).astype(np.float32)
    hard.write_places(tmp_path / hard.HARD, [hard.Place(scene=i, box_px=box) for i, box in enumerate(boxes)])
    found = hard.read_places(tmp_path / hard.HARD)
    assert [place.scene for place in found] == list(range(count))
    assert all((place.box_px == box).all() for place, box in zip(found, boxes, strict=True))


@pytest.mark.parametrize("side", [12, 40, 130])
def test_a_patch_holds_its_place(side: int) -> None:
    image = np.zeros((180, 240, 3), np.uint8)
    image[60:100, 90:130] = 250
    place = hard.Place(scene=0, box_px=np.array([90, 60, 130, 100], np.float32))
    patch = hard.cut_patch(image, place, side, np.random.default_rng(side))
    assert patch.shape == (side, side, 3)
    assert patch[side // 2, side // 2].min() > 200
    assert 0.2 < (patch[..., 0] > 125).mean() < 0.8


@pytest.mark.parametrize("calm", [False, True])
def test_hard_places_get_into_the_training_pictures(calm: bool) -> None:
    image = EMPTY.image.copy()
    image[100:120, 100:120] = (255, 0, 0)  # what only the hard place shows
    marked = scenes.Scene(
        name="m", image=image, box_px=EMPTY.box_px, valid=EMPTY.valid, masked=EMPTY.masked, negative=True
    )
    place = hard.Place(scene=1, box_px=np.array([100, 100, 120, 120], np.float32))

    def red(places: list[hard.Place]) -> float:
        mixer = mosaic.SceneMixer([PEOPLED, marked, *[EMPTY] * 8], [_face()], places)
        rng = np.random.default_rng(0)
        crops = [mixer._crop(128, rng, negative=True, calm=calm).image.astype(int) for _ in range(60)]
        return float(np.mean([((c[..., 0] > 150) & (c[..., 1] < 60)).any() for c in crops]))

    assert red([place]) > 0.45 > 0.25 > red([])


def _face() -> paste.FaceCut:
    points = np.random.default_rng(0).uniform(20, 70, (478, 2)).astype(np.float32)
    return paste.face_cut(np.full((96, 96, 3), 20, np.uint8), points, 0.1)
