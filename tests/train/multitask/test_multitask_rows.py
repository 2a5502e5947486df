"""What is learned from a table, what is left out of it and said, and how rows are drawn."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from drawn_faces import face, faces, table, without
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="ROWS OF RECIPES ARE NOT TESTED: no torch")

from vidfer.errors import DataError
from vidfer.train.datasets.encoded import keep_encoded
from vidfer.train.datasets.table import read_pieces, read_table
from vidfer.train.multitask.pictures import Pictures
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.multitask.rows import prepare
from vidfer.train.multitask.sampling import classes_of, draw, hold_out
from vidfer.types import EMOTIONS

SEVEN = list(EMOTIONS[:7])


def prepared(tmp_path, rows, **tables):
    heads = tables.pop("heads", {"emotion": list(EMOTIONS)})
    return prepare(
        read_pieces([table(tmp_path / "t.parquet", rows)], "train"), Recipe.from_dict({"heads": heads, **tables})
    )


def test_targets_are_those_of_the_table(tmp_path):
    heads = {"emotion": ["fear", "neutral"], "valence_arousal": True, "landmarks": 4, "box": True}
    rows = faces(2, ("neutral", "fear"))
    found = prepared(tmp_path, rows, heads=heads).rows
    assert found.emotion.tolist() == [[0, 1], [1, 0]]
    assert found.valence_arousal[1].tolist() == pytest.approx([-0.5, 0.7])
    assert found.points[0] == pytest.approx(rows[0].labels.points[4])
    x, y, w, h = rows[0].labels.box
    assert found.box_px[0] == pytest.approx([x, y, x + w, y + h])
    assert found.teacher[0] == pytest.approx([0.02 / 0.88, 0.86 / 0.88])


def test_votes_are_learned_where_the_recipe_wants_them(tmp_path):
    votes = np.array([0.5, 0.3, 0, 0, 0, 0, 0, 0.2], np.float32)
    rows = faces(3)
    rows[1] = replace(rows[1], labels=replace(rows[1].labels, votes=votes))
    heads = {"emotion": SEVEN}
    soft = prepared(tmp_path, rows, heads=heads).rows.emotion
    assert soft[1] == pytest.approx(np.array([0.5, 0.3, 0, 0, 0, 0, 0]) / 0.8)
    assert soft[0] == pytest.approx(np.eye(7)[0])
    hard = prepared(tmp_path, rows, heads=heads, loss={"emotion": {"votes": False}}).rows.emotion
    assert hard[1] == pytest.approx(np.eye(7)[1])


def test_votes_for_other_classes_than_the_heads_say_nothing(tmp_path):
    rows = faces(2, SEVEN)
    votes = np.array([0.4, 0, 0, 0, 0, 0, 0, 0.6], np.float32)
    rows[0] = replace(rows[0], labels=replace(rows[0].labels, votes=votes))
    assert len(prepared(tmp_path, rows, heads={"emotion": SEVEN}).rows) == 1


def test_rows_of_classes_that_the_head_has_not_are_left_out_and_counted(tmp_path):
    found = prepared(tmp_path, faces(16), heads={"emotion": SEVEN})
    assert len(found.rows) == 14
    assert found.left_out == {"of contempt, which is no class of heads.emotion": 2}
    with_others = prepared(tmp_path, faces(16), heads={"emotion": SEVEN, "box": True})
    assert len(with_others.rows) == 16
    assert with_others.left_out == {}
    assert with_others.unlearned == {"emotion: contempt is no class of heads.emotion": 2}


def test_rows_without_what_the_heads_ask_for_are_left_out_and_counted(tmp_path):
    rows = without(faces(3), "points") + faces(4)[3:]
    found = prepared(tmp_path, rows, heads={"landmarks": 4})
    assert len(found.rows) == 1
    assert found.left_out == {"without a label that heads asks for": 3}


def test_unreadable_pictures_are_left_out_and_counted(tmp_path):
    rows = faces(8)
    rows[2] = replace(rows[2], image=b"no picture")
    rows[5] = replace(rows[5], image=b"")
    found = prepared(tmp_path, rows)
    assert len(found.rows) == 6
    assert found.left_out == {"whose picture cannot be decoded": 2}
    assert all(found.pictures[k].shape[0] == 40 for k in found.rows.picture.tolist())
    with pytest.raises(DataError, match="none of 2 pictures can be decoded"):
        prepared(tmp_path, [rows[2], rows[5]])


def test_points_far_outside_of_the_picture_are_not_learned(tmp_path):
    rows = faces(4)
    wild = rows[1].labels.points[4].copy()
    wild[2, 0] = 4000
    missing = rows[2].labels.points[4].copy()
    missing[0] = np.nan
    rows[1] = replace(rows[1], labels=replace(rows[1].labels, points={4: wild}))
    rows[2] = replace(rows[2], labels=replace(rows[2].labels, points={4: missing}))
    found = prepared(tmp_path, rows, heads={"landmarks": 4, "emotion": list(EMOTIONS)})
    assert found.rows.known()["landmarks"].tolist() == [True, False, True, True]
    assert found.unlearned == {"landmarks: far outside of their picture": 1}


@pytest.mark.parametrize(
    ("lacking", "heads", "says"),
    [
        (
            "emotion",
            {"emotion": SEVEN},
            "heads asks for emotion, but no row has such a label: of 4 rows there are",
        ),
        (
            "points",
            {"emotion": ["contempt", "fear"]},
            "no row is of a class of heads.emotion (contempt, fear): there are",
        ),
        ("valence_arousal", {"valence_arousal": True}, "heads asks for valence_arousal"),
        ("box", {"box": True}, "heads asks for box"),
        ("points", {"landmarks": 68}, "heads asks for landmarks"),
    ],
)
def test_a_head_that_no_row_has_a_label_for_is_refused(tmp_path, lacking, heads, says):
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, without(faces(4), lacking), heads={**heads})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_points_of_another_number_are_refused_with_what_there_is(tmp_path):
    with pytest.raises(DataError, match=r"heads asks for landmarks.*4 with 4 points"):
        prepared(tmp_path, faces(4), heads={"landmarks": 15})


def test_a_teacher_may_be_the_only_one_who_knows(tmp_path):
    rows = without(faces(4), "emotion")
    found = prepared(tmp_path, rows, loss={"distillation": {"weight": 1}})
    assert len(found.rows) == 4
    with pytest.raises(DataError, match=r"loss\.distillation wants teacher, but no row has it"):
        prepared(tmp_path, without(faces(4), "teacher"), loss={"distillation": {"weight": 1}})


def test_classes_are_balanced_only_where_there_are_any(tmp_path):
    for heads, tables in (({"box": True}, {}), ({"emotion": SEVEN}, {"loss": {"distillation": {"weight": 1}}})):
        with pytest.raises(DataError, match=r'data\.sampling = "balanced" is of emotions, but no row has one'):
            prepared(tmp_path, without(faces(4), "emotion"), heads=heads, data={"sampling": "balanced"}, **tables)


def test_the_fingerprint_knows_pictures_and_labels(tmp_path):
    rows = faces(4)
    other_label = [*rows[:3], replace(rows[3], labels=replace(rows[3].labels, emotion="anger"))]
    other_picture = [*rows[:3], replace(rows[3], image=face(99).image)]
    prints = {prepared(tmp_path, some).sha256 for some in (rows, faces(4), other_label, other_picture)}
    assert len(prints) == 3


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Rows of which some lack points, some are of a class that the head has not, and one has no picture."""
    votes = np.random.default_rng(0).dirichlet(np.ones(8), 24).astype(np.float32)
    rows = without(faces(24)[:8], "points") + faces(24)[8:]
    rows = [replace(f, labels=replace(f.labels, votes=v)) for f, v in zip(rows, votes, strict=True)]
    rows[20] = replace(rows[20], image=b"no picture")
    return read_table([table(tmp_path_factory.mktemp("table") / "t.parquet", rows)], "train")


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1),
    st.sampled_from([{"emotion": list(EMOTIONS)}, {"emotion": SEVEN, "landmarks": 4}]),
)
def test_rows_are_the_same_however_many_come_at_a_time(mixed, sizes, heads):
    recipe = Recipe.from_dict({"heads": heads})
    stops = np.unique(np.minimum([*np.cumsum(sizes), 24], 24)).tolist()
    pieces = [mixed.take(np.arange(a, b)) for a, b in pairwise([0, *stops])]
    one, many = prepare([mixed], recipe), prepare(pieces, recipe)
    assert (many.left_out, many.unlearned, many.sha256) == (one.left_out, one.unlearned, one.sha256)
    assert one.left_out["whose picture cannot be decoded"] == 1
    for f in fields(one.rows):
        np.testing.assert_array_equal(getattr(many.rows, f.name), getattr(one.rows, f.name))
    assert all((many.pictures[k] == one.pictures[k]).all() for k in one.rows.picture)


