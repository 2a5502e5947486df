"""The detector: cells, decoding, assignment and loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from vidfer.train import detector, scenes  # noqa: E402
from vidfer.train.detector_run import _Shipped, detector_config  # noqa: E402

SIZE = 128
CELLS = detector.cells(SIZE, SIZE)


def _ideal_raw(box: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    """What a level must put out so that all its cells give `box`."""
    x = torch.arange(width)[None, :] + 0.5
    y = torch.arange(height)[:, None] + 0.5
    centre, side = (box[:2] + box[2:]) / 2 / stride, (box[2:] - box[:2]) / stride
    raw = torch.zeros(1, 4, height, width)
    raw[0, 0], raw[0, 1] = centre[0] - x, centre[1] - y
    raw[0, 2], raw[0, 3] = side[0].log(), side[1].log()
    return raw


@given(st.floats(0, 90), st.floats(0, 90), st.floats(8, 120), st.floats(8, 120), st.sampled_from(detector.STRIDES))
@settings(deadline=None)
def test_decoding_undoes_encoding(x: float, y: float, width: float, height: float, stride: int) -> None:
    box = torch.tensor([x, y, x + width, y + height])
    decoded = detector._decode(_ideal_raw(box, stride, 4, 6), stride)
    torch.testing.assert_close(decoded, box.expand(1, 24, 4), atol=1e-3, rtol=1e-4)


def test_outputs_are_in_the_order_of_the_cells() -> None:
    torch.manual_seed(0)
    network = detector.DetectorNet().eval()
    for layer in network.outputs:  # boxes of the size of a cell, in its middle
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    box, logit = network(torch.zeros(2, 96, SIZE, 3, dtype=torch.uint8))
    cell = detector.cells(96, SIZE)
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


@pytest.mark.parametrize("faces", [0, 2])
def test_gradients_are_finite(faces: int) -> None:
    torch.manual_seed(0)
    network = detector.DetectorNet()
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
    network = detector.DetectorNet().eval()
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        box, logit = network(image)
        shipped_box, score = _Shipped(network)(image)
    torch.testing.assert_close(box, shipped_box, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logit.sigmoid(), score)
    assert sum(p.numel() for p in network.parameters()) * 4 <= 1.5e6


def test_export_verifies_itself_and_stores_its_card(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from vidfer.errors import DataError
    from vidfer.train.export import export_onnx
    from vidfer.vision.session import Session

    torch.manual_seed(0)
    shipped = _Shipped(detector.DetectorNet().eval())
    inputs = [torch.randint(0, 256, (1, h, w, 3), dtype=torch.uint8) for h, w in ((64, 96), (96, 32))]
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
