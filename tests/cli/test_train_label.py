"""`vidfer train label`: what it takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
sys.path.append(str(Path(__file__).parents[1] / "train"))

import layouts

from vidfer.cli import app as cli
from vidfer.train.datasets.table import read_table
from vidfer.vision.session import model_path

TEACHER = ("--teacher", model_path("face_analyzer"))


def run(*args):
    return cli.run(["train", "label", *map(str, args)])


def test_pictures_of_a_folder_get_soft_labels(tmp_path, capfd):
    for i in range(3):
        layouts.save(tmp_path / "p" / f"{i}.png", i)
    (tmp_path / "p" / "broken.jpg").write_bytes(b"x")
    assert run(tmp_path / "p", "-o", tmp_path / "t.parquet", *TEACHER, "--device", "cpu") == 0
    shown = capfd.readouterr().out
    assert ["teacher_va", "3"] in [line.split() for line in shown.splitlines()]
    assert "1 x picture cannot be decoded; the first: broken.jpg" in shown
    out = read_table([tmp_path / "t.parquet"], "train")
    np.testing.assert_allclose(out.teacher.sum(1), 1, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "t.parquet"]


def test_a_folder_without_pictures_is_told_by_the_name_of_the_table_that_was_asked_for(tmp_path, capfd):
    (tmp_path / "p").mkdir()
    assert run(tmp_path / "p", "-o", tmp_path / "t.parquet", *TEACHER, "--device", "cpu") == 3
    assert "no row is left for t.parquet (there was none to begin with)\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 2, "nothing to label with: give --mediapipe-python"),
        (("--mediapipe-python", "nowhere/python"), 2, "give a Python that has it"),
        ((*TEACHER, "--teacher-mean", "a,b"), 2, "--teacher-mean a,b: give numbers"),
        ((*TEACHER, "--teacher-std", "0"), 2, "must be greater than 0"),
        ((*TEACHER, "--points", "7"), 2, "--points must be 4, 5 or 15, got 7"),
        (("--teacher", "nowhere.onnx"), 1, "cannot read the network nowhere.onnx: No such file or directory"),
        (TEACHER, 3, "no training table and no folder at"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, capfd, args, code, words):
    given = tmp_path / "nowhere.parquet"
    if args and args != TEACHER:
        given = tmp_path
        layouts.save(tmp_path / "0.png", 0)
    assert run(given, "-o", tmp_path / "t.parquet", *args) == code
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "t.parquet").exists()