def test_the_fingerprint_is_that_of_targets_and_pictures_one_after_the_other(tmp_path):
    found = prepared(tmp_path, faces(6), heads={"emotion": SEVEN, "landmarks": 4})
    digest = hashlib.sha256()
    for f in fields(found.rows):
        values = getattr(found.rows, f.name)
        digest.update(repr(values.tolist()).encode() if values.dtype.kind == "U" else values.tobytes())
    for row in faces(6):
        digest.update(row.image)
    assert found.sha256 == digest.hexdigest()


def test_pictures_beyond_the_memory_are_decoded_when_they_are_drawn():
    encoded = keep_encoded(face(k).image for k in range(300))
    none, few, all_ = (Pictures(encoded, memory_mb) for memory_mb in (0, 1, 100))
    assert 0 == none.kept < few.kept < 300 == all_.kept
    assert all((few[k] == all_[k]).all() and (none[k] == all_[k]).all() for k in range(300))


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.integers(1, 5), min_size=2), st.floats(0.01, 0.9))
def test_groups_are_never_split_and_some_are_held_out(sizes, share):
    group = np.repeat(list(sizes), list(sizes.values()))
    mask = hold_out(np.full(len(group), "set"), group, share)
    assert 0 < mask.sum() < len(group)
    for name in sizes:
        assert len(set(mask[group == name])) == 1
    assert len(set(group[mask])) == min(len(sizes) - 1, max(1, round(share * len(sizes))))


