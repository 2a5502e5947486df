"""Linking tracklets over a whole source: what must hold for any input, and what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linking_reference import link

from vidfer.vision import linkage, tracklets
from vidfer.vision.linkage import NEVER, Pairs, join_closest_first, unit
from vidfer.vision.tracklets import LinkOptions, Tracklet, link_tracklets

FPS = 25.0
OPTIONS = LinkOptions(join_cosine=0.6, return_cosine=0.4, follow_cosine=0.3, split_cosine=0.2)
seeds = st.integers(0, 2**32 - 1)


def linked(*, frame, time_s, shot, tracklet, box_px, embedding, confidence=None, options=None):
    """Track ids i64[R] of rows in any order."""
    confidence = np.ones(len(frame), np.float32) if confidence is None else confidence
    order = np.lexsort((frame, tracklet))
    groups = np.split(order, np.flatnonzero(np.diff(tracklet[order])) + 1) if len(order) else []
    links = link_tracklets(
        (
            Tracklet(
                frame=frame[rows],
                time_s=time_s[rows],
                shot=int(shot[rows[0]]),
                box_px=box_px[rows],
                confidence=confidence[rows],
                embedding=lambda start, stop, rows=rows: embedding[rows[start:stop]],
            )
            for rows in groups
        ),
        options,
    )
    track = np.empty(len(frame), np.int64)
    for number, rows in enumerate(groups):
        mine = links.tracklet == number
        track[rows] = np.repeat(links.track[mine], np.diff(links.start[mine], append=len(rows)))
    return track


def looks(person, count=1, noise=0.0, seed=0):
    """Unit embeddings of a person; persons are orthogonal."""
    rng = np.random.default_rng((seed, person))
    vectors = np.eye(128)[person] + noise / np.sqrt(128) * rng.standard_normal((count, 128))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def stretch(name, person, first, last, *, x=100.0, shot=0, noise=0.0):
    """Rows of one tracklet that is in every frame from `first` to `last`."""
    frame = np.arange(first, last + 1)
    box = np.array([x, 100, x + 60, 180], np.float32)
    return {
        "frame": frame,
        "time_s": frame / FPS,
        "shot": np.full(len(frame), shot, np.int32),
        "tracklet": np.full(len(frame), name),
        "box_px": np.tile(box, (len(frame), 1)),
        "embedding": looks(person, len(frame), noise, seed=name),
    }


def together(*parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def random_source(seed, tracklets=14, people=4, noise=1.5):
    """Tracklets of any length at any time, some changing the person on the way; two shots."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in rng.permutation(tracklets):
        first, length = int(rng.integers(0, 200)), int(rng.choice([1, 2, 5, 20, 40]))
        shot = int(first >= 100)
        last = min(first + length - 1, 99) if shot == 0 else first + length - 1
        part = stretch(int(name), int(rng.integers(people)), first, last, x=rng.uniform(0, 600), shot=shot, noise=noise)
        if len(part["frame"]) >= 20 and rng.random() < 0.5:
            part["embedding"][10:] = looks(int(rng.integers(people)), len(part["frame"]) - 10, noise, seed)
        keep = rng.random(len(part["frame"])) < 0.9
        keep[0] = True
        parts.append({column: values[keep] for column, values in part.items()})
    rows = together(*parts)
    rows["box_px"] += rng.normal(0, 1, rows["box_px"].shape).astype(np.float32)
    return rows


