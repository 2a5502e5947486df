"""The page of an evaluation: the numbers that are printed, nothing from elsewhere, nobody's markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import face, save_network, save_table, usual_faces
from markup import parse

pytest.importorskip("onnx", reason="PAGES OF EVALUATIONS ARE NOT TESTED: no onnx")
pytest.importorskip("torch", reason="PAGES OF EVALUATIONS ARE NOT TESTED: no torch")

import torch

from vidfer.cli import app as cli
from vidfer.train.evaluation import charts, naming
from vidfer.train.evaluation.gradcam import grad_cam
from vidfer.train.evaluation.scores import Score
from vidfer.train.metrics import Figure
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.multitask.training import prepare_training

EVIL = "</style><script>alert(1)</script>\"'&"
THIN = "\u202f"
RECIPE = Recipe.from_dict(
    {
        "name": "tiny",
        "network": {"name": "fast", "input_px": 32},
        "heads": {"emotion": ["neutral", "happiness", "sadness"], "valence_arousal": True, "landmarks": 5, "box": True},
        "data": {"batch_size": 8},
        "loop": {"epochs": 2, "steps_per_epoch": 2},
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two ONNX files, a run, and tables to train and to judge them."""
    folder = tmp_path_factory.mktemp("pages")
    save_network(folder / "right.onnx", card={"trained_on": EVIL, "epoch": 3})
    save_network(folder / "wrong.onnx", right=False)
    evil = face("neutral", group=EVIL, set_name=EVIL)
    save_table(folder / "faces.parquet", [*usual_faces(), evil, face("sadness", group="broken", image=b"no picture")])
    train = save_table(folder / "train.parquet", [replace(one, split="train") for one in usual_faces()])
    prepare_training(RECIPE, [train]).fit(folder / "run")
    with (folder / "run" / "log.jsonl").open("a") as log:
        log.write('{"kind": "epo')  # as if the run went on
    return folder


def made(folder, *models, options=()):
    """What is printed and the page, as text and as elements."""
    path = folder / "page.html"
    line = [*(["--compare"] if len(models) > 1 else []), *(str(folder / name) for name in models), *options]
    assert cli.run(["train", "evaluate", *line, "--data", str(folder / "faces.parquet"), "--report", str(path)]) == 0
    html = path.read_text(encoding="utf-8")
    path.unlink()
    return html, parse(html)


@pytest.fixture(scope="module")
def pages(folder):
    """Of one file, of two, and of the run."""
    return {names: made(folder, *names) for names in (("right.onnx",), ("right.onnx", "wrong.onnx"), ("run",))}


def cells(page, label):
    """Lines of the table of a region by their first cell."""
    (region,) = page.find("div", aria_label=label)
    return {
        row.find("th")[0].whole_text: [cell.whole_text for cell in row.find("td")]
        for row in region.find("tbody")[0].find("tr")
    }


def test_the_figures_are_those_that_are_printed(folder, capfd):
    _, page = made(folder, "right.onnx")
    figures = json.loads(capfd.readouterr().out)["networks"][0]["tasks"]
    said = cells(page, "Figures: Emotion")
    accuracy = figures["emotion"]["figures"]["accuracy"]
    low, high = (f"{accuracy[end] * 100:.1f}" for end in ("low", "high"))
    assert said["accuracy"] == [f"{accuracy['value'] * 100:.1f} % [{low}, {high}]", "higher", str(accuracy["n"])]
    concordance = figures["valence_arousal"]["figures"]["ccc_valence"]
    assert cells(page, "Figures: Valence and arousal")["valence, concordance (CCC)"][0].startswith(
        f"{concordance['value']:.3f} ["
    )
    assert {"Figures: 5 points", "Figures: Box of the face"} <= {one.attributes.get("aria-label") for one in page.all()}
    by_class = cells(page, "Classes, right.onnx")
    recall = figures["emotion"]["figures"]["recall_sadness"]
    assert by_class["sadness"][1].startswith(f"{recall['value'] * 100:.1f}")
    matrix = cells(page, "Confusion matrix, right.onnx")
    assert matrix["sadness"] == ["", "50 %", "50 %", "8"]
    assert set(cells(page, "By data set: Emotion")) >= {"made", "wild"}
    warned = [one.whole_text for one in page.find("section", class_="warnings")[0].find("li")]
    assert warned[0] == "A picture could not be decoded and was left out"
    assert any("No row is labelled surprise" in text for text in warned)


