"""Splits: no group is in two of them, classes keep their shares, and the same seed gives the same split."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.errors import UsageError
from vidfer.train.datasets.splits import Row, SplitOptions, split_rows

splits = st.sampled_from(["train", "val", "test", None])
rows = st.lists(
    st.builds(Row, group=st.integers(0, 12).map(str), stratum=st.sampled_from("abc"), split=splits), max_size=60
)
options = st.builds(
    SplitOptions,
    val_share=st.floats(0, 0.4),
    test_share=st.floats(0, 0.4),
    seed=st.integers(0, 9),
    again=st.booleans(),
)


@given(rows, options)
def test_no_group_is_split_apart(rows, options):
    found = split_rows(rows, options)
    homes = {}
    for row, split in zip(rows, found, strict=True):
        if split is not None:
            assert homes.setdefault(row.group, split) == split
    # Only rows that contradict their group are left out, and every group stays.
    assert {row.group for row in rows} == set(homes)


@given(rows, options)
def test_what_the_data_tells_stays(rows, options):
    found = split_rows(rows, options)
    not_told = {"val", "test"} - {row.split for row in rows}
    for row, split in zip(rows, found, strict=True):
        if row.split in ("val", "test") and not options.again:
            assert split in (row.split, "test", None)
        if row.split == "train" and not options.again:
            assert split in ("train", None, *not_told)


@given(rows, options, st.randoms())
def test_the_same_seed_gives_the_same_split_whatever_the_order(rows, options, random):
    before = {row.group: split for row, split in zip(rows, split_rows(rows, options), strict=True) if split}
    mixed = list(rows)
    random.shuffle(mixed)
    after = {row.group: split for row, split in zip(mixed, split_rows(mixed, options), strict=True) if split}
    assert after == before


def people(sizes, strata="abc"):
    return [
        Row(group=f"p{i}", stratum=strata[(i * 7 + k * 3) % len(strata)], split=None)
        for i, size in enumerate(sizes)
        for k in range(size)
    ]


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 4), min_size=150, max_size=300), st.floats(0.05, 0.3), st.floats(0, 0.2), st.integers(0, 99)
)
def test_classes_keep_their_shares(sizes, val_share, test_share, seed):
    told = people(sizes)
    found = split_rows(told, SplitOptions(val_share=val_share, test_share=test_share, seed=seed))
    totals = Counter(row.stratum for row in told)
    for split, share in (("val", val_share), ("test", test_share)):
        counts = Counter(row.stratum for row, s in zip(told, found, strict=True) if s == split)
        for stratum, total in totals.items():
            assert abs(counts[stratum] - share * total) <= 4  # rows: the largest group


def test_another_seed_is_another_split():
    told = people([1] * 100)
    found = {tuple(split_rows(told, SplitOptions(seed=seed))) for seed in range(5)}
    assert len(found) == 5


def test_without_val_train_rows_become_val_and_test_stays():
    told = [Row(group=str(i), stratum="a", split="test" if i < 10 else "train") for i in range(60)]
    found = split_rows(told, SplitOptions(val_share=0.2, test_share=0.3))
    assert Counter(found) == {"test": 10, "val": 10, "train": 40}
    assert found[:10] == ["test"] * 10


def test_without_test_train_rows_become_test_and_val_stays():
    told = [Row(group=str(i), stratum="a", split="val" if i < 10 else "train") for i in range(60)]
    found = split_rows(told, SplitOptions(val_share=0.2, test_share=0.3))
    assert Counter(found) == {"val": 10, "test": 15, "train": 35}
    assert found[:10] == ["val"] * 10


def test_a_group_in_several_splits_is_held_back():
    told = [Row(group="g", stratum="a", split=split) for split in ("train", "val", "test", None)]
    assert split_rows(told, SplitOptions()) == [None, None, "test", "test"]


@pytest.mark.parametrize("shares", [(-0.1, 0), (1.0, 0), (0.5, 0.5), (0, 2)])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(UsageError, match="-share"):
        SplitOptions(val_share=shares[0], test_share=shares[1])