@given(seed=seeds)
@settings(max_examples=80, deadline=None)
def test_no_two_faces_of_a_frame_share_an_id_and_ids_are_dense_in_order(seed):
    rows = random_source(seed)
    track = linked(**rows, options=OPTIONS)
    assert len(np.unique(np.stack([rows["frame"], track]), axis=1).T) == len(track)
    names = np.unique(track)
    assert names.tolist() == list(range(len(names)))
    starts = []
    for name in names:
        mine = np.flatnonzero(track == name)
        first = mine[np.argmin(rows["frame"][mine])]
        starts.append((rows["frame"][first], rows["box_px"][first, 0]))
    assert starts == sorted(starts)


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_names_of_tracklets_and_order_of_rows_do_not_matter(seed):
    rng, rows = np.random.default_rng(seed), random_source(seed)
    track = linked(**rows, options=OPTIONS)
    renamed = {**rows, "tracklet": rng.permutation(1000)[rows["tracklet"]]}
    np.testing.assert_array_equal(linked(**renamed, options=OPTIONS), track)
    order = rng.permutation(len(track))
    shuffled = {name: column[order] for name, column in renamed.items()}
    np.testing.assert_array_equal(linked(**shuffled, options=OPTIONS), track[order])


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_strangers_stay_as_they_are(seed):
    rows = random_source(seed)
    rows["embedding"] = np.concatenate([looks(int(name)) for name in rows["tracklet"]])
    track = linked(**rows, options=OPTIONS)
    pairs = np.unique(np.stack([rows["tracklet"], track]), axis=1)
    assert pairs.shape[1] == len(np.unique(track)) == len(np.unique(rows["tracklet"]))


@given(seed=seeds, threshold=st.floats(0.3, 0.95))
@settings(max_examples=40, deadline=None)
def test_nothing_is_joined_below_the_threshold(seed, threshold):
    options = LinkOptions(join_cosine=threshold, return_cosine=threshold, follow_cosine=threshold, split_cosine=-1)
    rows = random_source(seed)
    track = linked(**rows, options=options)
    for name in np.unique(track):
        parts = np.unique(rows["tracklet"][track == name])
        means = unit(np.stack([rows["embedding"][rows["tracklet"] == p].sum(0, dtype=np.float64) for p in parts]))
        if len(parts) == 2:
            assert means[0] @ means[1] >= threshold - 1e-6
        elif len(parts) > 2:  # each was joined to a mean of others
            assert (means @ means.T - np.eye(len(parts))).max(axis=1).min() > 0


def test_a_person_who_comes_back_keeps_the_id_if_sure():
    rows = together(
        stretch(0, 1, 0, 50), stretch(1, 2, 10, 400, x=300), stretch(2, 1, 200, 260), stretch(3, 3, 300, 350)
    )
    assert np.unique(linked(**rows, options=OPTIONS)[rows["tracklet"] == 2]).tolist() == [0]
    assert len(np.unique(linked(**rows, options=OPTIONS))) == 3


def alike(cosine):
    """Two stretches whose looks have this cosine, the second as given by its keywords."""

    def pair(first, **where):
        a, b = stretch(0, 0, 0, 50), stretch(1, 0, first, first + 50, **where)
        b["embedding"][:] = cosine * looks(0) + np.sqrt(1 - cosine**2) * looks(1)
        return len(np.unique(linked(**together(a, b), options=OPTIONS))) == 1

    return pair


def test_how_sure_it_must_be_depends_on_how_near_it_is():
    sure, fair, weak, none = alike(0.9), alike(0.5), alike(0.37), alike(0.15)
    at_once, later, much_later, elsewhere = 60, 150, 1000, {"x": 600.0}
    assert [pair(at_once) for pair in (sure, fair, weak, none)] == [True, True, True, False]
    assert [pair(at_once, **elsewhere) for pair in (sure, fair, weak, none)] == [True, True, False, False]
    assert [pair(later) for pair in (sure, fair, weak, none)] == [True, True, False, False]
    assert [pair(much_later) for pair in (sure, fair, weak, none)] == [True, False, False, False]
    assert [pair(at_once, shot=1) for pair in (sure, fair, weak, none)] == [True, False, False, False]


def test_one_look_is_less_sure_than_many():
    long, brief = stretch(0, 0, 0, 50, shot=0), stretch(1, 0, 1000, 1000, shot=1)
    brief["embedding"][:] = 0.7 * looks(0) + np.sqrt(1 - 0.7**2) * looks(1)
    assert len(np.unique(linked(**together(long, brief), options=OPTIONS))) == 2
    sure = replace(OPTIONS, join_doubt=0.0)
    assert len(np.unique(linked(**together(long, brief), options=sure))) == 1


