"""Our scorer of face ids against motmetrics, on random cases, and on cases one can count by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "mot_score.py"
_SPEC = importlib.util.spec_from_file_location("mot_score", _PATH)
mot_score = sys.modules["mot_score"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mot_score)


def boxes(rows):
    """Boxes from (frame, identity, x, y, w, h[, valid]) rows."""
    rows = np.array([(*row, 1)[:7] if len(row) == 6 else row for row in rows], np.float64).reshape(-1, 7)
    return mot_score.Boxes(
        frame=rows[:, 0].astype(np.int64),
        identity=rows[:, 1].astype(np.int64),
        xywh=rows[:, 2:6],
        valid=rows[:, 6] != 0,
    )


def random_case(seed):
    """People who wander about in a small room, found with noise, misses, false boxes and swapped ids."""
    rng = np.random.default_rng(seed)
    people, frames = int(rng.integers(1, 5)), int(rng.integers(4, 30))
    place = rng.uniform(0, 120, (people, 2))
    names, truth, found = rng.permutation(people) + 1, [], []
    labels = list(range(10, 10 + people))
    for frame in range(frames):
        place = place + rng.normal(0, 6, place.shape)
        if rng.random() < 0.15:
            rng.shuffle(labels)
        for person in range(people):
            box = [*place[person], 40.0, 50.0]
            if rng.random() < 0.9:
                truth.append((frame, names[person], *box))
            if rng.random() < 0.85:
                found.append((frame, labels[person], *(np.array(box) + rng.normal(0, 4, 4))))
        if rng.random() < 0.2:
            found.append((frame, 99, *rng.uniform(0, 120, 2), 40.0, 50.0))
    return boxes(truth), boxes(found)


@pytest.mark.parametrize("seed", range(60))
def test_it_agrees_with_motmetrics(seed):
    mm = pytest.importorskip("motmetrics")
    truth, found = random_case(seed)
    accumulator = mm.MOTAccumulator(auto_id=True)
    for frame in range(int(max(truth.frame.max(), found.frame.max())) + 1):
        a, b = truth.frame == frame, found.frame == frame
        iou, _ = mot_score.overlap(truth.xywh[a], found.xywh[b])
        accumulator.update(truth.identity[a], found.identity[b], np.where(iou >= 0.4, 1 - iou, np.nan))
    names = ["idf1", "idp", "idr", "mota", "num_switches", "num_misses", "num_false_positives"]
    expected = mm.metrics.create().compute(accumulator, metrics=names, name="x").iloc[0]
    ours = mot_score.score(truth, found)
    np.testing.assert_allclose([ours.idf1, ours.idp, ours.idr, ours.mota], expected[names[:4]].astype(float), atol=1e-9)
    assert [ours.switches, ours.misses, ours.false_positives] == [int(expected[name]) for name in names[4:]]


def test_a_perfect_result_is_perfect_whatever_the_ids_are_called():
    truth, _ = random_case(3)
    renamed = mot_score.Boxes(frame=truth.frame, identity=100 - truth.identity, xywh=truth.xywh, valid=truth.valid)
    result = mot_score.score(truth, renamed)
    assert (result.idf1, result.mota, result.switches) == (1, 1, 0)


def test_one_swap_counted_by_hand():
    left, right = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 10.0, 10.0)
    truth = boxes([(f, i, *b) for f in range(10) for i, b in ((1, left), (2, right))])
    found = boxes([(f, i if f < 7 else 3 - i, *b) for f in range(10) for i, b in ((1, left), (2, right))])
    result = mot_score.score(truth, found)
    assert result.switches == 2
    assert result.idf1 == pytest.approx(0.7)


def test_boxes_on_ignore_regions_do_not_count():
    truth = boxes([(0, 1, 0, 0, 10, 10, 1), (0, 2, 6, 0, 10, 10, 0), (0, 3, 100, 100, 50, 50, 0)])
    face = (0, 7, 0, 0, 10, 10)
    on_ignored, inside_ignored, elsewhere = (0, 8, 6, 0, 10, 10), (0, 9, 105, 105, 8, 8), (0, 10, 200, 0, 10, 10)
    result = mot_score.score(truth, boxes([face, on_ignored, inside_ignored]))
    assert (result.idf1, result.false_positives, result.ignored_boxes) == (1, 0, 2)
    assert mot_score.score(truth, boxes([face, elsewhere])).false_positives == 1
    # A box that fits an ignored face better than the free one is not taken for the free one.
    only = mot_score.score(truth, boxes([(0, 8, 5, 0, 10, 10)]))
    assert (only.misses, only.found_boxes, only.ignored_boxes) == (1, 0, 1)


def test_a_box_that_fits_a_face_counts_even_inside_an_ignore_region():
    truth = boxes([(0, 1, 10, 10, 10, 10, 1), (0, 2, 0, 0, 100, 100, 0)])
    assert mot_score.score(truth, boxes([(0, 7, 10, 10, 10, 10)])).idf1 == 1


def test_nothing_at_all_is_not_a_number():
    assert np.isnan(mot_score.score(boxes([]), boxes([])).idf1)
    assert mot_score.score(boxes([(0, 1, 0, 0, 1, 1)]), boxes([])).idf1 == 0


def test_the_command_line_leaves_predicted_rows_out(tmp_path, capsys):
    (tmp_path / "gt.txt").write_text("1,5,0,0,10,10,1,1,1\n2,5,0,0,10,10,1,1,1\n3,6,0,0,9,9,0,1,1\n")
    table = {
        "frame": [0, 1, 2, 3],
        "face_id": [0, 0, 0, None],
        "face_status": ["detected", "tracked", "predicted", None],
        **{name: [value] * 3 + [None] for name, value in zip(("face_x", "face_y"), (0.0, 0.0), strict=True)},
        **{name: [value] * 3 + [None] for name, value in zip(("face_w", "face_h"), (10.0, 10.0), strict=True)},
    }
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    mot_score.main([str(tmp_path / "gt.txt"), str(tmp_path / "x.parquet"), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (result["idf1"], result["found_boxes"], result["ignored_boxes"]) == (1, 2, 0)