def test_a_comparison_stands_side_by_side(pages):
    _, page = pages["right.onnx", "wrong.onnx"]
    (table,) = page.find("div", aria_label="Figures: Emotion")
    heads = [one.whole_text for one in table.find("thead")[0].find("th")]
    assert heads == ["Figure", "right.onnx", "wrong.onnx", "Difference", "Better is", "Rows"]
    line = cells(page, "Figures: Emotion")["accuracy"]
    assert line[2].startswith("−16.00 [")
    assert line[2].rsplit("]", 1)[1].strip() in ("worse", "not sure")
    points = cells(page, "Figures: 5 points")["mean error (NME), of the eye distance"]
    assert points[2] == "0.000 [0.000, 0.000] the same"
    for name in ("right.onnx", "wrong.onnx"):
        assert page.find("div", aria_label=f"Confusion matrix, {name}")
        assert page.find("div", aria_label=f"Quadrants, {name}")
    lines = [one.attributes["class"] for one in page.find("path", class_="line")]
    assert {"line n1", "line n2"} <= set(lines)


def test_a_run_shows_its_training_and_what_it_looks_at(pages):
    _, page = pages["run",]
    titles = [one.whole_text for one in page.find("div", class_="curves")[0].find("figcaption")]
    assert {"loss, training", "score, held out"} <= set(titles)
    for plot in page.find("div", class_="curves")[0].find("svg"):
        (dots,) = plot.find("path", class_="dots")
        assert dots.attributes["d"].count("M") == 2  # one for each epoch
    shown = page.find("ul", class_="faces")
    maps = [one for one in page.find("img") if (one.attributes["alt"] or "").startswith("What speaks for")]
    assert len(maps) >= len(shown[0].find("li")) > 0
    text = page.whole_text
    assert "run, weights with the best score" in text
    assert "gives no gradients" not in text
    assert "never rows of this page" in text
    assert "speak for what the network says" in text
    assert re.search(r"Epoch [12] of 2\b", text)
    _, of_file = pages["right.onnx",]
    assert "right.onnx is an ONNX file, which gives no gradients: no maps" in of_file.whole_text
    assert not of_file.find("div", class_="curves")


def test_points_and_boxes_are_drawn_where_they_are(pages):
    """The network's points and box stand where they always stand; the picture is drawn on 100 x 100."""
    _, page = pages["right.onnx",]
    guesses = {one.attributes["d"] for one in page.find("path", class_="guess")}
    first = "".join(f"M{(x + 0.5) * 100 / 32:.1f} {(y + 0.5) * 100 / 32:.1f}h0" for x, y in ((10, 12), (22, 12)))
    points = [path for path in guesses if "h0" in path]
    assert points
    assert all(path.startswith(first) for path in points)
    box = f"M{4 * 100 / 32:.1f} {4 * 100 / 32:.1f}H{28 * 100 / 32:.1f}"
    assert any(path.startswith(box) for path in guesses)


def test_it_may_load_nothing_and_run_nothing(pages):
    for html, page in pages.values():
        (policy,) = (one.attributes["content"] for one in page.find("meta", http_equiv="Content-Security-Policy"))
        (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy == (
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )
        assert not page.find("script")
        assert not page.find("link")
        assert not [one for one in page.all() if "style" in one.attributes or "onclick" in one.attributes]
        assert all(one.attributes["src"].startswith("data:image/jpeg") for one in page.find("img"))
        assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"data:[^\"]*", "", html))


def test_a_page_shows_only_what_there_is(folder, tmp_path, capfd):
    """A network that tells five points alone, on rows that were trained on."""
    points = save_network(tmp_path / "points.onnx", heads=("landmarks5",))
    page = tmp_path / "page.html"
    data = ["--data", str(folder / "train.parquet"), "--split", "train"]
    assert cli.run(["train", "evaluate", str(points), *data, "--report", str(page)]) == 0
    found = parse(page.read_text(encoding="utf-8"))
    titles = [one.whole_text for one in found.find("h2")]
    assert titles == ["Keep in mind", "Figures", "Points: who is how far off", "By data set", "The worst faces",
                      "What this was made of", "Limits"]  # fmt: skip
    assert "These rows are of split train" in found.find("section", class_="warnings")[0].whole_text
    capfd.readouterr()


def test_names_are_text_whatever_they_hold(pages):
    html, page = pages["right.onnx",]
    assert EVIL not in html
    assert EVIL in page.whole_text


