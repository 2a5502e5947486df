"""Labels move with the pixels: drawn dots are found again where the labels say that they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="AUGMENTATION IS NOT TESTED: no torch")

from vidfer.train import augment, points
from vidfer.train.multitask import augmentation
from vidfer.train.multitask.augmentation import Source, augmented, flip, mix
from vidfer.train.multitask.crops import crop_boxes, moved_boxes
from vidfer.train.multitask.options import Augment, DataOptions
from vidfer.train.multitask.rows import Rows
from vidfer.vision.geometry import crop_transform

STILL = Augment(**dict.fromkeys(
    ("flip", "jitter", "offset", "scale", "rotation", "colour", "grey", "blur", "low_resolution", "jpeg", "erase"), 0.0
))  # fmt: skip
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]], np.uint8)
SIDE, PX = 64, 96
BOX = np.array([20.0, 24.0, 76.0, 80.0], np.float32)


def dotted(seed=0):
    """A grey picture with a coloured square of 5 px around each of five points."""
    rng = np.random.default_rng(seed)
    places = np.array([[34, 40], [62, 38], [48, 52], [38, 68], [60, 66]], np.float32) + rng.integers(-4, 5, (5, 2))
    picture = np.full((PX, PX, 3), 90, np.uint8)
    for (x, y), colour in zip(places.astype(int), COLOURS, strict=True):
        picture[y - 2 : y + 3, x - 2 : x + 3] = colour
    return picture, places


def source(pictures, places, box=BOX, data=None, **labels):
    n = len(pictures)
    known = {
        "emotion": np.zeros((n, 0), np.float32),
        "valence_arousal": np.full((n, 2), np.nan, np.float32),
        "teacher": np.zeros((n, 0), np.float32),
        "teacher_va": np.full((n, 2), np.nan, np.float32),
        "box_px": np.tile(box, (n, 1)).astype(np.float32),
        **labels,
    }
    rows = Rows(
        picture=np.arange(n),
        size_px=np.full((n, 2), PX),
        set_name=np.array(["a"] * n),
        group=np.array([str(k) for k in range(n)]),
        points=np.asarray(places, np.float32),
        **known,
    )
    return Source(rows=rows, pictures=pictures, data=data or DataOptions(), side=SIDE)


def found_dots(image):
    """Middle of what is nearest to each colour, weighted by how much of the colour is there."""
    places = []
    for colour in COLOURS.astype(np.float32):
        direction = colour / 255 - 90 / 255
        weight = ((image.astype(np.float32) / 255 - 90 / 255) @ direction) / (direction @ direction)
        weight = np.where(weight > 0.6, weight, 0)
        y, x = np.mgrid[: len(image), : len(image)]
        places.append([(x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()])
    return np.array(places)


def only(**changes):
    return Augment(**{**{name: getattr(STILL, name) for name in STILL.__slots__}, **changes})


@settings(max_examples=25)
@given(
    st.integers(0, 10_000),
    st.sampled_from(
        [
            {},
            {"flip": 1.0},
            {"offset": 0.05},
            {"scale": 0.15},
            {"rotation": 40.0},
            {"jitter": 0.08},
            {"shear": 0.3},
            {"flip": 0.5, "offset": 0.04, "scale": 0.1, "rotation": 30.0, "jitter": 0.05, "shear": 0.1},
        ]
    ),
)
def test_points_move_as_pixels_do(seed, changes):
    picture, places = dotted(seed)
    batch = augmented(source([picture], [places]), np.array([0]), only(**changes), np.random.default_rng(seed))
    expected = batch["landmarks"][0]
    mirrored = changes.get("flip") and np.linalg.norm(found_dots(batch["image"][0])[0] - expected[0]) > 8
    if mirrored:  # the dot of a left point is at its partner's label now
        expected = expected[points.mirror(5)]
    inside = ((expected > 4) & (expected < SIDE - 5)).all(1)
    assert np.abs(found_dots(batch["image"][0]) - expected)[inside].max() < 0.75


def test_a_mirrored_crop_says_left_of_what_is_left():
    picture, places = dotted()
    plain = augmented(source([picture], [places]), np.array([0]), STILL, np.random.default_rng(0))
    turned = augmented(source([picture], [places]), np.array([0]), only(flip=1.0), np.random.default_rng(0))
    assert (turned["image"][0] == plain["image"][0][:, ::-1]).all()
    assert turned["landmarks"][0, 0, 0] < turned["landmarks"][0, 1, 0]  # the left eye
    assert turned["landmarks"][0, 3, 0] < turned["landmarks"][0, 4, 0]  # the left corner of the mouth
    assert turned["landmarks"][0, 0] == pytest.approx(plain["landmarks"][0, 1] * (-1, 1) + (SIDE - 1, 0))


def test_the_box_of_what_is_in_the_middle_of_its_crop_is_there_mirrored_or_not():
    picture, places = dotted()
    plain = augmented(source([picture], [places]), np.array([0]), STILL, np.random.default_rng(0))
    turned = augmented(source([picture], [places]), np.array([0]), only(flip=1.0), np.random.default_rng(0))
    assert turned["box"] == pytest.approx(plain["box"], abs=1e-4)
    assert plain["box"][0].reshape(2, 2).mean(0) == pytest.approx((SIDE - 1) / 2, abs=1e-4)


@pytest.mark.parametrize("count", [4, 5, 15, 68, 478])
def test_a_crop_flipped_twice_is_itself(count):
    rng = np.random.default_rng(0)
    depth = 3 if count == 478 else 2
    batch = {
        "image": rng.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8),
        "landmarks": rng.uniform(0, SIDE, (3, count, depth)).astype(np.float32),
        "box": np.sort(rng.uniform(0, SIDE, (3, 2, 2)), 1).reshape(3, 4).astype(np.float32),
    }
    before = {name: values.copy() for name, values in batch.items()}
    rows = np.array([True, False, True])
    flip(batch, rows)
    assert (batch["image"][1] == before["image"][1]).all()
    assert (batch["box"][:, 2:] >= batch["box"][:, :2]).all()
    assert not np.allclose(batch["landmarks"][0], before["landmarks"][0])
    flip(batch, rows)
    for name, values in before.items():
        assert batch[name] == pytest.approx(values, abs=1e-3), name


def test_the_depth_of_points_grows_with_the_crop():
    picture, _ = dotted()
    mesh = np.random.default_rng(0).uniform(20, 70, (1, 478, 3))
    batch = augmented(source([picture], mesh), np.array([0]), STILL, np.random.default_rng(0))
    scale = SIDE / (56 * 1.2)
    assert batch["landmarks"][0, :, 2] == pytest.approx(mesh[0, :, 2] * scale, rel=1e-5)


def test_boxes_of_upright_crops_move_with_the_picture_and_turned_ones_keep_their_area():
    box = np.array([[20.0, 20, 60, 60]], np.float32)
    upright = crop_transform(np.array([[10.0, 10, 90, 90]], np.float32), 0.0, 48)
    assert moved_boxes(upright, box)[0] == pytest.approx((box[0] - 50) * 0.5 + 23.5, abs=1e-4)
    turned = crop_transform(np.array([[10.0, 10, 90, 90]], np.float32), 30.0, 48)
    width, height = moved_boxes(turned, box)[0, 2:] - moved_boxes(turned, box)[0, :2]
    assert (width, height) == pytest.approx((20, 20), rel=1e-4)  # a round face is as large in any turn


def test_crops_are_around_the_box_or_of_the_whole_picture():
    box = np.array([[10.0, 20, 40, 80], [np.nan] * 4], np.float32)
    size = np.array([[100, 200], [100, 200]])
    cut = crop_boxes(box, size, DataOptions(margin=2.4))
    assert cut[0] == pytest.approx([-5, -10, 55, 110])  # twice as far as run time cuts
    assert (cut[1, 3] - cut[1, 1]) * 1.2 == pytest.approx(200)
    whole = crop_boxes(box, size, DataOptions(crop="none"))
    assert (whole[0] == whole[1]).all()


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_a_batch_is_a_function_of_its_seed(seed):
    pictures, places = zip(*(dotted(k) for k in range(3)), strict=True)
    made = [
        augmented(source(pictures, places), np.array([2, 0, 1, 1]), Augment(clahe=0.5), np.random.default_rng(seed))
        for _ in range(2)
    ]
    for name, values in made[0].items():
        assert np.array_equal(values, made[1][name], equal_nan=True), name
    assert made[0]["image"].dtype == np.uint8
    assert (pictures[0] == dotted(0)[0]).all()  # the pictures stay as they are


@pytest.mark.parametrize("change", ["clahe", "colour", "grey", "blur", "low_resolution", "jpeg", "erase"])
def test_every_change_of_the_pixels_does_something_and_moves_nothing(change):
    picture, places = dotted()
    rng = np.random.default_rng(0)
    picture = np.clip(picture.astype(int) + rng.integers(-40, 41, picture.shape), 0, 255).astype(np.uint8)
    plain = augmented(source([picture], [places]), np.array([0]), STILL, np.random.default_rng(1))
    changed = augmented(source([picture], [places]), np.array([0]), only(**{change: 1.0}), np.random.default_rng(1))
    assert (plain["image"] != changed["image"]).any()
    assert (plain["landmarks"] == changed["landmarks"]).all()


def test_crops_that_are_enlarged_lose_no_more_detail():
    picture, places = dotted()
    small = source([picture], [places], box=np.array([30.0, 30, 50, 50]))
    plain = augmented(small, np.array([0]), STILL, np.random.default_rng(1))
    same = augmented(small, np.array([0]), only(blur=1, low_resolution=1, jpeg=1), np.random.default_rng(1))
    assert (plain["image"] == same["image"]).all()


def test_equalised_contrast_is_higher():
    image = np.tile(np.linspace(100, 130, SIDE).astype(np.uint8)[:, None, None], (1, SIDE, 3))
    assert np.std(augment.equalise(image, np.random.default_rng(0))) > np.std(image)


# Mixing: a batch of 8 rows, of which the last three lack the emotion.
def affect_batch():
    n = 8
    emotion = np.eye(n, dtype=np.float32)
    emotion[5:] = np.nan
    return {
        "image": np.stack([np.full((SIDE, SIDE, 3), 30 * k, np.uint8) for k in range(n)]),
        "emotion": emotion,
        "valence_arousal": np.stack([np.linspace(-1, 1, n)] * 2, 1).astype(np.float32),
        "landmarks": np.ones((n, 5, 2), np.float32),
        "box": np.ones((n, 4), np.float32),
        "teacher": np.zeros((n, 0), np.float32),
        "teacher_va": np.full((n, 2), np.nan, np.float32),
    }


@given(st.integers(0, 1000), st.sampled_from(["mixup", "cutmix"]))
@settings(max_examples=40)
def test_mixtures_have_the_labels_of_both_in_the_shares_of_the_pixels(seed, kind):
    before, batch = affect_batch(), affect_batch()
    mix(batch, only(**{kind: 0.7, f"{kind}_alpha": 1.0}), np.random.default_rng(seed))
    mixed = np.isnan(batch["box"]).all(1)
    assert np.isnan(batch["landmarks"][mixed]).all()
    for name, values in batch.items():
        assert np.array_equal(values[~mixed], before[name][~mixed], equal_nan=True), name
    assert np.isnan(batch["emotion"][5:]).all()  # nothing becomes known by mixing
    assert not np.isnan(batch["emotion"][:5]).any()
    assert batch["emotion"][:5].sum(1) == pytest.approx(np.ones(5), abs=1e-5)
    for k in np.flatnonzero(mixed[:5]):
        # Each picture is one grey: the mean of the pixels is the mixture of the greys of the labels.
        grey = (batch["emotion"][k] * 30 * np.arange(8)).sum()
        assert batch["image"][k].mean() == pytest.approx(grey, abs=0.6)
        valence = (batch["emotion"][k] * before["valence_arousal"][:, 0]).sum()
        assert batch["valence_arousal"][k, 0] == pytest.approx(valence, abs=1e-5)


def test_the_share_of_mixed_rows_is_what_the_recipe_says():
    rng = np.random.default_rng(0)
    mixed = []
    for _ in range(200):
        batch = affect_batch()
        mix(batch, only(mixup=0.3, cutmix=0.2), rng)
        mixed.append(np.isnan(batch["box"]).all(1).mean())
    assert np.mean(mixed) == pytest.approx(0.5, abs=0.04)


def test_a_row_alone_with_its_kinds_of_labels_is_not_mixed():
    batch = affect_batch()
    batch["emotion"][:7], batch["valence_arousal"][:7] = np.nan, np.nan
    before = batch["image"].copy()
    mix(batch, only(mixup=1.0), np.random.default_rng(0))
    assert (batch["image"] == before).all()
    assert augmentation._partners(batch, np.random.default_rng(0)).tolist() == [-1] * 8
