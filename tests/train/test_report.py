"""What `vidfer train evaluate` prints, on made-up rows and on cases worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from vidfer.train import conditions, groups, keypoints, metrics, paste, report, teachers
from vidfer.train.data import read_faces
from vidfer.train.detector_run import figures
from vidfer.train.evaluate import Task, emotion_tasks
from vidfer.train.mesh import MeshBasis
from vidfer.train.metrics import Measure
from vidfer.train.scenes import Scene
from vidfer.types import EMOTIONS
from vidfer.vision.session import load_card, model_path

SETS = ("ferplus", "affectnet", "diffusionfer", "lfpw", "ytf")
A, B = (0, 0, 40, 40), (100, 100, 116, 116)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rows of noise of every set in val and in train, and as many scenes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = [row(rng, name, split, k) for split in ("val", "train") for name in SETS for k in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "faces.parquet")
    basis = rng.normal(size=(128, 478, 3)).astype(np.float32) / 100
    np.savez(folder / "mesh_basis.npz", mean=rng.normal(size=(478, 3)).astype(np.float32) / 3, basis=basis)
    scenes = [
        {
            "image": noise(rng, 64, 96),
            "name": f"{split}{k}",
            "split": split,
            "negative": k % 2 == 1,
            "boxes": [] if k % 2 else [[10, 10, 30, 40]],
            "valid": [] if k % 2 else [True],
            "masked": [] if k % 2 else [k == 0],
        }
        for split in ("val", "train")
        for k in range(6)
    ]
    pq.write_table(pa.Table.from_pylist(scenes), folder / "scenes.parquet")
    return folder


def noise(rng: np.random.Generator, height: int, width: int) -> bytes:
    done, data = cv2.imencode(".png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert done
    return data.tobytes()


def row(rng: np.random.Generator, name: str, split: str, k: int) -> dict[str, Any]:
    fer = name == "ferplus"
    return {
        "image": noise(np.random.default_rng(k // 2), 48, 48) if fer else noise(rng, 60, 60),
        "set": name,
        "split": split,
        "group": f"{split}{name}{k // 2}",
        "label": EMOTIONS[k % 7],
        "label7": EMOTIONS[k % 7] if fer else None,
        "votes": rng.permutation([8, 1, 1, 0, 0, 0, 0, 0]).tolist() + [0, 0] if fer else None,
        "valence": rng.uniform(-1, 1),
        "arousal": rng.uniform(-1, 1),
        "points68": rng.uniform(10, 50, 136).tolist() if name in ("lfpw", "ytf") else None,
        "mesh_coef": rng.normal(size=128).tolist(),
        "mesh_frame": [30.0, 30.0, 20.0, 0.1],
        "soft8": rng.dirichlet(np.ones(8)).tolist(),
        "soft7": rng.dirichlet(np.ones(7)).tolist(),
        "soft_va": rng.uniform(-1, 1, 2).tolist(),
        "soft_id": rng.normal(size=128).tolist(),
    }


def test_a_face_network_is_reported_with_its_teachers_and_labels(data: Path) -> None:
    found = json.loads(json.dumps(report.report_faces(model_path("face_analyzer"), data)))
    assert found["network"]["sha256"] == load_card("face_analyzer").sha256
    for name in set(load_card("face_analyzer").details["metrics"]) - {"mesh_error_colour"}:
        assert found["figures"][name]["low"] <= found["figures"][name]["high"], name
    assert set(found["teachers"]) == {"soft8", "soft7", "soft_va", "mesh", "soft_id"}
    for teacher, of_teacher in found["teachers"].items():
        assert of_teacher, teacher
        assert set(of_teacher) <= set(found["figures"]) | set(found["further"])
    assert found["labels"]["ferplus_accuracy_of_a_repeat"]["n"] == 3  # pictures that are there more than once
    assert np.sum(found["classes"]["affectnet"]["confusion"]) == 6
    of_conditions = found["groups"]["the same faces, changed"]
    assert of_conditions["as they are"] == {
        name: found["figures"][name] for name in (*conditions.FIGURES, "identity_pair_auc")
    }
    assert of_conditions["masked"] != of_conditions["as they are"]


def test_a_detector_is_reported_with_its_false_faces(data: Path) -> None:
    found = json.loads(json.dumps(report.report_detector(model_path("face_detector"), data)))
    assert found["figures"]["negative_pictures_with_false_faces"]["n"] == 3
    assert found["figures"]["faces_20px"] == 3
    assert set(load_card("face_detector").details["metrics"]) <= set(found["figures"])


def scene(*boxes: tuple[int, ...], masked: bool = False) -> Scene:
    box = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        name="",
        image=np.full((200, 200, 3), 120, np.uint8),
        box_px=box,
        valid=np.ones(len(box), bool),
        masked=np.full(len(box), masked),
        negative=not boxes,
    )


def seen(*rows: tuple[float, ...]) -> tuple[Any, Any]:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return array[:, :4], array[:, 4]


def test_detections_at_the_threshold_are_counted() -> None:
    scenes = [scene(A, B), scene(A), scene(), scene()]
    found = [seen((*A, 0.9), (*B, 0.4)), seen((150, 150, 190, 190, 0.8)), seen((*A, 0.7), (*B, 0.6)), seen((*A, 0.3))]
    got = figures(scenes, found, 0.5)
    assert (got["faces_12px"], got["recall_12px_at_threshold"]) == (3, 0.3333)
    assert got["recall_20px_at_threshold"] == 0.5
    assert got["false_faces_per_negative_picture"] == 1
    assert got["negative_pictures_with_false_faces"]["value"] == 0.5
    low, high = got["recall_20px_at_threshold_interval"]
    assert low <= 0.5 <= high


def test_the_detector_is_looked_at_by_mask_and_size() -> None:
    scenes = [scene(A, B, masked=k < 40) for k in range(80)]
    found = [seen((*A, 0.9), (*B, 0.9 if k < 40 else 0.1)) for k in range(80)]
    got = groups.recall_by_group(scenes, found, 0.5)
    assert {name: f["recall_at_threshold"].value for name, f in got["mask"].items()} == {"masked": 1, "bare": 0.5}
    of_size = got["shorter side of the face, px"]
    assert {name: f["recall_at_threshold"].value for name, f in of_size.items()} == {"under 20": 0.5, "32 to 64": 1}
    assert of_size["under 20"]["recall_at_threshold"].n == 80


def test_points_that_are_off_by_a_hundredth_of_the_face() -> None:
    target = np.random.default_rng(0).uniform(0, 100, (5, 68, 2))
    exact = {
        m.name: m.figure().value for m in keypoints.keypoint_measures(np.arange(5), target, target, np.full(5, 100))
    }
    assert exact == {"points4_error_lfpw": 0, "points15_rmse_px_lfpw": 0}
    moved = keypoints.keypoint_measures(np.arange(5), target + (0, 1), target, np.full(5, 100.0))
    assert moved[0].figure().value == pytest.approx(0.01 / 1.10)
    assert moved[1].figure().value == pytest.approx(0.96 / np.sqrt(2))  # x is right: half of the coordinates


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_never_a_point(counted: tuple[int, int]) -> None:
    found = metrics.share(*counted)
    assert found.low >= 0
    assert found.low <= found.value <= found.high
    assert found.high <= 1
    assert found.high > found.low


def test_none_of_61_may_still_be_one_in_17() -> None:
    found = metrics.share(0, 61)
    assert (found.low, found.high) == (pytest.approx(0, abs=1e-9), pytest.approx(0.0592, abs=1e-4))


def test_groups_hold_their_rows_and_small_ones_are_left_out() -> None:
    values = np.array([1.0] * 50 + [0.0] * 30 + [1.0] * 5)
    measure = Measure(name="m", metric=metrics.mean, rows=np.arange(100, 185), columns=(values,))
    turned = np.r_[np.zeros(150), np.full(30, 20), np.full(5, 99), np.full(15, np.nan)]
    masks = groups._bins(turned, (15, 30))
    assert sum(mask.sum() for mask in masks.values()) == 185
    got = groups.figures_by_group([measure], {"turn": masks, "all": {"one": np.ones(200, bool)}})
    assert {name: found["m"].value for name, found in got["turn"].items() if found} == {"under 15": 1, "15 to 30": 0}
    assert got["all"] == {"one": {}}


def test_brightness_is_that_of_the_box_in_grey_and_in_colour() -> None:
    grey = np.zeros((20, 20), np.uint8)
    grey[5:10, 5:10] = 200
    box = np.array([5, 5, 10, 10], np.float32)
    assert groups.brightness(grey, box) == pytest.approx(200)
    assert groups.brightness(np.repeat(grey[..., None], 3, 2), box) == pytest.approx(200)
    assert np.isnan(groups.brightness(grey, box + 100))


def test_classes_are_counted() -> None:
    probability = np.eye(3)[[0, 0, 1, 2]]
    task = Task(rows=np.arange(4), probability=probability, label=np.array([0, 1, 1, 1]), labels=("a", "b", "c"))
    found = groups.class_figures(task)
    assert found["confusion"] == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert {name: figure["value"] for name, figure in found["recall"].items()} == {"a": 1, "b": 0.3333}


def test_contempt_is_left_out_of_seven_classes() -> None:
    class Rows:
        set_name = np.array(["affectnet", "diffusionfer", "ferplus"])
        votes = np.array([[np.nan] * 10] * 2 + [[0, 0, 0, 0, 0, 0, 0, 10, 0, 0]])
        label = np.array([7, 1, -1])
        label7 = np.array(["", "", "happiness"])

    tasks = emotion_tasks(Rows, {"emotion": np.tile([0, 1, 0, 0, 0, 0, 0, 5.0], (3, 1))})
    assert {name: task.guess.tolist() for name, task in tasks.items()} == {
        "ferplus": [7],
        "fer2013": [1],
        "affectnet": [7],
        "affectnet_7": [],
        "diffusionfer": [1],
    }
    own = emotion_tasks(Rows, {"emotion": np.zeros((3, 8)), "fer2013": np.eye(7)[[3, 3, 3]]})
    assert own["fer2013"].guess.tolist() == [3]


def test_faces_to_paste_are_those_to_learn_from(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    basis = MeshBasis(data / "mesh_basis.npz")
    rows = read_faces(data, "train", basis, ("ferplus", "ytf"))
    monkeypatch.setattr(paste, "_FACE_SETS", ("ferplus", "ytf"))
    found = paste.load_faces(data)
    assert len(found) == int((np.abs(rows.mesh_frame[:, 3]) <= 0.8).sum()) > 0
    assert {face.levels[0].shape[:2] for face in found} == {(60, 60)}  # all of FER+ is also in val here


def test_a_rater_is_compared_with_the_others() -> None:
    votes = np.array([[10, 0, 0, 0, 0, 0, 0, 0, 0, 0], [7, 2, 0, 0, 0, 0, 0, 0, 1, 0]], np.float32)
    hits, raters = teachers.one_rater(votes)
    assert hits.tolist() == [10, 7]
    assert raters.tolist() == [10, 10]


def test_votes_on_a_picture_that_is_there_three_times(tmp_path: Path) -> None:
    votes = [[9, 1], [8, 2], [1, 9], [9, 1], [5, 5]]
    images = [b"a", b"a", b"a", b"b", b"a"]
    rows = [{"image": i, "set": "ferplus", "votes": [*v, *[0] * 8]} for i, v in zip(images, votes, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "faces.parquet")
    same, pairs = teachers.repeats(tmp_path)
    assert (same.tolist(), pairs.tolist()) == ([1], [3])


@pytest.mark.parametrize("name", conditions.CONDITIONS)
def test_conditions_change_a_copy_of_the_picture_alone(name: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 100, 3), dtype=np.uint8)
    before, mesh = image.copy(), rng.uniform(20, 80, (478, 2)).astype(np.float32)
    changed = conditions.CONDITIONS[name](image, mesh)
    assert (image == before).all()
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert (changed != image).any() == (name != "as they are")


def test_a_mask_covers_what_is_below_the_nose() -> None:
    mesh = np.stack(np.meshgrid(np.linspace(20, 80, 20), np.linspace(10, 90, 20)), -1).reshape(-1, 2)
    mesh[1] = (50, 50)
    changed = conditions.covered(np.zeros((100, 100, 3), np.uint8), mesh.astype(np.float32))
    assert not changed[:50].any()
    assert changed[55:88, 22:78].all()
