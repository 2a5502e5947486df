"""One camera's faces: what is told at once, and with how much of what follows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, moving

from vidfer.pipeline.board import EMOTION_SMOOTH, LABEL_SMOOTH, VALENCE_AROUSAL_SMOOTH
from vidfer.pipeline.follow import REMEMBER_S, CameraFollower, overlay_faces
from vidfer.pipeline.looks import Looker
from vidfer.pipeline.tracks import softmax
from vidfer.smooth import Smoothing, smooth_track
from vidfer.vision.track import FaceTracker, TrackerOptions

RATE = 25.0


class Affected(World):
    """Its faces show something, too; `presence` says how sure they are, `cosines` how alike to the first, by frame."""

    presence = 1.0
    cosines = ()

    def look(self, number, asked):
        heads = super().look(number, asked)
        n, random = len(asked), np.random.default_rng(number)
        cosine = self.cosines[number] if self.cosines else 1.0
        heads["embedding"] = np.zeros((n, 128), np.float32)
        heads["embedding"][:, :2] = cosine, np.sqrt(1 - cosine**2)
        heads["presence"] *= self.presence
        heads["emotion"] = 3 * random.standard_normal((n, 8)).astype(np.float32)
        heads["valence_arousal"] = np.tanh(random.standard_normal((n, 2))).astype(np.float32)
        heads["quality"] = random.uniform(0.2, 1, (n, 1)).astype(np.float32)
        heads["landmarks68"] = np.zeros((n, 136), np.float32)
        return heads


def follow(world, *, lag_s=0.0, smoothing="medium", first_id=0):
    tracker = FaceTracker(frame_interval_s=1 / 60, options=TrackerOptions(lost_after_s=REMEMBER_S))
    options = Smoothing.preset(smoothing)
    follower = CameraFollower(
        tracker, smoothing=options, lag_s=lag_s, interval_s=1 / 60, first_id=first_id
    )  # fmt: skip
    looker, told = Looker(world, world), []
    for frame in world.frames():
        done = follower.add(looker.detect([frame])[0])
        told.append(done)
    return [*told, follower.flush()], follower


def flat(told):
    return [one for done in told for one in done]


def offline(world, followed):
    """The values that a file's smoothing gives to the one face of a world."""
    results = [f.result for f in followed if len(f.result.faces)]
    heads = {name: np.concatenate([r.faces.heads[name] for r in results]) for name in results[0].faces.heads}
    return smooth_track(
        np.array([r.time_s for r in results]),
        np.zeros(len(results), np.int32),
        softmax(heads["emotion"]),
        heads["valence_arousal"],
        heads["quality"][:, 0],
        Smoothing.preset("medium"),
    )


@settings(max_examples=10)
@given(st.integers(1, 30), st.sampled_from([0.0, 0.1, 0.5]))
def test_every_frame_is_told_once_in_order_and_no_later_than_the_lag(count, lag_s):
    world = Affected(moving(count))
    told, _ = follow(world, lag_s=lag_s)
    assert [f.result.index for f in flat(told)] == list(range(count))
    for newest, done in enumerate(told[:-1]):
        assert all(newest / RATE - f.result.time_s >= lag_s - 1e-9 for f in done)
    if lag_s == 0:
        assert [len(done) for done in told] == [1] * count + [0]


def test_with_much_lag_smoothing_is_that_of_files():
    """The rest is what e^-8 is worth, at the poorest quality e^-3."""
    world = Affected(moving(70))
    followed = flat(follow(world, lag_s=2.0)[0])
    whole = offline(world, followed)
    got = np.concatenate([f.result.faces.heads[VALENCE_AROUSAL_SMOOTH] for f in followed])
    assert np.abs(got - whole.valence_arousal).max() < 0.01
    got = np.concatenate([f.result.faces.heads[EMOTION_SMOOTH] for f in followed])
    assert np.abs(got - whole.emotion_probability).max() < 0.01


