"""The pages of an evaluation in a real browser."""

from __future__ import annotations

import re
from functools import partial

import pytest
from contrast import CONTRASTS
from made_networks import save_network, save_table, usual_faces

pytest.importorskip("onnx", reason="PAGES OF EVALUATIONS ARE NOT TESTED: no onnx")

from vidfer.train.datasets.table import read_table
from vidfer.train.evaluation.evaluate import evaluate
from vidfer.train.evaluation.network import OnnxNetwork
from vidfer.train.evaluation.page import write_page


class Remembered(OnnxNetwork):
    """With what only runs have: a log of the training, and maps."""

    def maps(self, crops, classes):
        return (crops[..., 0] / 255).astype("float32")

    def history(self):
        return [{"kind": "epoch", "epoch": k, "loss": 3.5 / (k + 1), "lr": 1.05e-4} for k in range(5)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    networks = [
        Remembered(save_network(folder / "a_network_with_quite_a_long_name.onnx")),
        OnnxNetwork(save_network(folder / "wrong.onnx", right=False)),
    ]
    table = save_table(folder / "faces.parquet", usual_faces(48))
    found = evaluate(networks, read_table([table], "val"))
    write_page(folder / "page.html", found, networks, split="val", tables=[table])
    return folder / "page.html"


@pytest.fixture
def opened(open_file, made):
    """Opens the page."""
    return partial(open_file, made, may_ask=("file:", "data:"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(opened, axe_finds, scheme):
    """WCAG: 4.5:1, also on the shades of the matrices."""
    page = opened(color_scheme=scheme)
    pairs = page.evaluate(CONTRASTS, [None, None])
    assert len(pairs) > 300
    assert [pair for pair in pairs if pair["ratio"] < pair["least"]] == []
    assert axe_finds(page) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")


def test_what_is_drawn_is_seen(opened):
    page = opened()
    shown = "all => all.map((one) => one.getBBox()).filter((box) => box.width > 0 && box.height >= 0).length"
    for kind, least in (("path.line", 5), ("path.cloud", 4), ("path.guide", 5)):
        assert page.locator(f"svg.chart {kind}").evaluate_all(shown) >= least, kind
    cut = """all => { const left = (one) => one.getBoundingClientRect().left;
        return all.filter((one) => left(one) < left(one.ownerSVGElement)).map((one) => one.textContent); }"""
    assert page.locator("svg.chart text").evaluate_all(cut) == []
    widths = "all => all.map((one) => one.naturalWidth)"
    assert set(page.locator("img").evaluate_all(widths)) == {128}
    shades = "all => new Set(all.map((one) => getComputedStyle(one).backgroundColor)).size"
    assert page.locator(".matrix td").evaluate_all(shades) > 3
    overflow = "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.ariaLabel)"
    assert page.locator(".scroll").evaluate_all(overflow) == []


@pytest.mark.parametrize("width", [320, 820])
def test_nothing_runs_out_of_narrow_screens(opened, width):
    page = opened(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints(opened):
    page = opened(width=688, color_scheme="dark")  # A4 less its margins
    pdf = page.pdf(prefer_css_page_size=True)
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 16
    page.emulate_media(media="print")
    assert page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"
    ends = "all => Math.max(...all.map((one) => one.getBoundingClientRect().right))"
    assert page.locator("table").evaluate_all(ends) <= 688