def test_without_thumbnails_nobody_is_shown(folder):
    _, page = made(folder, "run", options=["--no-thumbnails"])
    assert not page.find("img")
    assert not page.find("section", aria_labelledby="h-worst")


@pytest.mark.parametrize("name", ["page.txt", "missing/page.html"])
def test_a_page_that_cannot_be_made_is_refused_first(folder, name, capfd):
    line = ["train", "evaluate", str(folder / "right.onnx"), "--data", "none.parquet", "--report", str(folder / name)]
    assert cli.run(line) == 2
    assert "give a name that ends in .html, in a folder that exists" in capfd.readouterr().err


class SeesLeft(torch.nn.Module):
    """Channel 0 of its features is what the left half shows, channel 1 the right half; a logit for each."""

    def __init__(self):
        super().__init__()
        self.features_layer = torch.nn.Identity()

    def forward(self, image):
        grey = image.float().mean(-1) / 255
        half = torch.arange(grey.shape[-1]) < grey.shape[-1] // 2
        features = self.features_layer(torch.stack([grey * half, grey * ~half], 1))
        means = features.mean((2, 3))
        return {"emotion": torch.stack([means[:, 0] - means[:, 1], means[:, 1], -means[:, 0] - means[:, 1]], 1)}


def test_maps_are_bright_where_the_answer_comes_from():
    crops = np.full((3, 16, 16, 3), 200, np.uint8)
    crops[:, 3, 4] = 255  # the brightest place of all, on the left
    net = SeesLeft().eval()
    found = grad_cam(net, crops, np.array([0, 1, 2]))
    assert found.shape == (3, 16, 16)
    left, right, nothing = found
    assert left[3, 4] == left.max() == 1
    assert left[:, :8].min() > 0.5
    assert not left[:, 8:].any()  # what speaks against a class is left out
    assert not right[:, :8].any()
    assert (right[:, 8:] == 1).all()
    assert not nothing.any()
    assert not net.features_layer._forward_hooks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_marks_of_axes_are_round_and_within(low, length):
    high = low + length
    if high - low < abs(low) * 1e-6:
        return
    marks = charts.ticks(low, high)
    assert 2 <= len(marks) <= 7 or length < abs(low) * 1e-3
    values = [value for value, _ in marks]
    assert all(low - length * 1e-6 <= value <= high + length * 1e-6 for value in values)
    assert len({text for _, text in marks}) == len(marks)


@given(st.integers(1, 500))
def test_epochs_are_whole(epochs):
    marks = charts.ticks(0.5, epochs + 0.5, whole=True)
    assert 1 <= len(marks) <= 7
    assert [text for _, text in marks] == [str(round(value)) for value, _ in marks]


def test_marks_of_small_numbers_are_short():
    assert [text for _, text in charts.ticks(4.5e-4, 5.5e-4)] == ["4.6e−4", "4.8e−4", "5.0e−4", "5.2e−4", "5.4e−4"]
    assert [text for _, text in charts.ticks(0, 1e-3)] == ["0.0000", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010"]


def test_numbers_read_as_people_write_them():
    figure = Figure(value=0.5246, low=0.4776, high=0.5693, n=469)
    assert naming.with_interval("accuracy", figure) == f"52.5{THIN}% [47.8, 56.9]"
    assert naming.with_interval("ccc_valence", figure) == "0.525 [0.478, 0.569]"
    assert naming.with_interval("accuracy", Figure(value=-0.012, low=-0.02, high=0.004, n=9), sign=True) == (
        "−1.20 [−2.00, +0.40]"
    )
    alone = Figure(value=0.5, low=float("nan"), high=float("nan"), n=1)
    assert naming.with_interval("iou", alone) == "0.500 [no interval]"
    assert naming.with_interval("precision_fear", replace(alone, value=float("nan"))) == "–"


@pytest.mark.parametrize(
    ("low", "high", "higher", "word"),
    [
        (0.1, 0.3, True, "better"),
        (0.1, 0.3, False, "worse"),
        (-0.3, -0.1, True, "worse"),
        (-0.1, 0.3, True, "not sure"),
        (0, 0, True, "the same"),
        (float("nan"), float("nan"), True, "not sure"),
    ],
)
def test_a_difference_is_one_if_its_interval_leaves_out_0(low, high, higher, word):
    score = Score(of=lambda means: means[..., 0], n=9, higher=higher)
    assert naming.verdict(score, Figure(value=(low + high) / 2, low=low, high=high, n=9)) == word
