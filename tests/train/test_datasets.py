"""Every data set from a tiny copy of its layout: labels arrive where they belong, and what is bad is counted."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidfer.errors import DataError, UsageError
from vidfer.train.datasets.build import FORMATS, BuildOptions, build_table
from vidfer.train.datasets.rows import SPLITS, Face, Labels
from vidfer.train.datasets.samples import NO_GROUP, Source
from vidfer.train.datasets.splits import SplitOptions
from vidfer.train.datasets.table import read_table, write_table
from vidfer.types import EMOTIONS
from vidfer.vision.pose import mean_mesh


def build(tmp_path, kind, *paths, source=None, **options):
    """(rows by split, summary) of a data set."""
    table = tmp_path / "table.parquet"
    summary = build_table(kind, paths, table, source or Source(), BuildOptions(**options))
    splits = {split: read_table([table], split) for split in SPLITS if split in summary["splits"]}
    assert sum(map(len, splits.values())) == summary["rows"]
    return splits, summary


NO_VAL = {"split": SplitOptions(val_share=0)}


def names(rows):
    return [EMOTIONS[i] if i >= 0 else None for i in rows.emotion]


AFFECT = [
    *((0, 0.1, 0.2), (7, -0.5, 0.5)),
    *((8, 0.3, -0.3), (9, -2, -2), (10, -2, -2)),
    *((11, 0, 0), (1, 1.5, 0), (2, "nan", 0), ("nan", 0, 0), ("inf", 0, 0)),
]


def check_affectnet(splits, summary):
    train = splits["train"]
    assert names(train) == ["neutral", "contempt", None]
    np.testing.assert_allclose(train.valence_arousal, [[0.1, 0.2], [-0.5, 0.5], [0.3, -0.3]], atol=1e-6)
    assert names(splits["val"]) == ["happiness"]
    assert np.isnan(splits["val"].valence_arousal).all()
    np.testing.assert_allclose(train.points[68][1], layouts.points(68, 1), atol=1e-4)
    assert summary["left_out"] == {
        "valence_arousal is not two numbers from -1 to 1": 2,
        "neither expression nor valence": 1,
        "no face": 1,
        "expression is not one of 0 to 10": 3,
    }


def test_affectnet_as_a_folder(tmp_path):
    root = layouts.affectnet_npy(tmp_path / "a", {"train_set": AFFECT, "val_set": [(1, -2, -2)]})
    check_affectnet(*build(tmp_path, "affectnet", root))
    assert len(build(tmp_path, "affectnet", root / "val_set", needs=("emotion",))[0]["val"]) == 1


def test_affectnet_as_lists(tmp_path):
    lists = [layouts.affectnet_csv(tmp_path, "training", AFFECT)]
    lists += [layouts.affectnet_csv(tmp_path, "validation", [(1, -2, -2)])]
    splits, summary = build(tmp_path, "affectnet", *lists, source=Source(images=tmp_path / "pictures"))
    check_affectnet(splits, summary)
    np.testing.assert_array_equal(splits["train"].box_px[0], [3, 4, 33, 35])


def test_rows_of_affectnet_with_a_box_or_points_that_say_nothing_keep_their_expression(tmp_path):
    file = layouts.affectnet_csv(tmp_path, "training", [(k, 0.1, 0.2) for k in range(6)])
    header, *lines = (line.split(",") for line in file.read_text().splitlines())
    lines[0][1:5] = ["NULL"] * 4
    lines[1][1:5] = ["3", "4", "-5", "6"]
    lines[2][1:5] = ["3", "4", "5", ""]
    lines[3][1:5] = [""] * 4
    lines[4][5] = "NULL"
    file.write_text("\n".join(map(",".join, [header, *lines])))
    splits, summary = build(tmp_path, "affectnet", file, source=Source(images=tmp_path / "pictures"), **NO_VAL)
    assert names(splits["train"]) == list(EMOTIONS[:6])
    assert np.isnan(splits["train"].box_px).all(1).tolist() == [True] * 4 + [False] * 2
    assert np.isnan(splits["train"].points[68]).all((1, 2)).tolist() == [False] * 4 + [True, False]
    assert summary["left_out"] == {}
    assert summary["labels_left_out"] == {"box has no size or is no number": 3, "not 68 points": 1}


def test_annotations_of_affectnet_that_are_missing_or_no_numbers_are_counted(tmp_path):
    root = layouts.affectnet_npy(tmp_path / "a", {"val_set": [(1, 0, 0)] * 4})
    (root / "val_set/annotations/1_val.npy").unlink()
    (root / "val_set/annotations/2_exp.npy").write_bytes(b"junk")
    # What an array of objects holds is a program (pickle) and is never run.
    np.save(root / "val_set/annotations/3_aro.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert build(tmp_path, "affectnet", root)[1]["left_out"] == {"annotation is missing or damaged": 3}


FER = [[3, layouts.pixels(1), "Training"], [0, layouts.pixels(2), "PublicTest"], [6, layouts.pixels(3), "PrivateTest"]]


def test_fer2013(tmp_path):
    bad = [[7, layouts.pixels(4), "Training"], [1, "1 2 3", "Training"], [1, layouts.pixels(5) + "x", "Training"]]
    bad += [[1, layouts.pixels(6), "Other"], [1]]
    splits, summary = build(tmp_path, "fer2013", layouts.fer2013(tmp_path, FER + bad))
    assert {split: names(rows) for split, rows in splits.items()} == {
        "train": ["happiness"],
        "val": ["anger"],
        "test": ["neutral"],
    }
    np.testing.assert_array_equal(splits["train"].picture(0), layouts.picture(1, 48)[..., 0])
    assert sum(summary["left_out"].values()) == len(bad)
    assert summary["left_out"]["pixels are not 2304 numbers from 0 to 255"] == 2
    assert summary["first"]["emotion is not one of 0 to 6"] == "fer2013.csv, line 5"


def test_fer2013_keeps_copies_out_of_train(tmp_path):
    noisy = np.clip(layouts.picture(3, 48)[..., 0].astype(int) + 1, 0, 255)
    copies = [[6, layouts.pixels(2), "Training"], [6, " ".join(map(str, noisy.ravel())), "Training"]]
    table = layouts.fer2013(tmp_path, FER + copies)
    splits, summary = build(tmp_path, "fer2013", table)
    assert len(splits["train"]) == 1
    assert summary["left_out"] == {"its group is in val or test": 1, "val or test has a copy of the picture": 1}
    assert len(build(tmp_path, "fer2013", table, keep_copies=True)[0]["train"]) == 2


def test_ferplus_votes_become_shares(tmp_path):
    layouts.fer2013(tmp_path, [[0, layouts.pixels(i), "Training"] for i in range(5)])
    votes = [[0, 8, 0, 0, 0, 0, 0, 2, 0, 0], [0, 0, 5, 0, 0, 0, 5, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 3, 6]]
    votes += [[2, 0, 0, 0, 0, 0, 0, 0, 8, 0], [1, 0, 0, 4, 0, 0, 0, 0, 4, 1]]
    splits, summary = build(tmp_path, "ferplus", layouts.ferplus(tmp_path, votes), **NO_VAL)
    train = splits["train"]
    assert names(train) == ["happiness", None, None]
    np.testing.assert_allclose(train.votes[0, [1, 7]], [0.8, 0.2])
    np.testing.assert_allclose(train.votes[1, [3, 4]], [0.5, 0.5])
    np.testing.assert_allclose(train.votes[2, [0, 2]], [0.2, 0.8])
    assert summary["left_out"] == {"no face, as most raters say": 1, "expression unknown, as most raters say": 1}


def test_ferplus_needs_both_files_with_the_same_lines(tmp_path):
    votes = layouts.ferplus(tmp_path, [[10] + [0] * 9] * 2)
    with pytest.raises(DataError, match=r"fer2013.csv is missing .*pixels"):
        build(tmp_path, "ferplus", votes)
    layouts.fer2013(tmp_path, FER)
    with pytest.raises(DataError, match="have not the same lines"):
        build(tmp_path, "ferplus", tmp_path)
    # As many usable lines, but not the same ones: votes must not move to the pictures of others.
    layouts.fer2013(tmp_path, [FER[0], [1], *FER[1:]])
    votes = layouts.ferplus(tmp_path, [[10] + [0] * 9] * 4)
    lines = votes.read_text().splitlines()
    votes.write_text("\n".join([*lines[:3], "Training", lines[4]]))
    with pytest.raises(DataError, match="have not the same lines"):
        build(tmp_path, "ferplus", tmp_path)


def test_folders_are_annotations(tmp_path):
    for i, name in enumerate(["happy", "Anger", "SURPRISED", "joy"]):
        layouts.save(tmp_path / "f" / name / f"{i}.png", i)
    (tmp_path / "f/joy/notes.txt").write_text("x")
    (tmp_path / "f/joy/broken.jpg").write_bytes(b"\xff\xd8\xffno")
    (tmp_path / "f/joy/empty.jpg").write_bytes(b"")
    (tmp_path / "f/joy/.hidden.jpg").write_bytes(b"")
    splits, summary = build(tmp_path, "folders", tmp_path / "f", **NO_VAL)
    assert sorted(names(splits["train"])) == ["anger", "happiness", "happiness", "surprise"]
    assert summary["left_out"] == {"not a picture": 1, "picture cannot be decoded": 2}


def test_damaged_pictures_are_counted_and_nobody_else_speaks_of_them(tmp_path, capfd):
    for i, name in enumerate(["a.bmp", "b.bmp"]):
        layouts.save(tmp_path / "f/fear" / name, i)
    whole = (tmp_path / "f/fear/a.bmp").read_bytes()
    (tmp_path / "f/fear/a.bmp").write_bytes(whole[: len(whole) // 2])
    assert build(tmp_path, "folders", tmp_path / "f", **NO_VAL)[1]["left_out"] == {"picture cannot be decoded": 1}
    assert capfd.readouterr().err == ""


def test_folders_that_are_hidden_or_links_are_not_read(tmp_path):
    layouts.save(tmp_path / "f/fear/a.png", 1)
    layouts.save(tmp_path / "f/fear/.ipynb_checkpoints/a-checkpoint.png", 1)  # a copy, as notebooks make them
    layouts.save(tmp_path / "elsewhere/b.png", 2)
    (tmp_path / "f/fear/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "f/anger").symlink_to(tmp_path / "elsewhere")  # a class, which the user named
    splits, summary = build(tmp_path, "folders", tmp_path / "f", **NO_VAL)
    assert sorted(splits["train"].group.tolist()) == ["anger/b.png", "fear/a.png"]
    assert summary["left_out"] == {"folder is a link, which is not followed": 1}
    assert summary["first"]["folder is a link, which is not followed"] == "fear/more"


def test_folders_with_splits_and_persons(tmp_path):
    for i, name in enumerate(["train/happy/ann_1", "train/sad/ann_2", "validation/happy/bob_1", "train/sad/bob_2"]):
        layouts.save(tmp_path / "f" / f"{name}.png", i)
    splits, summary = build(tmp_path, "folders", tmp_path / "f", source=Source(group=re.compile(r"([a-z]+)_\d")))
    assert (splits["train"].group.tolist(), splits["val"].group.tolist()) == (["ann", "ann"], ["bob"])
    assert summary["left_out"] == {"its group is in val or test": 1}


def test_a_person_is_one_group_in_all_classes_and_pictures_of_nobody_are_counted(tmp_path):
    for i, name in enumerate(["happy/ann_1", "sad/ann_2", "happy/bob/3", "sad/bob/4", "sad/5"]):
        layouts.save(tmp_path / "f" / f"{name}.png", i)
    told = Source(group=re.compile(r"^([a-z]+)_|^([a-z]+)/"))
    splits, summary = build(tmp_path, "folders", tmp_path / "f", source=told, **NO_VAL)
    assert sorted(splits["train"].group) == ["ann", "ann", "bob", "bob", "sad/5.png"]
    assert summary["labels_left_out"] == {NO_GROUP: 1}
    assert summary["first"] == {NO_GROUP: "sad/5.png"}


def test_unknown_classes_are_refused_with_the_nearest(tmp_path):
    layouts.save(tmp_path / "f/happines/1.png", 1)
    layouts.save(tmp_path / "f/bored/1.png", 1)
    with pytest.raises(DataError, match=r"'bored' is no expression; .*--class bored=EMOTION"):
        build(tmp_path, "folders", tmp_path / "f")
    classes = {"Bored": None}
    with pytest.raises(DataError, match="'happines' is no expression; the nearest known name is happiness"):
        build(tmp_path, "folders", tmp_path / "f", source=Source(classes=classes))
    splits, _ = build(
        tmp_path, "folders", tmp_path / "f", source=Source(classes=classes | {"happines": "happiness"}), **NO_VAL
    )
    assert names(splits["train"]) == ["happiness"]


def test_ibug_as_xml(tmp_path):
    faces = [(f"a/{i}.jpg", (2, 3, 30, 31), layouts.points(68, i)) for i in range(3)]
    faces += [("a/0_mirror.jpg", (2, 3, 30, 31), layouts.points(68, 9)), ("a/few.jpg", (0, 0, 9, 9), np.ones((5, 2)))]
    faces += [("a/flat.jpg", (0, 0, 0, 9), layouts.points(68, 1))]
    xml = layouts.ibug_xml(tmp_path / "labels_ibug_300W_train.xml", faces)
    test = layouts.ibug_xml(
        tmp_path / "labels_ibug_300W_test.xml", [("b/x.png", (1, 1, 30, 30), layouts.points(68, 7))]
    )
    splits, summary = build(tmp_path, "ibug", xml, test, **NO_VAL)
    np.testing.assert_allclose(splits["train"].points[68][1], layouts.points(68, 1), atol=1e-4)
    np.testing.assert_array_equal(splits["train"].box_px[0], [2, 3, 32, 34])
    assert splits["train"].group.tolist() == ["a/0", "a/1", "a/2", "a/0"]
    assert splits["test"].group.tolist() == ["b/x"]
    assert summary["left_out"] == {"not 68 points": 1, "box has no size or is no number": 1}


def test_ibug_as_points_files_counts_from_one(tmp_path):
    where = {"lfpw/trainset/1": 1, "lfpw/testset/2": 2}
    for name, seed in where.items():
        layouts.pts(tmp_path / "w" / f"{name}.pts", layouts.points(68, seed))
    (tmp_path / "w/lonely.pts").write_text("{\n1 2\n}")
    layouts.pts(tmp_path / "w/few.pts", layouts.points(5))
    splits, summary = build(tmp_path, "ibug", tmp_path / "w", **NO_VAL)
    truth = layouts.points(68, 1)
    np.testing.assert_allclose(splits["train"].points[68][0], truth, atol=1e-3)
    np.testing.assert_allclose(splits["train"].box_px[0], [*truth.min(0) + 0.5, *truth.max(0) + 0.5], atol=1e-3)
    assert len(splits["test"]) == 1
    assert summary["left_out"] == {"not 68 points": 1, "picture is missing": 1}


def test_where_the_folder_of_points_files_lies_says_nothing_about_splits(tmp_path, monkeypatch):
    folder = tmp_path / "test" / "w"
    layouts.pts(folder / "1.pts", layouts.points(68, 1))
    layouts.pts(folder / "TrainSet/2.pts", layouts.points(68, 2))
    (folder / "TrainSet/2.png").rename(folder / "TrainSet/2.PNG")
    assert set(build(tmp_path, "ibug", folder, **NO_VAL)[0]) == {"train"}
    monkeypatch.chdir(layouts.pts(tmp_path / "testset/3.pts", layouts.points(68, 3)).parent)
    assert set(build(tmp_path, "ibug", Path(), **NO_VAL)[0]) == {"test"}


@pytest.mark.parametrize("text", ["<!DOCTYPE d [<!ENTITY a 'aaaa'>]><dataset>&a;</dataset>", "<dataset>", "<d/>"])
def test_xml_with_a_document_type_or_without_end_or_boxes_is_refused(tmp_path, text):
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(DataError, match=r"x\.xml (has a document type|is no XML file|holds no <box>)"):
        build(tmp_path, "ibug", tmp_path / "x.xml")


def test_keypoints_with_missing_points(tmp_path):
    whole, part, none = layouts.points(15, 1, 96), layouts.points(15, 2, 96), np.full((15, 2), np.nan)
    part[[2, 5]] = np.nan
    half = layouts.points(15, 3, 96)
    half[4, 0] = np.nan
    lines = [(p, layouts.pixels(i, 96)) for i, p in enumerate([whole, part, none, half])] + [(whole, "1 2")]
    splits, summary = build(tmp_path, "keypoints", layouts.keypoints(tmp_path, lines), **NO_VAL)
    found = splits["train"].points[15]
    np.testing.assert_allclose(found[:2], [whole, part], atol=1e-4)
    assert np.isnan(found[2]).sum() == 2
    assert splits["train"].picture(0).shape == (96, 96)
    assert summary["left_out"] == {"Image is not 9216 numbers from 0 to 255": 1, "points15 are all missing": 1}


def test_mesh_lists(tmp_path):
    mesh = np.random.default_rng(0).uniform(5, 35, (478, 3)).round(2)
    line = {"image": "p/1.jpg", "expression": "Happy", "box": [1, 2, 30, 31], "mesh": mesh, "group": "ann"}
    broken = mesh.copy()
    broken[3, 1] = np.nan
    lines = [line, line | {"image": "p/2.jpg", "expression": ""}, {"image": "p/3.jpg", "expression": "fear"}]
    lines += [line | {"image": "p/4.jpg", "mesh": broken}, line | {"image": "p/5.jpg", "box": [1, 2, "x", 4]}]
    lines += [line | {"image": "p/6.jpg", "split": "later"}]
    splits, summary = build(tmp_path, "mesh", layouts.mesh_csv(tmp_path, lines), points=(4, 15), **NO_VAL)
    train = splits["train"]
    assert names(train) == ["happiness", None, "fear"]
    assert train.group.tolist() == ["ann", "ann", "p/3.jpg"]
    np.testing.assert_allclose(train.points[478][0], mesh, atol=1e-4)
    np.testing.assert_allclose(train.points[4][0], mesh[[468, 473, 61, 291], :2], atol=1e-4)
    assert np.isnan(train.box_px[2]).all()
    assert summary["left_out"] == {
        "points478 are not all numbers": 1,
        "a value is no number": 1,
        "split is not train, val or test": 1,
    }


@pytest.mark.parametrize("kind", ["affectnet", "ibug", "mesh"])
def test_lists_name_no_pictures_outside_of_their_folder(tmp_path, kind):
    folder, outside = tmp_path / "given", layouts.save(tmp_path / "mine" / "secret.jpg", 1)
    if kind == "affectnet":
        path = layouts.affectnet_csv(folder, "training", [(1, 0, 0)] * 4)
        names = ["pictures/0/training0.jpg", "../mine/secret.jpg", str(outside), "pictures/../../mine/secret.jpg"]
        lines = path.read_text().splitlines()
        told = [name + line[line.index(",") :] for name, line in zip(names, lines[1:], strict=True)]
        path.write_text("\n".join([lines[0], *told]))
    elif kind == "ibug":
        face = ((3, 4, 30, 31), layouts.points(68))
        folder.mkdir()
        path = layouts.ibug_xml(folder / "all.xml", [(f"{k}.jpg", *face) for k in range(4)])
        text = path.read_text().replace("file='1.jpg'", "file='../mine/secret.jpg'")
        text = text.replace("file='2.jpg'", f"file='{outside}'").replace(
            "file='3.jpg'", "file='p/../../mine/secret.jpg'"
        )
        path.write_text(text)
    else:
        line = {"expression": "fear"}
        path = layouts.mesh_csv(folder, [line | {"image": f"{k}.jpg"} for k in range(4)])
        text = path.read_text().replace("\n1.jpg", "\n../mine/secret.jpg").replace("\n2.jpg", f"\n{outside}")
        path.write_text(text.replace("\n3.jpg", "\np/../../mine/secret.jpg"))
    reason = "picture is outside of the list's folder or --images"
    assert build(tmp_path, kind, path, **NO_VAL)[1]["left_out"] == {reason: 3}
    wide = build(tmp_path, kind, path, source=Source(images=Path("/")), keep_copies=True, **NO_VAL)[1]
    assert (wide["rows"], wide["left_out"]) == (1, {"picture is missing": 3})  # an absolute name is inside of /


def made_table(path, rows):
    faces = [
        Face(
            image=cv2.imencode(".png", layouts.picture(i))[1].tobytes(),
            size=(40, 40),
            set_name=name,
            split=split,
            group=f"g{i}",
            labels=labels,
        )
        for i, (name, split, labels) in enumerate(rows)
    ]
    write_table(path, faces)
    return path


def test_training_tables_go_through_unchanged(tmp_path):
    full = Labels(
        emotion="fear",
        votes=np.eye(8, dtype=np.float32)[4],
        valence_arousal=(0.5, -0.5),
        box=(1.0, 2.0, 30.0, 31.0),
        points={5: layouts.points(5).astype(np.float32)},
        teacher=np.full(8, 0.125, np.float32),
        teacher_va=(0.1, 0.2),
        face_found=True,
    )
    path = made_table(tmp_path / "in.parquet", [("a", "train", full), ("b", "val", Labels()), ("a", "test", full)])
    splits, _ = build(tmp_path, "parquet", path)
    before = read_table([path], "train")
    for name in ("votes", "valence_arousal", "box_px", "teacher", "teacher_va", "emotion", "face_found"):
        np.testing.assert_array_equal(getattr(splits["train"], name), getattr(before, name))
    np.testing.assert_array_equal(splits["train"].points[5], before.points[5])
    assert list(splits["train"].images) == list(before.images)
    assert [len(rows) for rows in splits.values()] == [1, 1, 1]
    few, summary = build(
        tmp_path, "parquet", path, source=Source(sets=("a",)), needs=("votes",), without=("box", "points5")
    )
    assert set(few) == {"train", "test"}
    assert set(summary["splits"]["test"]["labels"]) == {"emotion", "votes", "valence_arousal", "teacher", "teacher_va"}


def test_tables_of_others_need_a_picture_only(tmp_path):
    images = [cv2.imencode(".bmp", layouts.picture(i))[1].tobytes() for i in range(2)]
    plain = pa.table({"image": images, "label7": ["angry", "happy"], "emotion": ["anger", "bored"]})
    pq.write_table(plain, tmp_path / "p.parquet")
    splits, summary = build(tmp_path, "parquet", tmp_path / "p.parquet", **NO_VAL)
    assert names(splits["train"]) == ["anger"]
    assert splits["train"].images[0].startswith(b"\x89PNG")
    assert summary["left_out"] == {"emotion is not one of the eight": 1}
    with pytest.raises(DataError, match="lacks the column xyzzy; it has image, label7"):
        build(tmp_path, "parquet", tmp_path / "p.parquet", source=Source(emotion="xyzzy"))


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("image", [{"bytes": b"", "path": "a"}] * 2, "image must hold binary, got struct<bytes: binary, path: string>"),
        ("valence", ["0.1", "x"], "valence must hold float, got string"),
        ("votes", [["a"] * 8] * 2, "votes must hold list<.*>, got list<.*string>"),
        ("points4", [1.0, 2.0], "points4 must hold list<.*>, got double"),
    ],
)
def test_columns_of_other_kinds_are_named(tmp_path, column, values, says):
    images = [cv2.imencode(".png", layouts.picture(i))[1].tobytes() for i in range(2)]
    pq.write_table(pa.table({"image": images, column: values}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=rf"p\.parquet: column {says}") as caught:
        build(tmp_path, "parquet", tmp_path / "p.parquet")
    assert "\n" not in str(caught.value)


def test_numbers_may_name_sets_and_groups(tmp_path):
    images = [cv2.imencode(".png", layouts.picture(i))[1].tobytes() for i in range(2)]
    table = pa.table({"image": images, "set": [7, 7], "group": [1, 2], "face_found": [1, 0], "valence": [0, 1]})
    pq.write_table(table.append_column("arousal", pa.array([0.5, -0.5])), tmp_path / "p.parquet")
    train = build(tmp_path, "parquet", tmp_path / "p.parquet", source=Source(sets=("7",)), **NO_VAL)[0]["train"]
    assert (train.set_name.tolist(), train.group.tolist(), train.face_found.tolist()) == (["7"] * 2, ["1", "2"], [1, 0])
    np.testing.assert_array_equal(train.valence_arousal, [[0, 0.5], [1, -0.5]])


def known_faces(folder, rows):
    """A small `faces.parquet`: rows are changes of a usual one; meshes are the mean mesh, turned or not."""
    basis = np.zeros((2, 478, 3), np.float16)
    np.savez(folder / "mesh_basis.npz", mean=mean_mesh()[0].astype(np.float32), basis=basis)
    usual = {
        "set": "ferplus",
        "split": "train",
        "label": None,
        "label7": "anger",
        "valence": None,
        "arousal": None,
        "votes": [0, 8, 0, 0, 0, 0, 0, 2, 0, 0],
        "points68": None,
        "points5": None,
        "mesh_coef": [0.0, 0.0],
        "mesh_frame": [24.0, 20.0, 20.0, 0.0],
        "soft8": [0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0],
        "soft_va": [0.25, -1.01],
    }
    told = []
    for i, row in enumerate(rows):
        picture = cv2.imencode(".png", layouts.picture(row.pop("picture", i)))[1].tobytes()
        told.append(usual | {"image": picture, "group": f"g{i}"} | row)
    pq.write_table(pa.Table.from_pylist(told), folder / "faces.parquet")
    return folder / "faces.parquet"


def test_the_faces_of_the_packaged_networks(tmp_path):
    frame = np.array([24.0, 20.0, 20.0, 0.0])
    mesh = mean_mesh()[0] * 20 + (24, 20, 0)
    five = mesh[[468, 473, 4, 61, 291], :2]
    rows = [
        {"points5": (five + 0.5).ravel().tolist()},
        {"points5": (five + 9).ravel().tolist(), "votes": [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]},
        {"mesh_frame": [*frame[:3], 2.0], "votes": [0, 0, 0, 0, 0, 0, 0, 0, 2, 8]},
        {"set": "lfpw", "votes": None, "label7": None, "points68": layouts.points(68).ravel().tolist()},
        {"set": "affectnet", "votes": None, "label7": None, "label": "contempt", "valence": 0.1, "arousal": 0.2}
        | {"points68": layouts.points(68).ravel().tolist(), "mesh_coef": None, "mesh_frame": None},
        {"picture": 0},
        {"split": "val", "picture": 99},
    ]
    path = known_faces(tmp_path, rows)
    splits, summary = build(tmp_path, "parquet", path, points=(4,), keep_copies=True)
    train = splits["train"]
    assert names(train) == ["happiness", None, None, None, "contempt", "happiness"]
    np.testing.assert_allclose(train.votes[0, [1, 7]], [0.8, 0.2])
    np.testing.assert_allclose(train.points[478][0], mesh, atol=1e-4)
    np.testing.assert_allclose(train.points[5][0], five + 0.5, atol=1e-4)
    np.testing.assert_allclose(train.points[4][1], five[[0, 1, 3, 4]], atol=1e-4)
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    np.testing.assert_allclose(train.box_px[0], [*low + 0.5, *high + 0.5], atol=1e-4)
    assert train.face_found.tolist() == [1, 1, 0, 1, 0, 1]
    assert [bool(np.isfinite(train.points[68][i]).all()) for i in (3, 4)] == [True, False]
    np.testing.assert_allclose(train.teacher[0, :3], [0.5, 0.25, 0.25])
    np.testing.assert_allclose(train.teacher_va[0], [0.25, -1])
    assert train.group[5] == train.group[0]
    assert summary["labels_left_out"] == {
        "five points that do not agree with the mesh": 1,
        "mesh of an upright face turned by more than 60 degrees": 1,
        "no face, as most raters say": 1,
    }
    sets = Source(emotion="label7", sets=("ferplus",))
    again, _ = build(tmp_path, "parquet", path, source=sets, keep_copies=True)
    assert names(again["train"]) == ["anger"] * 4
    assert np.isnan(again["train"].votes).all()


def test_the_faces_of_the_packaged_networks_need_their_basis_and_columns(tmp_path):
    path = known_faces(tmp_path, [{}])
    (tmp_path / "mesh_basis.npz").unlink()
    with pytest.raises(DataError, match=r"mesh_basis\.npz is not beside it"):
        build(tmp_path, "parquet", path)
    pq.write_table(pq.read_table(path).drop_columns(["soft8"]), path)
    with pytest.raises(DataError, match="lacks soft8"):
        build(tmp_path, "parquet", path)


def test_large_pictures_are_cut_to_the_face_and_labels_move_along(tmp_path):
    # A dark picture with a white square for a face, and points on its corners.
    image = np.zeros((300, 500, 3), np.uint8)
    image[100:160, 300:360] = 255
    layouts.save(tmp_path / "p.png", 1)
    (tmp_path / "p.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    corners = np.array([[300, 100], [359, 100], [300, 159], [359, 159], [330, 130]], np.float32)
    given = pa.table(
        {"image": [(tmp_path / "p.png").read_bytes()], "points5": [corners.ravel().tolist()]}
        | {
            name: [float(v)]
            for name, v in zip(("face_x", "face_y", "face_w", "face_h"), (300, 100, 60, 60), strict=True)
        }
    )
    pq.write_table(given, tmp_path / "in.parquet")
    splits, _ = build(tmp_path, "parquet", tmp_path / "in.parquet", longest=64, **NO_VAL)
    train = splits["train"]
    assert train.size_px.tolist() == [[64, 64]]
    x0, y0, x1, y1 = np.round(train.box_px[0]).astype(int)
    pixels = train.picture(0)
    assert pixels[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 200
    assert pixels[: y0 - 2].max() < 50
    assert pixels[:, x1 + 2 :].max() < 50
    np.testing.assert_allclose(train.points[5][0, 0] + 0.5, train.box_px[0, :2], atol=0.3)
    np.testing.assert_allclose(train.points[5][0, 3] + 0.5, train.box_px[0, 2:], atol=0.3)
    untouched, _ = build(tmp_path, "parquet", tmp_path / "in.parquet", longest=500, **NO_VAL)
    assert list(untouched["train"].images) == given["image"].to_pylist()


NOWHERE = {
    "affectnet": "nowhere is not there: AffectNet is a folder",
    "fer2013": "cannot read",
    "ferplus": "fer2013.csv is missing",
    "folders": "no folder at",
    "ibug": "cannot read",
    "keypoints": "cannot read",
    "mesh": "cannot read",
    "parquet": "no Parquet file at",
    "pictures": "no folder at",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_not_there_is_one_line(tmp_path, kind):
    with pytest.raises(DataError, match=NOWHERE[kind]):
        build(tmp_path, kind, tmp_path / "nowhere")
    assert not list(tmp_path.glob("table*"))


def test_a_folder_of_affectnet_that_lacks_one_names_it(tmp_path):
    (tmp_path / "a/images").mkdir(parents=True)
    with pytest.raises(DataError, match="a lacks the folder annotations: AffectNet is"):
        build(tmp_path, "affectnet", tmp_path / "a")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("affectnet", "subDirectory_filePath, expression, valence, arousal"),
        ("fer2013", "emotion, pixels, Usage"),
        ("keypoints", "left_eye_center_x, left_eye_center_y, .* and 19 more"),
        ("mesh", "image, expression, box_x, .* and 1428 more"),
    ],
)
def test_missing_columns_are_named(tmp_path, kind, missing):
    path = layouts.write_csv(tmp_path / "x.csv", ["a", "b"], [[1, 2]])
    with pytest.raises(DataError, match=rf"x\.csv lacks the columns {missing}; it has a, b"):
        build(tmp_path, kind, path)


def test_a_set_without_one_usable_row_says_why(tmp_path):
    root = layouts.affectnet_npy(tmp_path / "a", {"val_set": [(10, -2, -2), (12, 0, 0)]})
    with pytest.raises(DataError, match="no row is left") as error:
        build(tmp_path, "affectnet", root)
    assert "1 x no face (the first: val_set/images/0.jpg)" in " ".join(error.value.__notes__)


@pytest.mark.parametrize(
    "options",
    [{"needs": ("joy",)}, {"without": ("points7",)}, {"points": (68,)}, {"longest": 5}],
)
def test_options_that_cannot_be_used_are_refused(options):
    with pytest.raises(UsageError, match=r"--(needs|without|points|longest)"):
        BuildOptions(**options)
