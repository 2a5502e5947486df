"""A run of the detector's training: hard negatives of its own, resumed as if never stopped; folds without overlap."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vidfer.train import detector_run, loop, paste, scenes  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import detector_folds  # noqa: E402

CONFIG = loop.LoopConfig(epochs=3, steps_per_epoch=1, warmup_steps=1, evaluate_every=3)


def scene(name: str, *, negative: bool) -> scenes.Scene:
    image = np.random.default_rng(len(name)).integers(0, 80, (64, 96, 3), np.uint8)
    box = np.zeros((0, 4), np.float32) if negative else np.array([[10, 10, 40, 50]], np.float32)
    valid = np.ones(len(box), bool)
    return scenes.Scene(name=name, image=image, box_px=box, valid=valid, masked=~valid, negative=negative)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Small training data in place of the tables; gives the scenes of each search for hard negatives."""
    everything = [scene("a" * k, negative=k % 2 == 0) for k in range(1, 7)]
    points = np.random.default_rng(0).uniform(20, 70, (478, 2)).astype(np.float32)
    face = paste.face_cut(np.full((96, 96, 3), 200, np.uint8), points, 0.1)
    monkeypatch.setattr(detector_run, "load_scenes", lambda path, split: everything)
    monkeypatch.setattr(detector_run, "load_faces", lambda folder: [face])
    task = detector_run.DetectorTask
    monkeypatch.setattr(detector_run, "DetectorTask", lambda *args, **kw: task(*args, **kw, size=128, batch_size=2))
    calls: list[list[str]] = []
    hard_places = detector_run.hard_places

    def search(find, searched_scenes):
        calls.append([s.name for s in searched_scenes])
        found = hard_places(find, searched_scenes)
        assert found == []  # the weights of the run, which know nothing yet
        return [detector_run.Place(scene=1, box_px=np.array([50, 10, 70, 30], np.float32))]

    monkeypatch.setattr(detector_run, "hard_places", search)
    return calls


def aside(name: str) -> bool:
    return len(name) > 4


def test_an_interrupted_run_searches_once_and_ends_with_the_same_weights(searched, tmp_path, monkeypatch) -> None:
    detector_run.fit_detector(tmp_path, tmp_path / "whole", CONFIG, aside=aside)
    assert searched == [["a", "aa", "aaa", "aaaa"]]
    write = detector_run.write_places

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(detector_run, "write_places", stop)
    with pytest.raises(KeyboardInterrupt):
        detector_run.fit_detector(tmp_path, tmp_path / "cut", CONFIG, aside=aside)
    monkeypatch.setattr(detector_run, "write_places", write)
    detector_run.fit_detector(tmp_path, tmp_path / "cut", CONFIG, aside=aside, resume=True)
    detector_run.fit_detector(tmp_path, tmp_path / "cut", CONFIG, aside=aside, resume=True)
    assert len(searched) == 3
    whole, cut = (loop.read_weights(tmp_path / name, "last")[0] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_is_not_written_over(searched, tmp_path) -> None:
    detector_run.fit_detector(tmp_path, tmp_path / "run", CONFIG, aside=aside)
    with pytest.raises(loop.UsageError, match="holds a training run already"):
        detector_run.fit_detector(tmp_path, tmp_path / "run", CONFIG, aside=aside)


def test_every_scene_is_in_one_fold_whether_held_out_or_not() -> None:
    names = [f"scene_{i}.jpg" for i in range(3000)]
    folds = np.array([[detector_folds.in_fold(fold, 3)(name) for name in names] for fold in range(3)])
    assert (folds.sum(0) == 1).all()
    held = np.array([scenes.held_out(name) for name in names])
    assert np.abs(folds.mean(1) - 1 / 3).max() < 0.05
    assert np.abs(folds[:, held].mean(1) - 1 / 3).max() < 0.1


def test_false_faces_of_all_folds_are_counted_together() -> None:
    pictures = [scene(str(k), negative=k > 0) for k in range(4)]
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    found = [
        (np.array([[10, 10, 40, 50]], np.float32), np.array([0.9], np.float32)),
        (np.array([[0, 0, 9, 9], [20, 20, 40, 40]], np.float32), np.array([0.72, 0.3], np.float32)),
        (np.array([[0, 0, 9, 9]], np.float32), np.array([0.6], np.float32)),
        nothing,
    ]
    told = detector_folds.summary(pictures, found, 0.66)
    assert told["negatives"] == 3
    assert told["figures"]["negative_pictures_with_false_faces"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert told["figures"]["ap50_20px"] == 1
    assert told["pictures_with_false_faces_at"] == {
        "0.5": 2, "0.55": 2, "0.6": 2, "0.65": 1, "0.7": 1, "0.75": 0, "0.8": 0,
    }  # fmt: skip
    assert told["highest_scores_on_negatives"] == [0.72, 0.6, 0]
