"""The detector: cells, decoding, assignment and loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from vidfer.train import detector, detector_net, scenes  # noqa: E402
from vidfer.train.detector_run import _Shipped, detector_config  # noqa: E402

SIZE = 128
CELLS = detector_net.cells(SIZE, SIZE)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_boxes_lie_where_the_layers_say(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    network = detector_net.DetectorNet().eval()
    said = torch.randn(len(network.outputs), 5, generator=generator)
    for layer, bias in zip(network.outputs, said, strict=True):
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data.copy_(bias)
    with torch.no_grad():
        box, logit = network(torch.zeros(2, rows * 8, columns * 8, 3, dtype=torch.uint8))
    cell = detector_net.cells(rows * 8, columns * 8)
    level = (cell[:, 2] / 8).log2().long()
    middle = cell[:, :2] + said[level, 1:3] * cell[:, 2:]
    half = said[level, 3:].exp() * cell[:, 2:] / 2
    torch.testing.assert_close(box[1], torch.cat([middle - half, middle + half], 1), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logit[0], said[level, 0])


def test_outputs_are_in_the_order_of_the_cells() -> None:
    torch.manual_seed(0)
    network = detector_net.DetectorNet().eval()
    for layer in network.outputs:  # boxes of the size of a cell, in its middle
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    box, logit = network(torch.zeros(2, 96, SIZE, 3, dtype=torch.uint8))
    cell = detector_net.cells(96, SIZE)
    assert logit.shape == (2, len(cell))
    middle = (box[1, :, :2] + box[1, :, 2:]) / 2
    torch.testing.assert_close(torch.cat([middle, box[1, :, 2:3] - box[1, :, :1]], 1), cell)


@given(st.floats(9, 120), st.floats(0.6, 1.4), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_every_face_is_learnt_by_some_cell_near_it(side: float, aspect: float, across: float, down: float) -> None:
    width, height = side, min(side * aspect, SIZE)
    x, y = across * (SIZE - width), down * (SIZE - height)
    truth = torch.tensor([[[x, y, x + width, y + height], [0, 0, 0, 0]]])
    guess = torch.cat([CELLS[:, :2] - CELLS[:, 2:], CELLS[:, :2] + CELLS[:, 2:]], 1)[None]
    owner, iou = detector.assign(guess, torch.zeros(1, len(CELLS)), truth, torch.tensor([1]), CELLS)
    learning = owner[0] >= 0
    assert learning.any()
    assert (owner[0][learning] == 0).all()
    assert (iou[0][~learning] == 0).all()
    away = (CELLS[learning, :2] - torch.tensor([x + width / 2, y + height / 2])).abs().amax(1)
    assert (away <= detector._RADIUS * CELLS[learning, 2]).all()


def test_a_cell_between_two_faces_learns_one() -> None:
    truth = torch.tensor([[[20.0, 20, 60, 60], [30, 22, 70, 62]]])
    guess = truth[0, :1].expand(len(CELLS), 4)[None]
    owner, _ = detector.assign(guess, torch.zeros(1, len(CELLS)), truth, torch.tensor([2]), CELLS)
    assert set(owner.unique().tolist()) <= {-1, 0, 1}
    assert 0 in owner


def test_perfect_boxes_and_scores_cost_little_and_ignored_cells_nothing() -> None:
    truth = torch.tensor([[[30.0, 30, 70, 80]]])
    box = truth[0].expand(len(CELLS), 4)[None].clone()
    batch = {"truth": truth, "count": torch.tensor([1]), "ignored": torch.zeros(1, 0, 4)}
    owner, _ = detector.assign(box, torch.zeros(1, len(CELLS)), truth, batch["count"], CELLS)
    right = torch.where(owner >= 0, 9.0, -9.0)
    good = detector.detector_loss(box, right, batch, CELLS)
    bad = detector.detector_loss(box, -right, batch, CELLS)
    assert float(good["score"]) < 0.01 < 1 < float(bad["score"])
    assert float(good["box"]) == pytest.approx(0, abs=1e-4)
    everywhere = {
        "truth": torch.zeros(1, 0, 4),
        "count": torch.tensor([0]),
        "ignored": torch.tensor([[[0.0, 0, SIZE, SIZE]]]),
    }
    assert float(detector.detector_loss(box, right, everywhere, CELLS)["score"]) == 0


def test_a_folded_block_is_the_block() -> None:
    torch.manual_seed(0)
    block = detector_net.Foldable(8).eval()
    x = torch.rand(1, 8, 9, 7)
    torch.testing.assert_close(block(x), x)  # a new one changes nothing
    for values in (block.norm.weight, block.norm.bias, block.norm.running_mean):
        torch.nn.init.normal_(values)
    block.norm.running_var.uniform_(0.5, 2)
    torch.testing.assert_close(block(x), block.folded()(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("faces", [0, 2])
def test_gradients_are_finite(faces: int) -> None:
    torch.manual_seed(0)
    network = detector_net.DetectorNet()
    sample = scenes.Sample(
        image=np.zeros((SIZE, SIZE, 3), np.uint8),
        box_px=np.array([[10, 10, 40, 50], [60, 60, 72, 74]], np.float32)[:faces],
        valid=np.ones(faces, bool),
    )
    batch = detector.collate(np.zeros((2, SIZE, SIZE, 3), np.uint8), [sample, sample])
    sum(detector.detector_loss(*network(batch["image"]), batch, CELLS).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_shipped_network_is_the_trained_one_and_small() -> None:
    torch.manual_seed(0)
    network = detector_net.DetectorNet().eval()
    torch.nn.init.normal_(network.stage16[2].norm.weight)
    image = torch.randint(0, 256, (1, 72, 104, 3), dtype=torch.uint8)
    with torch.no_grad():
        box, logit = network(image)
        shipped_box, score = _Shipped(network)(image)
    torch.testing.assert_close(box, shipped_box, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logit.sigmoid(), score)
    assert sum(p.numel() for p in network.parameters()) * 4 <= 1.45e6


def test_export_verifies_itself_and_stores_its_card(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from vidfer.errors import DataError
    from vidfer.train.export import export_onnx
    from vidfer.vision.session import Session

    torch.manual_seed(0)
    shipped = _Shipped(detector_net.DetectorNet().eval())
    inputs = [torch.randint(0, 256, (1, h, w, 3), dtype=torch.uint8) for h, w in ((64, 96), (96, 32), (40, 72))]
    card = dict.fromkeys(
        ("name", "version", "input", "heads", "trained_on", "metrics", "licence", "git_sha", "command"), "x"
    )
    settings_ = {
        "example": inputs[0],
        "input_name": "image",
        "output_names": ("box", "score"),
        "dynamic_axes": {"image": {1: "h", 2: "w"}, "box": {1: "cells"}, "score": {1: "cells"}},
        "verify": inputs,
    }
    export_onnx(shipped, tmp_path / "net.onnx", card=card, **settings_)
    session = Session(tmp_path / "net.onnx", device="cpu")
    assert session.card.details["verification"]["largest_difference"]["score"] < 1e-4
    assert (tmp_path / "SHA256SUMS").read_text() == f"{session.card.sha256}  net.onnx\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "net.onnx"]
    with pytest.raises(DataError, match="lacks licence"):
        export_onnx(shipped, tmp_path / "bad.onnx", card={k: v for k, v in card.items() if k != "licence"}, **settings_)


def test_the_packaged_configuration_is_valid() -> None:
    assert detector_config().bf16