def test_what_is_hardly_a_face_is_never_sure():
    rows = together(stretch(0, 0, 0, 50), stretch(1, 0, 1000, 1050, shot=1))
    clear, dim = np.ones(len(rows["frame"]), np.float32), np.where(rows["shot"] == 0, 1, 0.3).astype(np.float32)
    assert len(np.unique(linked(**rows, confidence=clear, options=OPTIONS))) == 1
    assert len(np.unique(linked(**rows, confidence=dim, options=OPTIONS))) == 2


@pytest.mark.parametrize("swap", [10, 30, 47])
def test_two_who_swapped_tracklets_are_put_right(swap):
    left, right = stretch(0, 0, 0, 60, x=100), stretch(1, 1, 0, 60, x=160)
    left["embedding"][swap:], right["embedding"][swap:] = looks(1), looks(0)
    rows = together(left, right)
    track = linked(**rows, options=OPTIONS)
    person = rows["embedding"][:, 1] > 0.5
    np.testing.assert_array_equal(track, person.astype(int))


def test_a_turned_head_or_a_hand_does_not_split():
    rows = stretch(0, 0, 0, 100)
    rows["embedding"][40:60] = 0.5 * looks(0) + np.sqrt(0.75) * looks(1)
    rows["embedding"][80:83] = looks(2)
    assert not linked(**rows, options=OPTIONS).any()


def test_a_split_is_at_the_frame_of_the_change_at_any_frame_rate():
    rows = stretch(0, 0, 0, 80)
    rows["embedding"][33:] = looks(1)
    for slow in (0.3, 1.0, 12.5):
        timed = {**rows, "time_s": rows["time_s"] * slow}
        assert linked(**timed, options=OPTIONS).tolist() == [0] * 33 + [1] * 48
    too_short = {name: column[31:36] for name, column in rows.items()}
    assert not linked(**too_short, options=OPTIONS).any()


def test_unknown_embeddings_are_left_alone():
    rows = together(stretch(0, 0, 0, 50), stretch(1, 0, 60, 90), stretch(2, 0, 100, 130))
    rows["embedding"][rows["tracklet"] == 1] = np.nan
    rows["embedding"][3] = np.inf
    track = linked(**rows, options=OPTIONS)
    assert [track[rows["tracklet"] == name][0] for name in range(3)] == [0, 1, 0]


def vars_of(rows):
    """Of one tracklet."""
    columns = {name: rows[name] for name in ("frame", "time_s", "box_px")}
    return columns | {"shot": 0, "confidence": np.ones(len(rows["frame"])), "embedding": None}


@given(seed=seeds, block=st.sampled_from([1, 3, 1024]), rounded=st.booleans())
@settings(max_examples=80, deadline=None)
def test_tracks_are_those_made_with_everything_in_memory(seed, block, rounded):
    rows = random_source(seed)
    rows["confidence"] = np.random.default_rng(seed).uniform(0.3, 1, len(rows["frame"])).astype(np.float32)
    if rounded:  # as the parts hold them
        rows["embedding"] = rows["embedding"].astype(np.float16).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracklets, "_BLOCK", block)
        np.testing.assert_array_equal(linked(**rows, options=OPTIONS), link(**rows, options=OPTIONS))


def test_no_rows_and_bad_rows():
    nothing = {name: column[:0] for name, column in stretch(0, 0, 0, 1).items()}
    assert linked(**nothing).tolist() == []
    with pytest.raises(ValueError, match="one face per frame"):
        linked(**together(stretch(0, 0, 0, 5), stretch(0, 0, 5, 9)))
    with pytest.raises(ValueError, match="one row per face"):
        Tracklet(**{**vars_of(stretch(0, 0, 0, 5)), "frame": np.arange(3)})
    with pytest.raises(ValueError, match="split <= follow"):
        LinkOptions(join_cosine=0.2)


