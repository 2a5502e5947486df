"""Figures of `vidfer.train.evaluation` against plain definitions, and their intervals against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vidfer.train import metrics
from vidfer.train.evaluation import affect, emotion, places
from vidfer.train.evaluation.scores import Judged, Score, column_share, differences, figures
from vidfer.types import EMOTIONS

SEVEN = EMOTIONS[:7]


def values(judged):
    return {name: float(score.of(judged.means)) for name, score in judged.scores.items()}


def everyone(n):
    return np.arange(n), np.arange(n)


def judged_emotion(label, logits, known=EMOTIONS):
    task = emotion.emotion_task(label, [known])
    probability = emotion.probabilities(logits[task.rows], known, task.classes)
    return task, probability, emotion.judge_emotion(task, probability, task.rows)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_emotion_scores_are_those_of_their_definitions(seed, n):
    rng = np.random.default_rng(seed)
    label, logits = rng.integers(0, 4, n), rng.normal(size=(n, 8)).astype(np.float32)
    label[:2] = 0, 1
    task, probability, judged = judged_emotion(label, logits)
    guess, truth, found = probability.argmax(1), task.label, values(judged)
    weighted, of_classes = 0.0, []
    for k, name in enumerate(task.classes):
        hit, of_class, guessed = ((guess == k) & (truth == k)).sum(), (truth == k).sum(), (guess == k).sum()
        assert found[f"recall_{name}"] == pytest.approx(hit / of_class)
        assert found[f"precision_{name}"] == pytest.approx(hit / guessed if guessed else np.nan, nan_ok=True)
        assert found[f"f1_{name}"] == pytest.approx(2 * hit / (of_class + guessed))
        weighted += found[f"f1_{name}"] * of_class / n
        of_classes.append(found[f"f1_{name}"])
        assert judged.scores[f"precision_{name}"].n == guessed
    assert found["weighted_f1"] == pytest.approx(weighted)
    # What chooses the best weights and what cards say is the same.
    assert found["accuracy"] == pytest.approx((guess == truth).mean()) == metrics.accuracy(guess, truth)
    assert found["macro_f1"] == pytest.approx(np.mean(of_classes)) == metrics.macro_f1(guess, truth)
    gaps, confidence = 0.0, probability.max(1)
    for low in np.arange(15) / 15:
        there = (confidence >= low) & (confidence < low + 1 / 15)
        gaps += abs((guess == truth)[there].sum() - confidence[there].sum()) / n
    assert found["ece"] == pytest.approx(gaps) == metrics.expected_calibration_error(probability, truth)
    confusion = np.array(judged.facts["confusion"])
    assert confusion.sum() == n
    assert np.trace(confusion) == (guess == truth).sum()


def test_classes_that_only_one_side_knows_are_left_out_and_said():
    label = np.array([0, 1, 2, 7, 7, -1])
    task = emotion.emotion_task(label, [SEVEN])
    assert task.classes == ("neutral", "happiness", "sadness")
    assert task.rows.tolist() == [0, 1, 2]
    assert task.left_out == {"contempt": 2}
    assert task.never_there == ("surprise", "fear", "disgust", "anger")
    # Surprise is the best guess of all, but no row has it.
    logits = np.zeros((6, 7), np.float32)
    logits[:, 3] = 9
    logits[[0, 1, 2], [0, 1, 2]] = 1
    probability = emotion.probabilities(logits[task.rows], SEVEN, task.classes)
    assert values(emotion.judge_emotion(task, probability, task.rows))["accuracy"] == 1
    assert probability.sum(1) == pytest.approx(1)


def test_compared_networks_are_asked_for_what_both_know():
    five = ("anger", "happiness", "neutral", "sadness", "surprise")  # an order of its own
    task = emotion.emotion_task(np.arange(8), [EMOTIONS, five])
    assert task.classes == ("neutral", "happiness", "sadness", "surprise", "anger")
    assert task.left_out == {"fear": 1, "disgust": 1, "contempt": 1}
    logits = np.eye(5, dtype=np.float32)[[2, 1, 3, 4, 0]]
    assert emotion.probabilities(logits, five, task.classes).argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_one_class_is_no_task():
    assert emotion.emotion_task(np.array([3, 3, -1]), [EMOTIONS]) is None
    assert emotion.emotion_task(np.array([3, 4]), [("neutral", "fear")]) is None


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([1e-3, 0.4]))
def test_affect_scores_are_those_of_their_definitions(seed, n, spread):
    rng = np.random.default_rng(seed)
    truth = (0.6 + rng.normal(size=(n, 2)) * spread).clip(-1, 1)
    guess = (truth + rng.normal(size=(n, 2)) * spread).clip(-1, 1)
    truth[0] = 0
    assume((guess.std(0) > 1e-5).all())
    found = values(affect.judge_affect(guess, truth, *everyone(n)))
    for k, name in enumerate(("valence", "arousal")):
        p, t = guess[:, k], truth[:, k]
        ccc = 2 * np.cov(p, t, bias=True)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)
        assert found[f"ccc_{name}"] == pytest.approx(ccc, abs=1e-6) == metrics.ccc(p, t)
        assert found[f"pearson_{name}"] == pytest.approx(np.corrcoef(p, t)[0, 1], abs=1e-6)
        assert found[f"mse_{name}"] == pytest.approx(((p - t) ** 2).mean())
        assert found[f"rmse_{name}"] == pytest.approx(np.sqrt(((p - t) ** 2).mean()))
        assert found[f"mae_{name}"] == pytest.approx(np.abs(p - t).mean())
        sided = t != 0
        assert found[f"sign_{name}"] == pytest.approx(((p > 0) == (t > 0))[sided].mean())
    sided = (truth != 0).all(1)
    assert found["quadrants"] == pytest.approx(((guess > 0) == (truth > 0)).all(1)[sided].mean())


def test_a_quadrant_is_wrong_when_either_side_is():
    truth = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1.0]])
    judged = affect.judge_affect(truth * [1, -1], truth, *everyone(4))
    assert values(judged)["quadrants"] == 0
    assert values(judged)["sign_valence"] == 1
    assert judged.facts["quadrant_confusion"] == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]


def test_truth_that_never_changes_has_no_correlation():
    said, same = np.random.default_rng(0).normal(size=(20, 2)), np.full((20, 2), 0.1)
    for guess, truth in ((said, same), (same, said)):
        found = figures(affect.judge_affect(guess, truth, *everyone(20)), rounds=50)
        assert np.isnan([found["pearson_valence"].value, found["pearson_valence"].low]).all()
        assert found["ccc_valence"].value == 0 == metrics.ccc(guess[:, 0], truth[:, 0])
    # Nothing to agree about.
    assert np.isnan(metrics.ccc(same[:, 0], same[:, 0]))


def square_face(n=3):
    """68 points around (50, 50) whose eye corners are 40 px apart."""
    points = np.full((n, 68, 2), 50, np.float32)
    points[:, 36], points[:, 45] = (30, 40), (70, 40)
    return points


def test_points_that_are_all_off_by_the_same():
    truth = square_face()
    off = np.array([0.0, 2.4, 4.8], np.float32)
    guess = truth + off[:, None, None] * np.array([0.6, 0.8], np.float32)  # a step of that length
    judged = places.judge_points(guess, truth, np.full(3, 192, np.float32), *everyone(3))
    found = values(judged)
    assert found["nme"] == pytest.approx((0 + 0.06 + 0.12) / 3, rel=1e-4)
    assert found["failures_above_0.10"] == pytest.approx(1 / 3)
    assert found["failures_above_0.08"] == pytest.approx(1 / 3)
    assert found["ced_area_to_0.10"] == pytest.approx((1 + 0.4 + 0) / 3, rel=1e-3)
    # In a picture of 96 px everything is half as large.
    steps = off[:, None] * np.array([0.6, 0.8]) / 2
    assert found["rmse_px"] == pytest.approx(np.sqrt((steps**2).mean()), rel=1e-4)
    assert found["mae_px"] == pytest.approx(steps.mean(), rel=1e-4)
    assert judged.facts["eye_distance"] == "outer eye corners"


def test_the_area_of_a_curve_of_errors_is_that_under_the_curve():
    rng = np.random.default_rng(1)
    truth = square_face(400)
    guess = truth + rng.exponential(3, (400, 1, 1)).astype(np.float32)
    judged = places.judge_points(guess, truth, np.full(400, 96, np.float32), *everyone(400))
    curve = judged.facts["ced"]
    assert np.trapezoid(curve["share"], curve["error"]) / 0.1 == pytest.approx(
        values(judged)["ced_area_to_0.10"], abs=0.01
    )
    assert curve["share"] == sorted(curve["share"])
    assert curve["share"][-1] == pytest.approx(1 - values(judged)["failures_above_0.10"], abs=1e-3)


def test_missing_points_are_left_out_and_faces_without_eyes_counted():
    truth = np.zeros((4, 15, 2), np.float32)
    truth[:, 0] = 10, 0
    guess = truth + np.array([1, 0], np.float32)
    truth[0, 5:] = np.nan  # ten of fifteen are not there
    guess[0, 5:] = 1000
    truth[1, 0] = np.nan  # nor is an eye
    truth[2, 0] = 0  # both eyes in one place
    judged = places.judge_points(guess, truth, np.full(4, 96, np.float32), *everyone(4))
    assert judged.rows.tolist() == [0, 3]
    assert judged.facts["without_eyes"] == 2
    assert values(judged)["nme"] == pytest.approx(0.1)
    assert values(judged)["rmse_px"] == pytest.approx(np.sqrt(0.5))
    assert judged.facts["eye_distance"] == "eye centres"
    assert places.judge_points(guess[1:3], truth[1:3], np.ones(2, np.float32), *everyone(2)) is None


def test_boxes_by_hand():
    truth = np.array([[0, 0, 10, 10]] * 4, np.float32)
    guess = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    found = values(places.judge_boxes(guess, truth, *everyone(4)))
    assert found["iou"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert found["iou_from_0.50"] == pytest.approx(0.5)
    assert found["iou_from_0.75"] == pytest.approx(0.25)


def of_mean(column, groups, *, is_share=False):
    score = Score(of=column_share(0), n=len(column), higher=True, is_share=is_share)
    rows = np.arange(len(column))
    return Judged(
        rows=rows,
        groups=groups,
        columns=np.asarray(column, float)[:, None],
        scores={"x": score},
        badness=np.asarray(column),
        facts={},
    )


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 80))
def test_intervals_hold_the_value(seed, n):
    rng = np.random.default_rng(seed)
    label, logits = rng.integers(0, 8, n), rng.normal(size=(n, 8)).astype(np.float32)
    label[:3] = 0, 0, 1
    _, _, judged = judged_emotion(label, logits)
    found = figures(judged, rounds=200)
    for name in ("accuracy", "recall_neutral", *(["weighted_f1"] if found["weighted_f1"].value else [])):
        assert found[name].low <= found[name].value <= found[name].high, (name, found[name])
        assert found[name].high <= 1
    assert found["accuracy"].low < found["accuracy"].high


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    column = np.random.default_rng(0).normal(size=2000)
    found = figures(of_mean(column, np.arange(2000)))["x"]
    expected = 2 * 1.96 * column.std() / np.sqrt(2000)
    assert found.high - found.low == pytest.approx(expected, rel=0.1)


def test_pictures_of_one_person_count_as_one():
    """Ten copies of every row tell no more than one: rows as groups would narrow the interval by the root of ten."""
    column = np.random.default_rng(0).normal(size=300)
    one = figures(of_mean(column, np.arange(300)))["x"]
    copied = figures(of_mean(np.repeat(column, 10), np.repeat(np.arange(300), 10)))["x"]
    assert copied.high - copied.low == pytest.approx(one.high - one.low, rel=0.01)
    assert (one.n, copied.n) == (300, 3000)
    alone = figures(of_mean(column, np.zeros(300, int)))["x"]
    assert np.isnan(alone.low)
    assert np.isnan(alone.high)


@pytest.mark.parametrize(("column", "low", "high"), [(np.ones(20), 0.8389, 1), (np.zeros(20), 0, 0.1611)])
def test_all_of_few_rows_is_not_certainty(column, low, high):
    found = figures(of_mean(column, np.arange(20), is_share=True))["x"]
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def of_fear(right, persons):
    """Fear of some persons, found or not, among 40 rows of neutral of one person each."""
    label = np.r_[np.zeros(40, int), np.full(len(right), EMOTIONS.index("fear"))]
    logits = np.zeros((len(label), 8), np.float32)
    logits[np.arange(len(label)), np.where(np.r_[np.ones(40, bool), right], label, 0)] = 3
    task = emotion.emotion_task(label, [EMOTIONS])
    groups = np.r_[np.arange(40), 40 + np.asarray(persons)]
    return emotion.judge_emotion(task, emotion.probabilities(logits, EMOTIONS, task.classes), groups)


def test_what_one_person_shows_of_a_class_is_no_certainty():
    """Resamples with or without that person are all the same: a half of the rows, or all of them, of one."""
    half, all_of_them = of_fear([True, False] * 10, [0] * 20), of_fear([True] * 20, [0] * 20)
    for judged in (half, all_of_them):
        found = figures(judged, rounds=100)["recall_fear"]
        assert np.isnan([found.low, found.high]).all()
    assert np.isnan(differences(half, all_of_them, rounds=100)["recall_fear"].low)
    two = figures(of_fear([True] * 20, [0] * 10 + [1] * 10), rounds=100)["recall_fear"]
    assert (two.low, two.high) == (metrics.share(2, 2).low, metrics.share(2, 2).high)  # two persons, not 20 rows


def test_a_class_that_is_never_found_has_an_f1_of_0_without_an_interval():
    found = figures(of_fear([False] * 20, range(20)), rounds=100)
    assert found["recall_fear"].high == pytest.approx(metrics.share(0, 20).high)
    assert found["f1_fear"].value == 0
    assert np.isnan(found["f1_fear"].high)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_interval_of_the_calibration_error_holds_it(seed):
    """Resamples repeat rows and look worse calibrated: without a mend most of these intervals lie above the value."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(150, 3)).astype(np.float32)
    raised = np.exp(logits)
    shares = raised / raised.sum(1, keepdims=True)
    label = (rng.random((150, 1)) > shares.cumsum(1)).sum(1).clip(0, 2)  # honest about how sure it is
    _, _, judged = judged_emotion(label, logits, EMOTIONS[:3])
    found = figures(judged, rounds=200)["ece"]
    assert 0 <= found.low <= found.value <= found.high


def test_differences_are_those_of_pairs():
    """Two networks that err on the same hard rows differ surely, though each of them alone is uncertain."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=400)
    one, other = of_mean(hard, np.arange(400)), of_mean(hard + 0.05 + 0.01 * rng.normal(size=400), np.arange(400))
    found = differences(one, other)["x"]
    assert found.value == pytest.approx(0.05, abs=0.003)
    assert 0.045 < found.low < found.value < found.high < 0.055
    alone = figures(one)["x"]
    assert alone.high - alone.low > 0.15
    nothing = differences(one, one)["x"]
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="different rows"):
        differences(one, of_mean(hard[:10], np.arange(10)))
