"""Pictures that are there twice are found, others are not."""

from __future__ import annotations

import cv2
import numpy as np

from vidfer.train.copies import copied, first_of_its_kind, shared


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (8, 8), dtype=np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)


def test_copies_are_found_in_another_size_quality_and_colour():
    train, val = [picture(i) for i in range(6)], [picture(100 + i) for i in range(3)]
    _, worse = cv2.imencode(".jpg", picture(1), [cv2.IMWRITE_JPEG_QUALITY, 60])
    val += [cv2.imdecode(worse, cv2.IMREAD_GRAYSCALE), cv2.resize(picture(4), (96, 96))]
    val += [np.repeat(np.clip(picture(5).astype(int) // 2 + 40, 0, 255).astype(np.uint8)[..., None], 3, 2)]
    assert copied(train, val).tolist() == [False, True, False, False, True, True]
    assert not copied(train, []).any()


def test_pictures_of_one_colour_are_no_copies_of_anything():
    assert not copied([np.full((48, 48), 7, np.uint8)], [np.full((48, 48), 7, np.uint8), picture(0)]).any()


def photograph(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (240, 180), interpolation=cv2.INTER_CUBIC)


def test_a_photograph_is_found_cut_in_another_way_and_mirrored():
    train, val = [photograph(i) for i in range(6)], [photograph(100 + i) for i in range(3)]
    val.append(train[1][:, ::-1])
    val.append(train[2][27:, :204])  # what the one shows is a part of the other
    train[4] = photograph(102)[:, 36:][:, ::-1]
    assert shared(train, val).tolist() == [False, True, True, False, True, False]
    assert shared(val, train).tolist() == [False, False, True, True, True]
    assert not shared(train, []).any()
    assert shared([], train).shape == (0,)


def test_the_same_file_is_the_same_picture():
    assert first_of_its_kind([b"a", b"b", b"a", b"c", b"b"]).tolist() == [0, 1, 0, 3, 1]
