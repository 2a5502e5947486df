"""Average precision on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidfer.train.average_precision import Found, Truth, average_precision, bootstrap_interval, false_faces, match


def _truth(*boxes: tuple[float, ...], valid: list[bool] | None = None) -> Truth:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Truth(box_px=array, valid=np.array(valid if valid is not None else [True] * len(array), bool))


def _found(*rows: tuple[float, ...]) -> Found:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return array[:, :4], array[:, 4]


A, B, TINY = (0, 0, 40, 40), (100, 100, 140, 140), (200, 0, 210, 10)


def test_everything_found_is_one() -> None:
    assert average_precision([_truth(A, B)], [_found((*A, 0.9), (*B, 0.3))]) == 1


def test_a_miss_costs_recall() -> None:
    assert average_precision([_truth(A, B)], [_found((*A, 0.9))]) == 0.5


def test_a_false_face_between_two_right_ones() -> None:
    found = _found((*A, 0.9), (300, 300, 340, 340, 0.8), (*B, 0.7))
    assert average_precision([_truth(A, B)], [found]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_false_face_below_all_right_ones_costs_nothing() -> None:
    assert average_precision([_truth(A)], [_found((*A, 0.9), (*B, 0.1))]) == 1


def test_the_second_box_on_a_face_is_false() -> None:
    found = _found((*A, 0.9), (1, 1, 41, 41, 0.8), (*B, 0.7))
    assert average_precision([_truth(A, B)], [found]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_box_that_is_half_off_is_false() -> None:
    assert average_precision([_truth(A)], [_found((20, 0, 60, 40, 0.9))]) == 0


def test_ignore_regions_and_small_faces_count_neither_way() -> None:
    truth = _truth(A, (60, 60, 160, 160), TINY, valid=[True, False, True])
    found = _found((*A, 0.5), (*B, 0.9), (60, 60, 160, 160, 0.8), (*TINY, 0.95))
    assert average_precision([truth], [found], min_side=20) == 1
    assert match(truth, found, min_side=20)[2] == 1


def test_pictures_without_faces_count_their_false_ones() -> None:
    value = average_precision([_truth(A), _truth()], [_found((*A, 0.5)), _found((*B, 0.9))])
    assert value == pytest.approx(0.5)
    assert false_faces([_found((*B, 0.9)), _found()], 0.5) == 0.5


def test_no_face_at_all_has_no_average_precision() -> None:
    assert np.isnan(average_precision([_truth()], [_found()]))


def test_interval_holds_the_value() -> None:
    matches = [match(_truth(A), _found((*(A if i % 2 else B), 0.9))) for i in range(20)]
    low, high = bootstrap_interval(matches, rounds=200)
    assert 0 < low < 0.5 < high < 1