def test_every_set_gives_its_share_of_what_is_held_out():
    names = np.array(["large"] * 900 + ["small"] * 100)
    groups = np.array([f"g{k}" for k in range(1000)])
    mask = hold_out(names, groups, 0.1)
    assert (mask[:900].sum(), mask[900:].sum()) == (90, 10)
    again = hold_out(names[::-1], groups[::-1], 0.1)
    assert (again[::-1] == mask).all()


def test_one_group_cannot_be_held_out():
    with pytest.raises(DataError, match="of too few groups"):
        hold_out(np.array(["a", "b"]), np.array(["same", "same"]), 0.5)


@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 9))
def test_uniform_drawing_shows_each_row_once_before_any_twice(rows, count, seed):
    drawn = draw(np.full(rows, -1), count, "uniform", np.random.default_rng(seed))
    times = np.bincount(drawn, minlength=rows)
    assert len(drawn) == count
    assert times.max() - times.min() <= 1


def test_balanced_drawing_shows_each_class_as_often():
    classes = np.repeat([0, 1, 3, -1], [700, 60, 40, 200])
    drawn = classes[draw(classes, 60_000, "balanced", np.random.default_rng(0))]
    shares = {c: (drawn == c).mean() for c in (0, 1, 3, -1)}
    for c in (0, 1, 3):
        assert shares[c] == pytest.approx(0.8 / 3, abs=0.01)
    assert shares[-1] == pytest.approx(0.2, abs=0.01)


def test_the_class_of_votes_is_the_most_frequent():
    emotion = np.array([[0.2, 0.8], [1, 0], [np.nan, np.nan]], np.float32)
    assert classes_of(emotion).tolist() == [1, 0, -1]
    assert classes_of(np.zeros((2, 0), np.float32)).tolist() == [-1, -1]
