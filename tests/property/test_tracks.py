"""The second look at a whole file: which tracks are faces, where gaps are bridged, what time a frame has."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.pipeline.tracks import BRIDGED_GAP_S, SURE_FACE, _bridge, _Clock, sure_faces

STEP_S = 0.04
share = st.floats(0, 1, width=32)


def clock_of(frame, time_s, shot=None, epoch=None):
    zeros = np.zeros(len(frame), np.int64)
    columns = {
        "frame": np.asarray(frame, np.int64),
        "time_s": np.asarray(time_s, np.float64),
        "shot": zeros if shot is None else np.asarray(shot),
        "epoch": zeros if epoch is None else np.asarray(epoch),
    }
    return _Clock(pa.table({name: pa.array(values) for name, values in columns.items()}), STEP_S)


@given(st.lists(st.tuples(st.integers(0, 4), share, share, st.booleans()), max_size=40))
def test_a_track_is_a_face_as_a_whole(rows):
    face_id, score, presence, detected = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    face_id, detected = np.asarray(face_id, np.int64), np.asarray(detected, bool)
    score, presence = np.asarray(score, np.float32), np.asarray(presence, np.float32)
    sure = sure_faces(face_id, score, presence, detected)
    assert sure.shape == face_id.shape
    assert sure.dtype == bool
    for track in np.unique(face_id):
        mine = face_id == track
        best = max([float(s) for s in score[mine & detected]], default=0.0)
        total = best + float(presence[mine].mean(dtype=np.float64))
        if abs(total - SURE_FACE) > 1e-5:
            assert (sure[mine] == (total >= SURE_FACE)).all()
        assert len(set(sure[mine].tolist())) == 1


class Tracks:
    """Made-up tracks on a made-up clock: frames left out by sampling, cuts, gaps of all lengths."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        n = int(random.integers(2, 120))
        self.frame = np.cumsum(random.integers(1, 3, n))
        self.time_s = np.cumsum(random.choice([0.04, 0.1, 0.4], n, p=[0.8, 0.15, 0.05]))
        self.clock = clock_of(self.frame, self.time_s, np.cumsum(random.random(n) < 0.03))
        seen = random.random((3, n)) < random.choice([0.1, 0.5, 0.9], 3)[:, None]
        # In the order of the parts: by frame, then by track.
        self.at, self.face_id = (column.astype(np.int64) for column in np.nonzero(seen.T))
        low = random.uniform(0, 500, (len(self.at), 2))
        self.box = np.concatenate([low, low + random.uniform(10, 90, low.shape)], 1).astype(np.float32)
        self.bridge = _bridge(self.at, self.face_id, self.box, self.clock)


@given(st.integers(0, 2**32 - 1))
def test_bridges_fill_exactly_the_short_gaps_of_a_shot(seed):
    tracks = Tracks(seed)
    time_s, segment = tracks.time_s, tracks.clock.segment
    wanted = {}
    for track in np.unique(tracks.face_id):
        rows = np.flatnonzero(tracks.face_id == track)
        for a, b in itertools.pairwise(rows):
            start, end = tracks.at[a], tracks.at[b]
            if segment[start] != segment[end] or time_s[end] - time_s[start] > BRIDGED_GAP_S + 1e-9:
                continue
            for place in range(start + 1, end):
                part = (time_s[place] - time_s[start]) / (time_s[end] - time_s[start])
                wanted[int(tracks.frame[place]), int(track)] = (1 - part) * tracks.box[a] + part * tracks.box[b]
    keys = list(zip(tracks.bridge.frame.tolist(), tracks.bridge.face_id.tolist(), strict=True))
    assert sorted(keys) == sorted(wanted)
    for key, box in zip(keys, tracks.bridge.box_px, strict=True):
        assert np.allclose(box, wanted[key], atol=1e-2)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_faces_for_a_bridge(rows):
    clock = clock_of([0, 1, 2], [0.0, 0.04, 0.08])
    none = np.zeros(rows, np.int64)
    assert len(_bridge(none, none, np.zeros((rows, 4), np.float32), clock).frame) == 0


@given(st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 3))
def test_a_frame_without_a_time_stands_one_interval_after_the_one_before_it(steps, copies):
    given_s, expected, now = [], [], -STEP_S
    for step in steps:
        now += STEP_S if step is None else step / 10
        given_s.append(np.nan if step is None else now)
        expected.append(now)
    frame = np.arange(len(steps)) * 3
    # A frame has as many rows as faces.
    clock = clock_of(np.repeat(frame, copies), np.repeat(given_s, copies))
    assert list(clock.frame) == list(frame)
    assert np.allclose(clock.time_s, expected, atol=1e-9)
    assert list(clock.position(frame)) == list(range(len(frame)))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_segment_ends_where_the_shot_or_the_epoch_changes(marks):
    shot, epoch = np.array(marks).T
    segment = clock_of(range(len(marks)), np.arange(len(marks)) * STEP_S, shot, epoch).segment
    changes = [a != b for a, b in itertools.pairwise(marks)]
    assert segment[0] == 0
    assert [bool(step) for step in np.diff(segment)] == changes
