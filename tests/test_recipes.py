"""The notebook and the recipes run, and say what `vidfer summary` says."""

import json
import re
import runpy
import shutil
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer.pipeline.summary import summarize_table
from vidfer.types import EMOTIONS

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
NOTEBOOK = json.loads((EXAMPLES / "analysis.ipynb").read_text(encoding="utf-8"))
RECIPES = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("recipes.md", "statistics.md"))
LAG_S = 0.8


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    shutil.copy(EXAMPLES / "conversation.parquet", tmp_path)
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    return tmp_path


@pytest.fixture(scope="module")
def told():
    return summarize_table(EXAMPLES / "conversation.parquet")


def run_notebook(**replaced):
    """Run it in the current folder with other names; gives its cells."""
    text = json.dumps(NOTEBOOK)
    for old, new in replaced.items():
        assert old in text
        text = text.replace(f"{old}.parquet", f"{new}.parquet")
    notebook = json.loads(text)
    runpy.run_path(str(EXAMPLES / "run_notebook.py"))["run"](notebook)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cells):
    return [sorted(output["data"]) for cell in cells for output in cell["outputs"] if "data" in output]


def tables(cells):
    found = [output["data"] for cell in cells for output in cell["outputs"] if "data" in output]
    return ["".join(data["text/plain"]) for data in found if "text/html" in data]


def test_the_notebook_makes_three_figures_and_holds_them(here):
    cells = run_notebook()
    kept = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert kinds(cells) == kinds(kept)
    assert sum("image/png" in kind for kind in kinds(kept)) == 3
    assert [cell["execution_count"] for cell in kept] == list(range(1, len(kept) + 1))
    assert sorted(path.name for path in here.glob("*.pdf")) == ["figure1.pdf", "figure2.pdf", "figure3.pdf"]
    assert tables(cells) == tables(kept)


@pytest.mark.filterwarnings("ignore:.*empty slice", "ignore:All-NaN slice")  # ten seconds hold no window at most lags
def test_the_notebook_reads_what_process_wrote(here):
    vidfer.process(EXAMPLES / "two_faces.mp4", output_dir=here, render=False, landmarks=None, fps=8)
    assert sum("image/png" in kind for kind in kinds(run_notebook(conversation="two_faces"))) == 3


def test_the_notebook_needs_pandas_and_matplotlib_only():
    source = "".join("".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")
    assert set(re.findall(r"^import ([a-z]+)", source, re.MULTILINE)) == {"matplotlib", "numpy", "pandas"}
    assert "from " not in re.sub(r'".*?"', "", source)


def test_the_conversation_is_what_its_script_makes(tmp_path, monkeypatch):
    names = runpy.run_path(str(EXAMPLES / "make_conversation.py"))
    monkeypatch.setitem(names["main"].__globals__, "HERE", tmp_path)
    names["main"]()
    made, kept = (pq.read_table(folder / "conversation.parquet") for folder in (tmp_path, EXAMPLES))
    assert made.schema.equals(kept.schema)
    for name in ("frame", "face_id", "emotion_smooth"):
        assert made[name].to_pylist() == kept[name].to_pylist()
    for name in ("valence", "arousal_smooth", "emotion_happiness_smooth"):
        np.testing.assert_allclose(made[name].to_numpy(), kept[name].to_numpy(), atol=1e-5)


def test_what_was_simulated_is_found(told):
    valence = told.synchrony[0]
    assert (valence.first, valence.signal) == (0, "valence")
    assert 0 < valence.lag_s <= LAG_S
    assert valence.first_leads > 0.7
    assert valence.surrogate_p == pytest.approx(0.05)
    assert [face.measured_s for face in told.faces] == pytest.approx([90, 84])


@pytest.mark.parametrize("stride", [2, 50])  # 12.5 frames a second, and one every two seconds
def test_duckdb_counts_as_summary_does(stride, here):
    with pq.ParquetFile(here / "conversation.parquet") as file:
        table, about = file.read(), json.loads(file.metadata.metadata[b"vidfer"])
    about["sampling"] = {**about["sampling"], "fps": 25 / stride}
    table = table.filter(pa.array(table["frame"].to_numpy() % stride == 0))
    pq.write_table(table.replace_schema_metadata({"vidfer": json.dumps(about)}), "conversation.parquet")
    told = summarize_table(Path("conversation.parquet"))
    shares, changes, *others = (duckdb.sql(block).fetchall() for block in blocks("sql"))
    seconds = {face.face_id: 0.0 for face in told.faces}
    for face_id, emotion, time_s, share in shares:
        seconds[face_id] += time_s
        assert told.faces[face_id].smooth.share[EMOTIONS.index(emotion)] == pytest.approx(share)
    assert list(seconds.values()) == pytest.approx([face.measured_s for face in told.faces], abs=0.25 * stride)
    wanted = {
        (face.face_id, EMOTIONS[i], EMOTIONS[j], int(face.transitions[i, j]))
        for face in told.faces
        for i, j in zip(*face.transitions.nonzero(), strict=True)
    }
    assert set(changes) == wanted
    assert [len(rows) for rows in others] == [1, 1]
    assert others[-1] == [("conversation.mp4",)]


def test_the_python_of_the_docs_runs(here, capsys):
    for block in blocks("python"):
        exec(compile(block, "docs", "exec"), {})
    out = capsys.readouterr().out
    assert "valence_smooth" in out
    assert "valence_change" in out


def test_columns_named_in_the_r_recipe_exist():
    columns = set(pd.read_parquet(EXAMPLES / "conversation.parquet").columns)
    used = set(re.findall(r"\b(face_id|frame|timestamp|emotion\w*|valence\w*|arousal\w*)\b", "".join(blocks("r"))))
    assert used <= columns
    assert len(used) >= 5