def test_lag_comes_nearer_to_what_a_file_gets():
    world = Affected(moving(60))
    errors = []
    for lag_s in (0.0, 0.2, 0.5):
        followed = flat(follow(world, lag_s=lag_s)[0])
        got = np.concatenate([f.result.faces.heads[VALENCE_AROUSAL_SMOOTH] for f in followed])
        errors.append(np.sqrt(np.mean((got - offline(world, followed).valence_arousal) ** 2)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_without_smoothing_values_are_the_raw_ones():
    for followed in flat(follow(Affected(moving(10)), smoothing="off")[0]):
        heads = followed.result.faces.heads
        assert np.array_equal(heads[VALENCE_AROUSAL_SMOOTH], heads["valence_arousal"])
        assert heads[LABEL_SMOOTH][0, 0] == heads["emotion"][0].argmax()


def ids(world, **options):
    return [f.sure().faces.track_id.tolist() for f in flat(follow(world, **options)[0])]


STILL, NONE = [(20, 40, 60, 90)], []


def test_a_face_keeps_its_id_over_a_short_absence():
    world = Affected([STILL] * 20 + [NONE] * 15 + [STILL] * 10)
    assert ids(world, first_id=7) == [[7]] * 20 + [[]] * 15 + [[7]] * 10


@pytest.mark.parametrize(
    ("away_s", "cosine", "to_x", "same"),
    [
        (2.0, 0.9, 20, True),
        (2.0, 0.5, 20, True),
        (2.0, 0.5, 200, False),
        (2.0, 0.7, 200, True),
        (2.0, 0.3, 20, False),
        (5.0, 0.5, 20, False),
        (9.0, 0.7, 200, True),
        (11.0, 1.0, 20, False),
    ],
)
def test_a_face_that_comes_back_is_known_by_its_look_its_place_and_how_long_it_was_away(away_s, cosine, to_x, same):
    times = [i / RATE for i in range(10)] + [9 / RATE + away_s + i / RATE for i in range(5)]
    world = Affected([STILL] * 10 + [[(to_x, 40, to_x + 40, 90)]] * 5, times=times)
    world.cosines = [1.0] * 10 + [cosine] * 5
    assert ids(world) == [[0]] * 10 + [[0 if same else 1]] * 5


def test_two_faces_at_once_are_two_however_alike_they_look():
    world = Affected([[*STILL, (200, 40, 240, 90)]] * 10)
    assert [sorted(now) for now in ids(world)] == [[0, 1]] * 10


def test_a_new_epoch_begins_a_new_shot_and_who_is_still_there_keeps_the_id():
    world = Affected(moving(20, speed=0), epochs=[0] * 10 + [1] * 10)
    told, follower = follow(world, lag_s=0.2)
    results = [f.result for f in flat(told)]
    assert [r.shot for r in results] == [0] * 10 + [1] * 10
    assert [r.faces.track_id.tolist() for r in results] == [[0]] * 20
    assert (follower.shot, follower.next_id) == (1, 1)
    assert told[10][-1].result.index == 9, "what waited is told when the connection is lost"


def test_what_may_be_no_face_gets_no_id_but_is_known():
    """So that it can be hidden: 0.9 + 0.4 is below what a face needs."""
    world = Affected(moving(10))
    world.presence = 0.4
    for followed in flat(follow(world)[0]):
        assert followed.result.faces.track_id.tolist() == [-1]
        assert len(followed.sure().faces) == 0
        assert overlay_faces(followed.result) == []


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.sampled_from([0.0, 0.19, 1.0]))
def test_to_be_hidden_is_what_was_found_for_a_moment_before_and_after(found, lag_s):
    """Before: 0.4 s. After: so much of them as the lag knows."""
    world = Affected([[(i, 40, i + 40, 90)] if there else [] for i, there in enumerate(found)])
    for followed in flat(follow(world, lag_s=lag_s)[0]):
        now = followed.result.time_s
        hidden = set(followed.hide_px[:, 0].tolist())

        def near(slack, now=now):
            after_s = min(lag_s, 0.4)
            return {i for i, there in enumerate(found) if there and -0.4 - slack < i / RATE - now < after_s + slack}

        assert near(-0.01) - {followed.result.index} <= hidden <= near(0.03)
        assert found[followed.result.index] == (followed.result.index in hidden)


def test_memory_does_not_grow():
    world = Affected([[(20, 40, 60, 90)] if i // 40 % 2 else [] for i in range(200)])
    told, follower = follow(world)
    assert len(flat(told)) == 200
    assert len(follower._tracks) <= 8
    assert all(len(track.rows) < 120 for track in follower._tracks.values())
    assert len(follower._found) <= 11


def test_drawing_shows_the_smoothed_values():
    followed = flat(follow(Affected(moving(5)))[0])[-1]
    (face,) = overlay_faces(followed.result, landmarks=True)
    heads = followed.result.faces.heads
    assert face.probabilities == pytest.approx(heads[EMOTION_SMOOTH][0])
    assert (face.valence, face.arousal) == tuple(heads[VALENCE_AROUSAL_SMOOTH][0].tolist())
    assert face.landmarks.shape == (68, 2)
    assert overlay_faces(replace(followed.result, faces=followed.sure().faces))[0].landmarks is None
