"""The second look at a whole file: which tracks are faces, where gaps are bridged, what time a frame has."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidfer.pipeline.bridge import BRIDGED_GAP_S, bridge
from vidfer.pipeline.scratch import Scratch, Slots
from vidfer.pipeline.timeline import Timeline
from vidfer.pipeline.tracks import SURE_FACE, is_face

STEP_S = 0.04
share = st.floats(0, 1, width=32)


def timeline_of(frame, time_s, shot=None, epoch=None, pieces=1):
    zeros = np.zeros(len(frame), np.int64)
    columns = frame, np.asarray(time_s, np.float64), zeros if shot is None else shot, zeros if epoch is None else epoch
    timeline = Timeline(STEP_S)
    for piece in np.array_split(np.arange(len(frame)), pieces):
        timeline.add(*(np.asarray(column)[piece] for column in columns))
    timeline.close()
    return timeline


@given(st.lists(st.tuples(share, share, st.booleans()), min_size=1, max_size=40))
def test_a_track_is_a_face_as_a_whole(rows):
    score, presence, detected = (np.array(column) for column in zip(*rows, strict=True))
    score, presence = score.astype(np.float32), presence.astype(np.float32)
    total = max([float(s) for s in score[detected]], default=0.0) + float(presence.mean(dtype=np.float64))
    if abs(total - SURE_FACE) > 1e-5:
        assert is_face(score, presence, detected) == (total >= SURE_FACE)


class Tracks:
    """Made-up tracks on a made-up clock: frames left out by sampling, cuts, gaps of all lengths."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        n = int(random.integers(2, 120))
        self.frame = np.cumsum(random.integers(1, 3, n))
        self.time_s = np.cumsum(random.choice([0.04, 0.1, 0.4], n, p=[0.8, 0.15, 0.05]))
        self.timeline = timeline_of(self.frame, self.time_s, np.cumsum(random.random(n) < 0.03))
        seen = random.random((3, n)) < random.choice([0.1, 0.5, 0.9], 3)[:, None]
        # In the order of the parts: by frame, then by track.
        self.at, self.face_id = (column.astype(np.int64) for column in np.nonzero(seen.T))
        low = random.uniform(0, 500, (len(self.at), 2))
        self.box = np.concatenate([low, low + random.uniform(10, 90, low.shape)], 1).astype(np.float32)
        order = np.lexsort((self.at, self.face_id))
        a, b = order[:-1], order[1:]
        gap = (self.face_id[a] == self.face_id[b]) & (self.at[b] > self.at[a] + 1)
        a, b = a[gap], b[gap]
        self.bridge = bridge(self.at[a], self.at[b], self.face_id[a], self.box[a], self.box[b], self.timeline)


@given(st.integers(0, 2**32 - 1))
def test_bridges_fill_exactly_the_short_gaps_of_a_shot(seed):
    tracks = Tracks(seed)
    time_s, segment = tracks.time_s, tracks.timeline.segment
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
    keys = list(zip(tracks.frame[tracks.bridge.at].tolist(), tracks.bridge.face_id.tolist(), strict=True))
    assert sorted(keys) == sorted(wanted)
    for key, box in zip(keys, tracks.bridge.box_px, strict=True):
        assert np.allclose(box, wanted[key], atol=1e-2)


@given(st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=5))
def test_rows_of_a_group_lie_one_behind_the_other(pieces):
    slots = Slots(np.bincount([group for piece in pieces for group in piece], minlength=6))
    found = [
        (group, slot) for piece in pieces for group, slot in zip(piece, slots.of(np.array(piece, int)), strict=True)
    ]
    assert sorted(found) == sorted(found, key=lambda pair: pair[1])
    assert sorted(slot for _, slot in found) == list(range(len(found)))
    for group in range(6):
        mine = [slot for name, slot in found if name == group]
        assert mine == sorted(mine)


@given(st.permutations(range(20)), st.integers(0, 20))
def test_scratch_rows_come_back_from_anywhere(places, first):
    rows = np.zeros(20, np.dtype([("a", "f4", 3), ("b", "i1")]))
    rows["b"] = np.arange(20)
    with tempfile.TemporaryDirectory() as folder, Scratch(Path(folder) / "x", rows.dtype) as scratch:
        places = np.array(places)
        scratch.put(places[:first], rows[:first])
        scratch.put(places[first:], rows[first:])
        assert scratch.get(places).tobytes() == rows.tobytes()
        assert scratch.get(places[:0]).tobytes() == b""
        by_place = rows[np.argsort(places)]
        assert scratch.read([(3, 7), (0, 0), (1, 2)]).tobytes() == (by_place[3:7].tobytes() + by_place[1:2].tobytes())
        scratch_file = list(Path(folder).iterdir())
    assert len(scratch_file) == 1
    assert not scratch_file[0].exists()


@given(st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 3))
def test_a_frame_without_a_time_stands_one_interval_after_the_one_before_it(steps, copies):
    given_s, expected, now = [], [], -STEP_S
    for step in steps:
        now += STEP_S if step is None else step / 10
        given_s.append(np.nan if step is None else now)
        expected.append(now)
    frame = np.arange(len(steps)) * 3
    # A frame has as many rows as faces.
    timeline = timeline_of(np.repeat(frame, copies), np.repeat(given_s, copies), pieces=copies)
    assert list(timeline.frame) == list(frame)
    assert list(timeline.is_timed) == [step is not None for step in steps]
    assert np.allclose(timeline.time_s, expected, atol=1e-9)
    assert list(timeline.position(frame)) == list(range(len(frame)))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30), st.integers(1, 4))
def test_a_segment_ends_where_the_shot_or_the_epoch_changes(marks, pieces):
    shot, epoch = np.array(marks).T
    segment = timeline_of(range(len(marks)), np.arange(len(marks)) * STEP_S, shot, epoch, pieces).segment
    changes = [a != b for a, b in itertools.pairwise(marks)]
    assert segment[0] == 0
    assert [bool(step) for step in np.diff(segment)] == changes
