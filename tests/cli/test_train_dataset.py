"""`vidfer train dataset`: options reach the table, and what is printed is what stands in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "train"))

import layouts

from vidfer.cli import app as cli
from vidfer.cli.train import dataset
from vidfer.train.datasets.build import FORMATS
from vidfer.train.datasets.table import read_table


@pytest.fixture
def photos(tmp_path):
    for i in range(30):
        layouts.save(tmp_path / "photos" / ("happy", "sad", "odd")[i % 3] / f"p{i // 6}_{i}.png", i)
    (tmp_path / "photos/sad/broken.png").write_bytes(b"x")
    return tmp_path / "photos"


def run(*args):
    return cli.run(["train", "dataset", *map(str, args)])


OPTIONS = ("--class", "odd=fear", "--group", r"(p\d)_", "--val-share", "0.2", "--set", "mine", "--seed", "3")


def test_a_folder_becomes_a_table_and_the_classes_of_each_split_are_printed(photos, tmp_path, capfd):
    table = tmp_path / "t.parquet"
    assert run("folders", photos, "-o", table, *OPTIONS) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["train", "val"]
    assert lines[1].split() == ["rows", "24", "6"]
    assert lines[2].split() == ["groups", "4", "1"]
    assert ["fear", "8", "2"] in [line.split() for line in lines]
    assert "  1 x picture cannot be decoded; the first: sad/broken.png" in lines
    assert set(read_table([table], "train").set_name) == {"mine"}
    assert run("folders", photos, "-o", table, "--class", "odd=-", "--overwrite", "--json") == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["rows"] == 20
    assert summary["splits"]["train"]["emotion"] == {"happiness": 9, "sadness": 9}


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 3, "'odd' is no expression"),
        (("--class", "odd=joyful"), 2, "--class odd=joyful: give NAME=EMOTION with one of neutral"),
        (("--class", "odd=-", "--group", "("), 2, "no regular expression"),
        (("--class", "odd=-", "--val-share", "1"), 2, "--val-share must be from 0"),
        (("--class", "odd=-", "--needs", "joy"), 2, "no such label; choose from emotion"),
        (
            ("--class", "odd=-", "--needs", "box"),
            3,
            "no row is left for t.parquet (left out were: 21 x no box (the first: happy/p0_0.png)",
        ),
        (("--class", "odd=-", "--group", "^(anna)"), 2, "--group ^(anna) finds nothing in the name of any picture"),
        (("--only-set", "mine"), 2, "--only-set means nothing to folders: it is for parquet"),
        (("--emotion", "mood"), 2, "--emotion means nothing to folders: it is for parquet"),
        (("--images", "."), 2, "--images means nothing to folders: it is for affectnet, ibug, mesh"),
    ],
)
def test_what_cannot_be_used_is_one_line(photos, tmp_path, capfd, args, code, words):
    assert run("folders", photos, "-o", tmp_path / "t.parquet", *args) == code
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "t.parquet").exists()


def test_a_table_is_replaced_only_when_told(photos, tmp_path, capfd):
    (tmp_path / "t.parquet").write_text("precious")
    assert run("folders", photos, "-o", tmp_path / "t.parquet", *OPTIONS) == 2
    assert "is there already: choose --overwrite" in capfd.readouterr().err
    assert (tmp_path / "t.parquet").read_text() == "precious"
    assert run("folders", photos, "-o", tmp_path / "no" / "t.parquet", *OPTIONS) == 1
    assert "there is no folder" in capfd.readouterr().err


def test_a_table_has_the_name_of_a_table(photos, tmp_path, capfd):
    assert run("folders", photos, "-o", tmp_path / "t.png", *OPTIONS) == 2
    assert "give -o a name that ends in .parquet, got" in capfd.readouterr().err
    assert not (tmp_path / "t.png").exists()


def test_the_command_line_knows_every_format():
    assert set(dataset.FORMATS) == set(FORMATS)
