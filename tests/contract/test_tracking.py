"""What the face tracker promises, whichever Norfair and numpy are installed.

`make test-oldest` runs this file with the oldest numpy and the newest Norfair that are allowed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.types import Detections
from vidfer.vision.track import FaceTracker, TrackerOptions

FPS = 25.0
REPOSITORY = Path(__file__).resolve().parents[2]


def faces(*boxes):
    box_px = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(box_px=box_px, score=np.ones(len(box_px), np.float32))


def looks(*names):
    """A unit vector per name."""
    return (
        np.stack([np.eye(128, dtype=np.float32)[name] for name in names]) if names else np.zeros((0, 128), np.float32)
    )


def square(x, y=100.0, size=60.0):
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def tracker(interval_s=1 / FPS, **options):
    return FaceTracker(frame_interval_s=interval_s, options=TrackerOptions(**options))


def follow(frames, interval_s=1 / FPS):
    """Ids of (time, shot, detections, embedding) frames."""
    one = tracker(interval_s)
    return [one.update(*frame).tolist() for frame in frames]


def random_frames(seed, length=40, people=4):
    """Faces that wander, meet, vanish and jump; unknown embeddings, false boxes and a cut among them."""
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(100, 500, (people, 2)), rng.normal(0, 6, (people, 2))
    size, frames, time_s = rng.uniform(20, 150, people), [], 0.0
    for index in range(length):
        place = place + speed + rng.normal(0, 1, place.shape)
        here = [i for i in rng.permutation(people) if rng.random() < 0.8]
        boxes = [square(*place[i], size[i]) for i in here]
        embedding = looks(*here) + rng.normal(0, 0.05, (len(here), 128)).astype(np.float32)
        if len(here) and rng.random() < 0.1:
            embedding[0] = np.nan
        if rng.random() < 0.1:
            boxes, embedding = [*boxes, square(*rng.uniform(0, 600, 2))], np.concatenate((embedding, looks(99)))
        frames.append((time_s, int(index >= length // 2), faces(*boxes), embedding))
        time_s += float(rng.choice([0.04, 0.04, 0.04, 0.02, 0.12, 0.5]))
    return frames


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_ids_are_dense_in_order_of_appearance_and_one_per_face(seed):
    frames = random_frames(seed)
    seen: dict[int, int] = {}
    for (_, shot, detections, _), ids in zip(frames, follow(frames), strict=True):
        assert len(ids) == len(detections) == len(set(ids))
        for identity in ids:
            assert seen.setdefault(identity, shot) == shot, "a tracklet goes over a cut"
    assert list(seen) == list(range(len(seen)))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_replay_gives_the_same_ids_whatever_else_is_tracked(seed):
    frames, others = random_frames(seed), random_frames(seed + 1)
    first = follow(frames)
    again, other = tracker(), tracker()
    for frame, noise, ids in zip(frames, others, first, strict=True):
        other.update(*noise)
        assert again.update(*frame).tolist() == ids


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_detections_only_renames(seed):
    rng, renamed = np.random.default_rng(seed), {}
    frames = random_frames(seed)
    orders = [rng.permutation(len(frame[2])) for frame in frames]
    turned = [
        (time_s, shot, faces(*found.box_px[order]), embedding[order])
        for (time_s, shot, found, embedding), order in zip(frames, orders, strict=True)
    ]
    for ids, others, order in zip(follow(frames), follow(turned), orders, strict=True):
        for identity, other in zip(np.array(ids)[order], others, strict=True):
            assert renamed.setdefault(identity, other) == other


@given(seed=seeds, scale=st.sampled_from([0.125, 0.5, 2.0, 8.0]))
@settings(max_examples=10, deadline=None)
def test_the_size_of_the_picture_does_not_matter(seed, scale):
    frames = random_frames(seed)
    scaled = [(t, shot, faces(*found.box_px * np.float32(scale)), e) for t, shot, found, e in frames]
    assert follow(frames) == follow(scaled)


@pytest.mark.parametrize("fps", [12.5, 25, 60, 120])
def test_a_face_keeps_its_id_from_its_first_frame_to_its_last(fps):
    path = [(i / fps, 0, faces(square(100 + 300 * i / fps)), looks(0)) for i in range(int(2 * fps))]
    empty = [(2 + i / fps, 0, faces(), looks()) for i in range(3)]
    assert follow(path + empty, 1 / fps) == [[0]] * len(path) + [[]] * 3


@pytest.mark.parametrize("interval_s", [0.1, 0.5, 1.0])
def test_sampled_sources_are_followed_where_boxes_still_overlap(interval_s):
    path = [
        (i * interval_s, 0, faces(square(100 + 15 * (-1) ** i), square(400 + 8 * i)), looks(0, 1)) for i in range(8)
    ]
    assert follow(path, interval_s) == [[0, 1]] * 8


@pytest.mark.parametrize("fps", [25, 50, 100])
@pytest.mark.parametrize(("absent_s", "same"), [(0.08, True), (0.2, True), (0.28, False), (3.0, False)])
def test_a_lost_face_comes_back_under_its_id_only_at_once(fps, absent_s, same):
    here = [(i / fps, 0, faces(square(100)), looks(0)) for i in range(fps)]
    last = here[-1][0]
    gone = [(last + i / fps, 0, faces(), looks()) for i in range(1, round(absent_s * fps))]
    back = (last + absent_s, 0, faces(square(100)), looks(0))
    ids = follow([*here, *gone, back], 1 / fps)
    assert (ids[-1] == [0]) == same
    # The same where the frames in between are missing altogether, as with variable frame rate.
    assert follow([*here, back], 1 / fps)[-1] == ids[-1]


def test_a_face_seen_once_is_waited_for_as_long_as_one_seen_often():
    frames = [(0.0, 0, faces(square(100)), looks(0)), *((0.04 * i, 0, faces(), looks()) for i in range(1, 5))]
    assert follow([*frames, (0.2, 0, faces(square(100)), looks(0))])[-1] == [0]


def test_appearance_keeps_two_apart_where_their_boxes_meet():
    frames = []
    for i in range(50):
        left, right = square(100 + 8 * i, 100), square(100 + 8 * (49 - i), 112)
        # Both are found one frame late, in turn, where they meet: the estimates alone would swap them.
        found = [(left, 0), (right, 1)] if i % 2 else [(right, 1), (left, 0)]
        frames.append((i / FPS, 0, faces(*(box for box, _ in found)), looks(*(name for _, name in found))))
    one, owner = tracker(), {}
    for frame, i in zip(frames, range(50), strict=True):
        for identity, name in zip(one.update(*frame).tolist(), (0, 1) if i % 2 else (1, 0), strict=True):
            assert owner.setdefault(identity, name) == name


@pytest.mark.parametrize(
    ("jump", "look", "same"), [(20, 0, True), (20, 1, True), (55, 0, True), (55, 1, False), (70, 0, False)]
)
def test_a_fast_face_is_followed_as_far_as_its_looks_say_so(jump, look, same):
    one = tracker()
    for i in range(5):
        one.update(i / FPS, 0, faces(square(100)), looks(0))
    assert (one.update(5 / FPS, 0, faces(square(100 + jump)), looks(look)).tolist() == [0]) == same


def test_time_that_goes_back_starts_anew():
    one = tracker()
    assert one.update(5.0, 0, faces(square(100)), looks(0)).tolist() == [0]
    assert one.update(0.0, 0, faces(square(100)), looks(0)).tolist() == [1]
    assert one.update(0.04, 0, faces(square(100)), looks(0)).tolist() == [1]


@pytest.mark.parametrize("embedding", [np.full((1, 128), np.nan), np.zeros((1, 128)), np.full((1, 128), np.inf)])
def test_a_face_without_an_embedding_is_followed_by_its_box(embedding):
    one = tracker()
    for i in range(5):
        assert one.update(i / FPS, 0, faces(square(100)), embedding.astype(np.float32)).tolist() == [0]


@pytest.mark.parametrize("box", [(5, 5, 5, 5), (9, 9, 3, 3), (0, 0, 1e30, 1e30), (-1e6, -1e6, 1e6, 1e6)])
def test_odd_boxes_do_no_harm(box):
    one = tracker()
    for i in range(4):
        ids = one.update(i / FPS, 0, faces(square(100), box, box), looks(0, 1, 2))
        assert len(set(ids.tolist())) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_boxes_that_are_no_numbers_are_refused_and_change_nothing(bad):
    one = tracker()
    one.update(0.0, 0, faces(square(100)), looks(0))
    with pytest.raises(ValueError, match="finite"):
        one.update(0.04, 0, faces((bad, 0, 1, 1)), looks(0))
    with pytest.raises(ValueError, match=r"embedding must be float32\[1,D\], got \[2, 128\]"):
        one.update(0.04, 0, faces(square(100)), looks(0, 1))
    assert one.update(0.08, 0, faces(square(100)), looks(0)).tolist() == [0]


@pytest.mark.parametrize(
    "options",
    [
        {"min_iou": 0},
        {"min_iou": 1},
        {"appearance_weight": 1},
        {"lost_after_s": 0},
        {"far_cosine": 2},
        {"far_reach": -1},
        {"appearance_memory_s": -1},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TrackerOptions(**options)
    with pytest.raises(ValueError, match="frame_interval_s"):
        FaceTracker(frame_interval_s=0)


def test_it_says_nothing(capfd, caplog):
    follow(random_frames(0))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_norfair_is_loaded_only_where_something_is_tracked():
    code = "import sys, vidfer.vision.track; sys.exit('norfair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_both_ends_of_norfair_give_the_same_ids():
    # Whole numbers, so that the frames themselves do not depend on the version of numpy.
    state, frames = 1, []
    for i in range(120):
        row = []
        for person in range(5):
            state = (1103515245 * state + 12345) % 2**31
            if state % 7:
                x = 300 + 40 * person + (i * (person - 2) * 5) % 400
                row.append((square(x + state % 5, 100 + 9 * person, 64), person))
        frames.append((i / 32, 0, faces(*(box for box, _ in row)), looks(*(person for _, person in row))))
    text = repr(follow(frames, 1 / 32)).encode()
    assert hashlib.sha256(text).hexdigest()[:16] == "4236c1442a9b773f"
