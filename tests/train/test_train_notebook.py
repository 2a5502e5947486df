"""The notebook for Colab trains on a folder of pictures, from the first cell to the last."""

import json
import re
import runpy
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vidfer

torch = pytest.importorskip("torch", reason="THE NOTEBOOK ON TRAINING IS NOT RUN: there is no torch")
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.*legacy TorchScript")]

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "train_on_your_faces.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
# What somebody changes who wants to see it work within seconds.
CHANGED = {'NETWORK = "fast"': 'NETWORK = "separable"', "EPOCHS = 30": "EPOCHS = 2", "BATCH = 64": "BATCH = 8"}


def pictures(folder):
    """Faces of the bundled clip, whose two women do what they do all the time: one smiles, one does not."""
    truth = np.loadtxt(EXAMPLES / "two_faces.gt.txt", delimiter=",")
    clip = cv2.VideoCapture(str(EXAMPLES / "two_faces.mp4"))
    for frame in range(1, 100):
        _, image = clip.read()
        for who, name in ((1, "happy"), (2, "neutral")):
            seen = truth[(truth[:, 0] == frame) & (truth[:, 1] == who) & (truth[:, 8] > 0.95)]
            if frame % 7 == 0 and len(seen):
                x, y, w, h = seen[0, 2:6].astype(int)
                path = folder / name / f"frame{frame:03}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), cv2.resize(image[max(0, y) : y + h, max(0, x) : x + w], (64, 64)))
    clip.release()


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """All cells of code, run where the folder of pictures is."""
    here = tmp_path_factory.mktemp("notebook")
    pictures(here / "faces")
    text = json.dumps(NOTEBOOK)
    for old, new in CHANGED.items():
        old, new = json.dumps(old)[1:-1], json.dumps(new)[1:-1]
        assert text.count(old) == 1
        text = text.replace(old, new)
    notebook = json.loads(text)
    run = runpy.run_path(str(EXAMPLES / "run_notebook.py"))["run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        plt.switch_backend("agg")
        run(notebook)
        yield here, [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_ends_with_a_network_and_a_report(cells):
    here, _ = cells
    made = {path.name for path in (here / "my_network").iterdir()}
    assert {"faces.parquet", "recipe.toml", "run", "report.html", "model.onnx"} <= made
    assert (here / "my_network" / "report.html").stat().st_size > 10_000


def test_it_shows_the_classes_the_losses_the_report_and_what_the_network_says(cells):
    _, run = cells
    shown = [sorted(output["data"]) for cell in run for output in cell["outputs"] if "data" in output]
    assert sum("image/png" in kinds for kinds in shown) == 3
    pages = [
        output["data"]["text/html"]
        for cell in run
        for output in cell["outputs"]
        if "text/html" in output.get("data", {})
    ]
    counts, report = ("".join(page) for page in pages)
    assert "happiness" in counts
    assert "neutral" in counts
    assert report.startswith("<iframe srcdoc=")
    assert "&quot;" in report
    said = "".join(line for cell in run for output in cell["outputs"] for line in output.get("text", []))
    assert "left out:" in said
    assert "model.onnx" in said


def test_the_file_says_which_classes_it_knows(cells):
    here, _ = cells
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(here / "my_network" / "model.onnx", providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["vidfer_card"])
    (labels,) = [head["labels"] for head in card["heads"] if head["name"] == "emotion"]
    assert sorted(labels) == ["happiness", "neutral"]


def test_it_is_kept_as_people_start_with_it():
    """No pictures of anybody in it, and nothing but Colab's own is asked of Colab."""
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CODE)
    source = "\n".join("".join(cell["source"]) for cell in CODE)
    colab = re.findall(r"^.*google\.colab.*$", source, re.MULTILINE)
    assert colab == ["    from google.colab import files"]
    assert source.index("try:") < source.index(colab[0]) < source.index("except ImportError:")
    install = next(line for line in source.splitlines() if line.startswith("PACKAGE"))
    assert "vidfer[cpu,train]" in install
    assert vidfer.__version__ in "".join("".join(cell["source"]) for cell in NOTEBOOK["cells"]), "the wheel's name"
