"""The benchmark that tries thresholds of linking: its files and its counts, on made-up persons."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import linking
from linking_clips import Clip, halves, holes, joined, relay, seconds

from vidfer.vision.identity import IdentityOptions
from vidfer.vision.tracklets import LinkOptions


def clip_of(person, towards, frames=50, shot=0):
    """One person whose embedding is a unit vector, seen in every frame."""
    embedding = np.zeros((frames, 128), np.float32)
    embedding[:, towards] = 1
    return Clip(
        time_s=np.arange(frames) / 25,
        shot=np.full(frames, shot),
        at=np.arange(frames),
        box_px=np.tile(np.float32([10, 10, 60, 70]), (frames, 1)),
        score=np.ones(frames, np.float32),
        presence=np.ones(frames, np.float32),
        detected=np.ones(frames, bool),
        embedding=embedding,
        person=np.full(frames, person),
    )


def judged(clip, options=None):
    file = linking.File(clip)
    return file.judge(file.link(options or LinkOptions()))


CLIPS = [clip_of("a", 0), clip_of("b", 1), clip_of("c", 2, frames=30)]


def test_persons_who_are_nothing_alike_are_found_again():
    assert judged(halves(CLIPS)) == {"merged": 0, "split": 0, "idf1": 1.0}
    assert judged(joined(seconds(CLIPS))) == {"merged": 0, "split": 0, "idf1": 1.0}
    assert judged(holes(CLIPS, seen_s=0.5)) == {"merged": 0, "split": 0, "idf1": 1.0}
    assert judged(relay(CLIPS, gap_s=0.5, shots=3)) == {"merged": 0, "split": 0, "idf1": 1.0}


def test_doubles_are_merged_and_who_must_be_too_much_alike_is_split():
    doubles = [*CLIPS, clip_of("d", 0)]
    assert judged(halves(doubles)) == {"merged": 1, "split": 0, "idf1": pytest.approx(130 / 180, abs=1e-4)}
    assert judged(halves(CLIPS), linking.moved(LinkOptions(), "join_cosine", 1.0))["split"] == 3


def test_who_is_split_into_tracks_is_one_person_again():
    file = linking.File(joined(seconds(CLIPS)))
    tracks = file.link(linking.moved(LinkOptions(), "join_cosine", 1.0))
    assert file.judge(tracks)["split"] > 0
    assert file.judge(file.identify(tracks, IdentityOptions())) == {"merged": 0, "split": 0, "idf1": 1.0}
    assert file.identify(np.full_like(tracks, -1), IdentityOptions()).tolist() == [-1] * len(tracks)


def test_without_a_pause_only_splitting_tells_persons_apart():
    persons = relay(CLIPS, gap_s=0.04, shots=1)
    assert judged(persons)["merged"] == 0
    assert judged(persons, linking.moved(LinkOptions(), "split_cosine", -1.0))["merged"] == 3


def test_halves_are_shots_of_their_own_one_round_after_the_other():
    made = halves([replace(clip, shot=clip.shot + 3) for clip in CLIPS])
    assert made.person[np.flatnonzero(np.diff(made.shot, prepend=-1))].tolist() == ["a", "b", "c", "a", "b", "c"]
    assert (np.diff(made.time_s) > 0).all()
    assert len(made.at) == 130


@pytest.mark.parametrize("name", linking.NAMES)
def test_the_others_give_way_to_a_threshold_that_moves(name):
    for value in (-0.5, 0.3, 0.5, 0.9):
        options = linking.moved(LinkOptions(), name, value)
        found = [getattr(options, other) for other in linking.NAMES]
        assert getattr(options, name) == value
        assert found == sorted(found)
