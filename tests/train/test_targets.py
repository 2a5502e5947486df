"""What the face network is told about a row: distributions, weights, and whose word counts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vidfer.train.data import FaceRows  # noqa: E402
from vidfer.train.targets import LABELS7, as_people_vote, emotion_targets, fer2013_targets, va_targets  # noqa: E402
from vidfer.types import EMOTIONS  # noqa: E402


def rows(n: int, seed: int = 0, set_name: str = "web") -> FaceRows:
    rng = np.random.default_rng(seed)

    def nothing(width: int) -> np.ndarray:
        return np.full((n, width), np.nan, np.float32)

    return FaceRows(
        images=[np.zeros((4, 4), np.uint8)] * n,
        set_name=np.array([set_name] * n),
        group=np.array([str(i) for i in range(n)]),
        label=np.full(n, -1),
        label7=np.array([""] * n),
        votes=nothing(10),
        valence_arousal=nothing(2),
        mesh_coef=nothing(128),
        mesh_frame=nothing(4),
        points68=nothing(136),
        soft8=rng.dirichlet(np.ones(8), n).astype(np.float32),
        soft7=rng.dirichlet(np.ones(7), n).astype(np.float32),
        soft_va=rng.uniform(-0.5, 0.5, (n, 2)).astype(np.float32),
        soft_id=nothing(128),
    )


@given(st.integers(0, 100), st.sampled_from(["web", "affectnet", "diffusionfer", "ferplus"]))
def test_targets_are_distributions_whatever_is_missing(seed, name):
    rng = np.random.default_rng(seed)
    some = rows(40, seed, name)
    some.label[:] = rng.integers(-1, 8, 40)
    some.votes[:10] = rng.integers(0, 3, (10, 10))
    for column in (some.soft8, some.soft7):
        column[rng.random(40) < 0.2] = np.nan
    target, weight = emotion_targets(some)
    assert target.sum(1) == pytest.approx(1, abs=1e-5)
    assert (target >= 0).all()
    assert ((weight >= 0) & (weight <= 2)).all()


def test_votes_count_alone_and_too_few_count_nothing():
    some = rows(2, set_name="ferplus")
    some.votes[:] = 0
    some.votes[0, [0, 4]] = 7, 3
    some.votes[1, [0, 9]] = 2, 8  # most raters saw no face
    target, weight = emotion_targets(some)
    assert target[0] == pytest.approx(np.array([0.7, 0, 0, 0, 0.3, 0, 0, 0]))
    assert weight.tolist() == [1, 0]


def test_rows_on_which_the_teachers_agree_count_more():
    some = rows(2)
    some.soft8[:] = np.eye(8)[[1, 1]]  # happiness
    some.soft7[:] = np.eye(7)[[1, 0]]  # happiness, neutral
    target, weight = emotion_targets(some)
    assert weight[0] == pytest.approx(1)
    assert weight[1] == pytest.approx(0.3)
    assert target[0, EMOTIONS.index("happiness")] == pytest.approx(1)


def test_faces_that_move_are_labelled_as_people_vote_where_the_teachers_say_the_same():
    rng = np.random.default_rng(3)
    some = rows(600, 1, "ferplus")
    kind = rng.integers(
        0, 3, 600
    )  # the teachers see neutral, surprise or contempt; people call all but surprise neutral
    some.soft8 = (0.7 * np.eye(8)[np.array([0, 3, 7])[kind]] + 0.3 / 8).astype(np.float32)
    some.soft7 = (0.7 * np.eye(7)[np.array([0, 6, 0])[kind]] + 0.3 / 7).astype(np.float32)
    votes = np.array([[10, 0, 0, 0], [1, 0, 0, 9], [9, 0, 0, 1]])[kind]
    some.votes[:400] = 0
    some.votes[:400, :4] = votes[:400]
    some.set_name[400:500], some.set_name[500:] = "video", "web"
    target, _ = emotion_targets(some)
    expected = votes / 10
    assert np.abs(as_people_vote(some)[:, :4] - expected).max() < 0.05
    assert np.abs(target[400:500, :4] - expected[400:500]).max() < 0.05
    assert (target[500:][kind[500:] == 2].argmax(1) == EMOTIONS.index("contempt")).all()  # photographs keep theirs


def test_without_enough_votes_the_teachers_are_taken_at_their_word():
    some = rows(50, set_name="video")
    assert (as_people_vote(some) == some.soft8).all()


def test_labels_of_fer2013_go_to_their_own_classes():
    some = rows(3, set_name="ferplus")
    some.label7 = np.array(["anger", "", "surprise"])
    target, weight = fer2013_targets(some)
    assert [LABELS7[i] for i in target[[0, 2]].argmax(1)] == ["anger", "surprise"]
    assert weight.tolist() == [1, 0, 1]
    assert "contempt" not in LABELS7


def test_valence_and_arousal_keep_the_range_of_human_ratings():
    rng = np.random.default_rng(0)
    wild = rows(400, set_name="affectnet")
    truth = rng.normal(0, 0.4, (400, 2)).clip(-1, 1)
    wild.valence_arousal[:] = truth
    wild.soft_va[:] = 0.3 * truth + rng.normal(0, 0.05, (400, 2))  # ranks well, range too narrow
    wild.valence_arousal[200:] = np.nan
    target, weight = va_targets(wild)
    assert target[:200].std(0) == pytest.approx(truth[:200].std(0), rel=0.05)
    assert target[200:].std(0) == pytest.approx(truth[200:].std(0), rel=0.2)
    assert np.corrcoef(target[200:, 0], truth[200:, 0])[0, 1] > 0.8
    assert weight[:200].min() > weight[200:].max() > 0
