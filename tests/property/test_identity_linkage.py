"""Which tracks are one person: what must hold for any tracks, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.vision.identity import Appearances, IdentityOptions, identities
from vidfer.vision.tracklets import Tracklet

FPS = 25.0
seeds = st.integers(0, 2**32 - 1)


def stretch(person, first, count=25, confidence=1.0, noise=0.0, seed=0):
    """Rows of a face that is in every frame from `first` on; persons are orthogonal."""
    rng = np.random.default_rng((seed, person, first))
    vectors = np.eye(128)[person] + noise / np.sqrt(128) * rng.standard_normal((count, 128))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    frame = np.arange(first, first + count)
    return Tracklet(
        frame=frame,
        time_s=frame / FPS,
        shot=0,
        box_px=np.tile(np.float32([0, 0, 50, 60]), (count, 1)),
        confidence=np.full(count, confidence, np.float32),
        embedding=lambda start, stop: vectors[start:stop].copy(),
    )


def random_tracks(seed):
    """Tracks of some persons, one or two stretches each, at any time; and who they are."""
    rng = np.random.default_rng(seed)
    stretches, person = [], []
    for track in range(int(rng.integers(1, 12))):
        person.append(int(rng.integers(0, 4)))
        for first in rng.integers(0, 400, int(rng.integers(1, 3))).tolist():
            stretches.append((track, stretch(person[-1], first, int(rng.integers(1, 40)), noise=1.0, seed=seed)))
    return stretches, np.array(person)


def frames(stretches, track):
    return {f for which, rows in stretches if which == track for f in rows.frame.tolist()}


@given(seeds)
def test_identities_are_dense_by_first_appearance_and_never_twice_in_a_frame(seed):
    stretches, person = random_tracks(seed)
    found = identities(Appearances.of(stretches, len(person)))
    assert list(dict.fromkeys(found.tolist())) == list(range(found.max() + 1))
    for a in range(len(person)):
        for b in range(a):
            if found[a] == found[b]:
                assert person[a] == person[b]
                assert not frames(stretches, a) & frames(stretches, b)


@given(seeds)
def test_the_order_of_the_stretches_does_not_matter(seed):
    stretches, person = random_tracks(seed)
    other = [stretches[i] for i in np.random.default_rng(seed).permutation(len(stretches))]
    one, two = (identities(Appearances.of(given, len(person))) for given in (stretches, other))
    assert one.tolist() == two.tolist()


def test_who_comes_back_is_known_and_one_with_gaps_can_be_there_in_between():
    come_and_go = [
        (0, stretch(0, 0)),
        (0, stretch(0, 100)),
        (1, stretch(1, 30)),
        (2, stretch(0, 50)),
        (3, stretch(1, 60)),
    ]
    assert identities(Appearances.of(come_and_go, 4)).tolist() == [0, 1, 0, 1]


def test_short_and_doubtful_looks_are_nobody():
    surely, hardly = (0, stretch(0, 0)), (1, stretch(0, 100, count=2, confidence=0.3))
    assert identities(Appearances.of([surely, hardly], 2)).tolist() == [0, 1]


def test_no_likeness_is_enough_where_none_is_asked_for_more_than_possible():
    tracks = Appearances.of([(0, stretch(0, 0)), (1, stretch(0, 100))], 2)
    assert identities(tracks, IdentityOptions(identity_cosine=1.1)).tolist() == [0, 1]


def test_a_source_without_tracks_has_no_persons():
    tracks = Appearances.of([], 0)
    assert identities(tracks).tolist() == []
    assert len(tracks.mean) == 0


def test_means_are_of_unit_length_over_all_stretches_and_zero_where_nothing_is_known():
    unknown = stretch(2, 200)
    vectors = np.full((25, 128), np.nan, np.float32)
    object.__setattr__(unknown, "embedding", lambda start, stop: vectors[start:stop].copy())
    tracks = Appearances.of([(0, stretch(0, 0)), (0, stretch(1, 100)), (1, unknown)], 2)
    assert tracks.mean[0, :2] == pytest.approx(np.sqrt([0.5, 0.5]), abs=1e-5)
    assert not tracks.mean[1].any()


def test_a_track_without_rows_is_refused():
    with pytest.raises(ValueError, match="1 of 2 tracks have no rows"):
        Appearances.of([(0, stretch(0, 0))], 2)
