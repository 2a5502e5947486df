"""Losses of recipes: values worked out by hand or by torch, and that missing labels are as if they were not there."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="LOSSES OF RECIPES ARE NOT TESTED: no torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from vidfer.train import metrics  # noqa: E402
from vidfer.train.multitask import losses  # noqa: E402
from vidfer.train.multitask.options import (  # noqa: E402
    BoxLoss,
    DistillationLoss,
    EmotionLoss,
    LandmarksLoss,
    Losses,
    ValenceArousalLoss,
)

SIDE, CLASSES, POINTS = 32, 5, 4
NAN = float("nan")


def one_hot(labels):
    return F.one_hot(torch.tensor(labels), CLASSES).float()


def logits(n, seed=0):
    return torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(seed)) * 2


def test_cross_entropy_of_one_class_is_torchs():
    found, labels = logits(6), [0, 1, 4, 2, 2, 3]
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    for smoothing in (0.0, 0.1):
        got = losses.emotion_loss(found, one_hot(labels), EmotionLoss(label_smoothing=smoothing), weights)
        wanted = F.cross_entropy(found, torch.tensor(labels), weight=weights, label_smoothing=smoothing)
        assert float(got) == pytest.approx(float(wanted), rel=1e-5)


def test_cross_entropy_of_votes_is_lowest_at_the_votes():
    votes = torch.tensor([[0.5, 0.3, 0.2, 0.0, 0.0]])
    at_votes = losses.emotion_loss((votes + 1e-9).log(), votes, EmotionLoss())
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))
    assert float(at_votes) == pytest.approx(entropy, abs=1e-4)
    assert float(losses.emotion_loss(torch.zeros(1, CLASSES), votes, EmotionLoss())) > entropy


def test_focal_loss_is_that_of_the_paper():
    found = torch.tensor([[2.0, 0.0, 0.0, 0.0, 0.0]])
    p = math.exp(2) / (math.exp(2) + 4)
    got = losses.emotion_loss(found, one_hot([0]), EmotionLoss(kind="focal", focal_gamma=2))
    assert float(got) == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-4)
    plain = losses.emotion_loss(found, one_hot([0]), EmotionLoss(kind="focal", focal_gamma=0))
    assert float(plain) == pytest.approx(-math.log(p), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_sure_network_can_be_derived(gamma):
    found = torch.tensor([[80.0, 0.0, 0.0, 0.0, 0.0], [0.0, 80.0, 0.0, 0.0, 0.0]], requires_grad=True)
    losses.emotion_loss(found, one_hot([0, 0]), EmotionLoss(kind="focal", focal_gamma=gamma)).backward()
    assert torch.isfinite(found.grad).all()


def test_balanced_weights_let_every_class_count_the_same():
    target = one_hot([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    target = torch.cat([target, torch.full((2, CLASSES), NAN)])
    weights = losses.balanced_weights(target)
    sums = torch.nan_to_num(target).sum(0) * weights
    assert sums[:3].tolist() == pytest.approx([10 / 3] * 3)
    assert weights[3:].tolist() == [1, 1]  # never there: any weight does


@pytest.mark.parametrize(
    ("kind", "error", "value"),
    [
        ("mse", 0.5, 0.25),
        ("smooth_l1", 0.05, 0.5 * 0.05**2 / 0.1),
        ("smooth_l1", 0.5, 0.5 - 0.05),
        ("huber", 0.05, 0.5 * 0.05**2),
        ("huber", 0.5, 0.1 * (0.5 - 0.05)),
    ],
)
def test_distances_of_values_and_boxes(kind, error, value):
    target = torch.zeros(3, 2)
    options = ValenceArousalLoss(kind=kind, threshold=0.1)
    assert float(losses.va_losses(target + error, target, options)["valence_arousal"]) == pytest.approx(value)
    box = torch.zeros(3, 4)
    assert float(losses.box_loss(box - error, box, BoxLoss(kind=kind, threshold=0.1))) == pytest.approx(value)


@pytest.mark.parametrize(
    ("error", "value"),
    [
        (0.0, 0.0),
        (0.02, 0.04 * math.log(1 + 0.02 / 0.008)),
        (0.1, 0.1 - (0.04 - 0.04 * math.log(1 + 0.04 / 0.008))),
    ],
)
def test_wing_loss_is_that_of_the_paper(error, value):
    target = torch.zeros(2, POINTS, 2)
    assert float(losses.landmarks_loss(target - error, target, LandmarksLoss(kind="wing"))) == pytest.approx(value)


def test_wing_loss_is_whole_where_its_parts_meet():
    target = torch.zeros(1, 1, 2)
    below, above = (
        float(losses.landmarks_loss(target + 0.04 + shift, target, LandmarksLoss(kind="wing")))
        for shift in (-1e-5, 1e-5)
    )
    assert above - below == pytest.approx(2e-5, abs=1.5e-5)


def test_ccc_and_mse_are_the_figures():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (40, 2)).astype(np.float32)
    found = (truth * 0.7 + rng.normal(0, 0.2, truth.shape)).astype(np.float32)
    got = losses.va_losses(torch.from_numpy(found), torch.from_numpy(truth), ValenceArousalLoss(kind="ccc_mse"))
    ccc = np.mean([metrics.ccc(found[:, i], truth[:, i]) for i in range(2)])
    assert float(got["va_ccc"]) == pytest.approx(1 - ccc, abs=1e-4)
    assert float(got["va_mse"]) == pytest.approx(float(((found - truth) ** 2).mean()), rel=1e-4)


def test_one_row_has_no_concordance():
    got = losses.va_losses(torch.ones(1, 2), torch.zeros(1, 2), ValenceArousalLoss(kind="ccc_mse"))
    assert float(got["va_ccc"]) == 0
    assert float(got["va_mse"]) == 1


def test_distillation_is_hintons():
    teacher_logits, student = logits(4, 1), logits(4, 2)
    for temperature in (1.0, 3.0):
        options = DistillationLoss(weight=1, temperature=temperature)
        soft = F.softmax(teacher_logits / temperature, 1)
        wanted = temperature**2 * F.kl_div(F.log_softmax(student / temperature, 1), soft, reduction="batchmean")
        got = losses.distillation_loss(student, F.softmax(teacher_logits, 1), options)
        assert float(got) == pytest.approx(float(wanted), rel=1e-4)
        same = losses.distillation_loss(teacher_logits, F.softmax(teacher_logits, 1), options)
        assert float(same) == pytest.approx(0, abs=1e-5)


# All kinds of losses at once, on batches that lack labels at random.
ALL = {
    "emotion": [EmotionLoss(), EmotionLoss(kind="focal", label_smoothing=0.1)],
    "valence_arousal": [ValenceArousalLoss(kind=kind) for kind in ("mse", "smooth_l1", "huber", "ccc_mse")],
    "landmarks": [LandmarksLoss(kind=kind) for kind in ("mse", "smooth_l1", "huber", "wing")],
    "box": [BoxLoss(kind=kind) for kind in ("mse", "smooth_l1", "huber")],
}


@st.composite
def options(draw):
    chosen = {name: draw(st.sampled_from(kinds)) for name, kinds in ALL.items()}
    teacher = DistillationLoss(weight=0.7, valence_arousal_weight=0.3, temperature=draw(st.sampled_from([1.0, 4.0])))
    return Losses(**chosen, distillation=teacher)


def example(n, seed):
    """What a network says, with a gradient, and a batch in which everything is known."""
    generator = torch.Generator().manual_seed(seed)

    def values(*shape, scale=1.0):
        return torch.randn(n, *shape, generator=generator) * scale

    found = {
        "emotion": values(CLASSES),
        "valence_arousal": torch.tanh(values(2)),
        "landmarks4": values(POINTS, 2, scale=4) + SIDE / 2,
        "box": values(4, scale=4) + SIDE / 2,
    }
    batch = {
        "image": torch.zeros(n, SIDE, SIDE, 3, dtype=torch.uint8),
        "emotion": F.softmax(values(CLASSES), 1),
        "valence_arousal": torch.tanh(values(2)),
        "landmarks4": values(POINTS, 2, scale=4) + SIDE / 2,
        "box": values(4, scale=4) + SIDE / 2,
        "teacher": F.softmax(values(CLASSES), 1),
        "teacher_va": torch.tanh(values(2)),
    }
    return {name: value.requires_grad_() for name, value in found.items()}, batch


LABELS = ("emotion", "valence_arousal", "landmarks4", "box", "teacher", "teacher_va")
missing_rows = st.fixed_dictionaries({name: st.sets(st.integers(0, 5), max_size=6) for name in LABELS})


@settings(max_examples=15)
@given(options(), missing_rows, st.integers(0, 1000))
def test_a_missing_label_never_changes_the_loss_of_the_others(chosen, missing, seed):
    found, batch = example(6, seed)
    for name, rows in missing.items():
        batch[name][sorted(rows)] = NAN
    got = losses.multitask_losses(found, batch, chosen)
    # The reference has, for each kind of label, only the rows that have it.
    for name in LABELS:
        kept = [k for k in range(6) if k not in missing[name]]
        fewer = {key: value[kept] for key, value in batch.items()}
        alone = losses.multitask_losses({key: value[kept] for key, value in found.items()}, fewer, chosen)
        parts = {"valence_arousal": ("valence_arousal", "va_ccc", "va_mse")}.get(name, (name,))
        for part in parts:
            if part in got:
                wanted = float(alone[part].detach()) if kept else 0.0
                assert float(got[part].detach()) == pytest.approx(wanted, rel=1e-4, abs=1e-6), part
    sum(got.values()).backward()
    for name, values in found.items():
        assert torch.isfinite(values.grad).all(), name


@settings(max_examples=30)
@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, POINTS - 1)), max_size=11), st.integers(0, 100))
def test_a_missing_point_never_changes_the_loss_of_the_other_points(holes, seed):
    found, batch = example(3, seed)
    target = batch["landmarks4"] / SIDE
    for row, point in holes:
        target[row, point] = NAN
    for kind in ("mse", "wing"):
        got = losses.landmarks_loss(found["landmarks4"] / SIDE, target, LandmarksLoss(kind=kind))
        rows = []
        for row in range(3):
            kept = [p for p in range(POINTS) if (row, p) not in holes]
            if kept:
                part = found["landmarks4"][row : row + 1, kept] / SIDE, target[row : row + 1, kept]
                rows.append(float(losses.landmarks_loss(*part, LandmarksLoss(kind=kind)).detach()))
        assert float(got.detach()) == pytest.approx(np.mean(rows) if rows else 0.0, rel=1e-4, abs=1e-7)


@settings(max_examples=30)
@given(st.floats(0.01, 100), st.integers(0, 100))
def test_weights_scale_the_parts(weight, seed):
    found, batch = example(5, seed)
    once, often = (
        losses.multitask_losses(
            found,
            batch,
            Losses(
                emotion=EmotionLoss(weight=w),
                valence_arousal=ValenceArousalLoss(weight=w),
                landmarks=LandmarksLoss(weight=w),
                box=BoxLoss(weight=w),
                distillation=DistillationLoss(weight=w, valence_arousal_weight=w),
            ),
        )
        for w in (1.0, weight)
    )
    assert set(once) == {"emotion", "va_ccc", "va_mse", "landmarks4", "box", "teacher", "teacher_va"}
    for name, value in once.items():
        assert float(often[name].detach()) == pytest.approx(weight * float(value.detach()), rel=1e-4)


def test_a_batch_without_any_label_costs_nothing_and_moves_nothing():
    found, batch = example(4, 0)
    for name in LABELS:
        batch[name][:] = NAN
    parts = losses.multitask_losses(found, batch, Losses(distillation=DistillationLoss(weight=1)))
    assert all(float(part.detach()) == 0 for part in parts.values())
    sum(parts.values()).backward()
    assert all((values.grad == 0).all() for values in found.values())


def test_the_loss_of_points_is_the_same_for_crops_of_any_size():
    found, batch = example(4, 0)
    small = losses.multitask_losses(found, batch, Losses())
    grown = {name: value * 4 if name in ("landmarks4", "box") else value for name, value in found.items()}
    large = {name: value * 4 if name in ("landmarks4", "box") else value for name, value in batch.items()}
    large["image"] = torch.zeros(4, SIDE * 4, SIDE * 4, 3, dtype=torch.uint8)
    for name, value in losses.multitask_losses(grown, large, Losses()).items():
        assert float(value.detach()) == pytest.approx(float(small[name].detach()), rel=1e-5)
