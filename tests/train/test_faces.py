"""The face network's labels, losses, figures and size."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vidfer.train import metrics  # noqa: E402
from vidfer.train.augment import degrade  # noqa: E402
from vidfer.train.evaluate import identity_figures  # noqa: E402
from vidfer.train.losses import concordance, face_losses, identity_losses  # noqa: E402
from vidfer.train.mesh import MIRROR68, to_face_frame, to_picture  # noqa: E402
from vidfer.train.model import OUTPUTS, ExportedFaceNet, FaceNet, count_cost  # noqa: E402
from vidfer.train.networks.fast import plain  # noqa: E402
from vidfer.vision import session  # noqa: E402
from vidfer.vision.geometry import CROP_PX  # noqa: E402


def batch(n: int) -> dict:
    rng = np.random.default_rng(0)
    points = {"mesh": rng.uniform(20, 90, (n, 478, 3)), "points68": rng.uniform(20, 90, (n, 68, 2))}
    arrays = {
        "image": rng.integers(0, 256, (n, CROP_PX, CROP_PX, 3), dtype=np.uint8),
        "emotion": np.eye(8)[rng.integers(0, 8, n)],
        "emotion_weight": np.ones(n),
        "teacher": np.eye(8)[rng.integers(0, 8, n)],
        "teacher_weight": np.ones(n),
        "fer2013": np.eye(7)[rng.integers(0, 7, n)],
        "fer2013_weight": np.ones(n),
        "va": rng.uniform(-1, 1, (n, 2)),
        "va_weight": np.ones(n),
        **points,
        "points68_weight": np.ones(n),
        "box": np.tile([15.0, 12.0, 95.0, 101.0], (n, 1)),
        "presence": np.ones(n),
        "embedding": rng.normal(size=(n, 128)),
        "bank": rng.normal(size=(50, 128)),
    }
    return {k: torch.from_numpy(v if v.dtype == np.uint8 else v.astype(np.float32)) for k, v in arrays.items()}


def test_rows_without_a_label_do_not_change_the_losses_of_that_label():
    torch.manual_seed(0)
    net = FaceNet().eval()
    full = batch(6)
    with torch.no_grad():
        heads = net(full["image"])
    missing = {name: values.clone() for name, values in full.items()}
    for name in ("mesh", "points68", "box", "embedding"):
        missing[name][4:] = float("nan")
    for name in ("emotion", "teacher", "fer2013", "va"):
        missing[f"{name}_weight"][4:] = 0
    few = {name: values if name == "bank" else values[:4] for name, values in full.items()}
    expected = face_losses({name: values[:4] for name, values in heads.items()}, few)
    got = face_losses(heads, missing)
    for name in set(expected) - {"presence"}:
        assert float(got[name]) == pytest.approx(float(expected[name]), rel=1e-4), name


def test_losses_without_any_label_are_zero_and_can_be_derived():
    net = FaceNet()
    empty = batch(4)
    for name in ("mesh", "points68", "box", "embedding"):
        empty[name][:] = float("nan")
    empty["box"][:1] = torch.tensor([15.0, 12.0, 95.0, 101.0])
    for name in ("emotion", "teacher", "fer2013", "va"):
        empty[f"{name}_weight"][:] = 0
    losses = face_losses(net(empty["image"]), empty)
    assert float(losses["mesh"]) == float(losses["embedding"]) == float(losses["emotion"]) == 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_the_network_stays_within_its_limits():
    net = FaceNet()
    parameters, gflop = count_cost(net, torch.zeros(1, CROP_PX, CROP_PX, 3, dtype=torch.uint8))
    only_for_training = sum(p.numel() for p in net.teacher.parameters())
    assert gflop <= 0.15
    assert (parameters - only_for_training) * 4 <= 8e6
    assert session.model_path("face_analyzer").stat().st_size <= 8e6
    assert session.model_path("face_detector").stat().st_size <= 1.6e6


def test_plain_blocks_start_at_the_identity():
    torch.manual_seed(0)
    block = plain(16)
    x = torch.rand(4, 16, 9, 9)
    with torch.no_grad():
        out = block.train()(x)
    assert np.corrcoef(out.flatten(), x.flatten())[0, 1] > 0.6


def test_the_exported_graph_is_a_chain_of_convolutions_that_agrees_with_torch(tmp_path):
    pytest.importorskip("onnx")
    import onnx

    from vidfer.train.export import export_onnx

    torch.manual_seed(0)
    inputs = [torch.randint(0, 256, (n, CROP_PX, CROP_PX, 3), dtype=torch.uint8) for n in (2, 1, 3)]
    fields = ("name", "version", "input", "heads", "trained_on", "metrics", "licence", "git_sha", "command")
    export_onnx(
        ExportedFaceNet(FaceNet().eval(), temperature=1.3),
        tmp_path / "net.onnx",
        example=inputs[0],
        input_name="image",
        output_names=OUTPUTS,
        dynamic_axes={"image": {0: "faces"}, **{name: {0: "faces"} for name in OUTPUTS}},
        card=dict.fromkeys(fields, "x"),
        verify=inputs,
    )
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "net.onnx")).graph.node]
    assert "BatchNormalization" not in kinds
    assert "Sigmoid" in kinds  # of the presence alone: no attention
    assert kinds.count("Sigmoid") == 1


def test_cards_say_where_the_networks_are_from():
    for name in session.MODELS:
        card = session.load_card(name)
        assert card.name == name
        for field in ("input", "heads", "trained_on", "metrics", "licence", "git_sha", "command", "verification"):
            assert card.details[field], field


def test_a_mirrored_mirror_is_the_face_itself():
    assert (MIRROR68[MIRROR68] == np.arange(68)).all()
    assert MIRROR68[36] == 45  # outer eye corners
    assert MIRROR68[48] == 54  # mouth corners


@given(st.floats(-3, 3), st.floats(5, 200), st.floats(-100, 300), st.floats(-100, 300))
def test_face_frame_and_picture_are_inverse(angle, scale, cx, cy):
    points = np.random.default_rng(1).normal(size=(1, 68, 2)).astype(np.float32)
    frame = np.array([[cx, cy, scale, angle]], np.float32)
    assert to_face_frame(to_picture(points, frame), frame) == pytest.approx(points, abs=1e-2)


@given(st.integers(0, 200))
def test_degraded_crops_are_still_crops(seed):
    image = np.random.default_rng(0).integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8)
    before = image.copy()
    out = degrade(image, np.random.default_rng(seed))
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert (image == before).all()
    assert (degrade(image, np.random.default_rng(seed), plain=1) == before).all()


def test_concordance_agrees_with_the_figure_and_punishes_shift_and_scale():
    rng = np.random.default_rng(0)
    target = rng.normal(size=500).astype(np.float32)
    assert metrics.ccc(target, target) == pytest.approx(1)
    assert metrics.ccc(target + 1, target) < 0.7
    assert metrics.ccc(target * 0.3, target) < 0.7
    noisy = (target + rng.normal(size=500)).astype(np.float32)
    weight = torch.ones(500)
    ours = concordance(torch.from_numpy(noisy)[:, None], torch.from_numpy(target)[:, None], weight)
    assert float(ours[0]) == pytest.approx(metrics.ccc(noisy, target), abs=1e-4)


def test_calibration_error_of_honest_and_of_boasting_probabilities():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20000)
    right = rng.random(20000) < confidence
    probability = np.stack([confidence, 1 - confidence], 1)
    assert metrics.expected_calibration_error(probability, np.where(right, 0, 1)) < 0.02
    assert metrics.expected_calibration_error(np.tile([0.99, 0.01], (100, 1)), np.ones(100, int)) > 0.9


def test_roc_auc_counts_pairs():
    score, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1])
    assert metrics.roc_auc(score, positive) == pytest.approx((4 - 0.5) / 4)


def test_interval_covers_the_value():
    found = metrics.figure(metrics.accuracy, np.arange(200) % 3, np.zeros(200, int))
    assert found.low < found.value < found.high
    assert found.n == 200


def test_identity_figure_is_one_for_perfect_embeddings():
    class Rows:
        set_name = np.array(["ytf"] * 9 + ["web"])
        group = np.array(["a", "b", "c"] * 3 + ["d"])

    embedding = np.eye(4)[[0, 1, 2] * 3 + [3]]
    assert identity_figures(Rows, {"embedding": embedding})["identity_pair_auc"].value == 1


def test_identity_is_learned_best_from_the_teacher_itself_and_from_faces_it_finds_alike():
    rng = torch.Generator().manual_seed(0)
    teacher, bank = torch.randn(12, 128, generator=rng), torch.randn(40, 128, generator=rng)
    same = identity_losses(torch.nn.functional.normalize(teacher, dim=1), teacher, bank)
    assert float(same["embedding"]) == pytest.approx(0, abs=1e-5)
    assert float(same["neighbours"]) == pytest.approx(0, abs=1e-5)
    shuffled = identity_losses(torch.nn.functional.normalize(teacher.roll(1, 0), dim=1), teacher, bank)
    assert float(shuffled["neighbours"]) > 5
    # What all faces share tells none apart: only copying is hurt by it as much as it is large.
    shared = torch.nn.functional.normalize(teacher + 3 * torch.ones(128), dim=1)
    moved = identity_losses(shared, teacher, bank)
    assert float(moved["neighbours"]) < float(shuffled["neighbours"]) / 2