def slowly(total, seen, trusted, doubt, least, apart, less):
    """The definition of the clustering, with all pairs looked at each time."""
    groups = [[i] for i in range(len(total))]
    while True:
        best, pair = least, None
        for a, one in enumerate(groups):
            for b in range(a):
                two = groups[b]
                if apart[np.ix_(one, two)].any():
                    continue
                sums = np.stack([total[g].sum(0) for g in (one, two)])
                sure = [(trusted[g].sum() / (seen[g].sum() + doubt)) ** 0.5 for g in (one, two)]
                likeness = unit(sums)[0] @ unit(sums)[1] * sure[0] * sure[1] + less[np.ix_(one, two)].max()
                if likeness >= best:
                    best, pair = likeness, (b, a)
        if pair is None:
            label = np.empty(len(total), int)
            for group in groups:
                label[group] = min(group)
            return label
        groups[pair[0]] += groups.pop(pair[1])


@pytest.mark.parametrize("sizes", [{}, {"_TILE": 5, "_AHEAD": 4, "_NEAR": 1, "_KEPT": 7, "_ROUNDED": 2, "_MANY": 3}])
@given(seed=seeds, count=st.integers(1, 14), least=st.floats(-0.2, 0.9))
@settings(max_examples=60, deadline=None)
def test_the_clustering_is_that_of_its_definition(sizes, seed, count, least):
    rng = np.random.default_rng(seed)
    total, seen = rng.standard_normal((count, 3)) + 0.5, rng.uniform(0.5, 9, count)
    trusted = seen * rng.uniform(0.3, 1, count)
    apart, less = rng.random((count, count)) < 0.1, np.where(rng.random((count, count)) < 0.2, 0.3, 0)
    apart, less = apart | apart.T | np.eye(count, dtype=bool), np.maximum(less, less.T)
    special = np.where(apart, NEVER, less).astype(np.float32)
    one, two = np.nonzero(np.triu(special, 1))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(linkage, name, value)
        label = join_closest_first(
            total=total.astype(np.float32),
            seen=seen,
            trusted=trusted,
            doubt=0.5,
            least=least,
            pairs=Pairs.of(count, [(one, two, special[one, two])]),
        )
    np.testing.assert_array_equal(label, slowly(total, seen, trusted, 0.5, least, apart, less))


def test_likenesses_are_computed_a_few_times_for_each_piece_not_all_for_each_join(monkeypatch):
    """As a count, since `benchmarks/steps.py` measures the time: a day of crowds has many thousand pieces."""
    looked = {"_row": 0, "_look_ahead": 0}
    for name in looked:
        real = getattr(linkage._Clusters, name)

        def counted(*args, name=name, real=real):
            looked[name] += 1
            return real(*args)

        monkeypatch.setattr(linkage._Clusters, name, counted)
    rng = np.random.default_rng(0)
    pieces, people, length = 1000, 60, 20
    person = rng.integers(0, people, pieces)
    name = np.repeat(np.arange(pieces), length)
    slot = np.arange(pieces) // 8  # eight at a time
    frame = np.repeat(slot * 40, length) + np.tile(np.arange(length), pieces)
    centre = rng.standard_normal((people, 128))
    embedding = centre[person][name] + 0.8 * rng.standard_normal((len(name), 128))
    track = linked(
        frame=frame,
        time_s=frame / FPS,
        shot=np.zeros(len(name), np.int32),
        tracklet=name,
        box_px=np.tile(np.array([0, 0, 50, 50], np.float32), (len(name), 1)),
        embedding=(embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32),
        options=OPTIONS,
    )
    assert len(np.unique(track)) < pieces / 10, "nearly all are joined"
    assert looked["_row"] < 2 * pieces  # 2,000,000 would be all for each join
    assert looked["_look_ahead"] < pieces  # products with all the others, of several clusters in one go
