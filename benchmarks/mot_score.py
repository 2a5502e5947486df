"""Scores face ids against ground truth: IDF1, identity switches, MOTA.

    python benchmarks/mot_score.py GT.txt TABLE.parquet [--json]

GT.txt has MOTChallenge rows `frame(1-based),id,x,y,w,h,valid,...`; valid = 0 marks a region to ignore. TABLE.parquet is
a table of vidfer; its `predicted` rows do not take part. Definitions (those of motmetrics: see its test):

* A face and a box can be the same at IoU >= 0.4.
* First, boxes on ignore regions go: per frame, all boxes are assigned to all regions, valid or not (most pairs, then
  largest IoU); a box assigned to an ignore region is removed, and so is one without a partner of which more than half
  lies in one.
* IDTP, IDFP, IDFN: the one-to-one assignment of true to found identities over the whole video with the most frames in
  common (Ristani et al. 2016). IDF1 = 2 IDTP / (true + found), IDP = IDTP / found, IDR = IDTP / true.
* Switches, misses, false positives, MOTA (CLEAR MOT, Bernardin and Stiefelhagen 2008): a pair of the previous frames is
  kept while it can be; the rest is assigned per frame (most pairs, then largest IoU).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.optimize import linear_sum_assignment

MIN_IOU = 0.4
MAX_IGNORED_SHARE = 0.5
_FORBIDDEN = 1e6

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Boxes with an identity: frame i64[N] (0-based), identity i64[N], xywh f64[N,4], valid bool[N]."""

    frame: I64
    identity: I64
    xywh: F64
    valid: npt.NDArray[np.bool_]

    def keep(self, mask: npt.NDArray[np.bool_]) -> Boxes:
        """Those boxes only."""
        return Boxes(frame=self.frame[mask], identity=self.identity[mask], xywh=self.xywh[mask], valid=self.valid[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares in [0, 1] and counts; NaN where nothing is there to divide by."""

    idf1: float
    idp: float
    idr: float
    mota: float
    switches: int
    misses: int
    false_positives: int
    true_boxes: int
    found_boxes: int
    ignored_boxes: int
    true_identities: int
    found_identities: int


def read_truth(path: Path) -> Boxes:
    """Ground truth from a MOTChallenge text file."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    return Boxes(
        frame=rows[:, 0].astype(np.int64) - 1,
        identity=rows[:, 1].astype(np.int64),
        xywh=rows[:, 2:6],
        valid=rows[:, 6] != 0,
    )


def read_table(path: Path) -> Boxes:
    """The detected and tracked faces of a table of vidfer."""
    columns = ["frame", "face_id", "face_status", "face_x", "face_y", "face_w", "face_h"]
    table = pq.read_table(path, columns=columns).to_pandas()
    table = table[table["face_id"].notna() & (table["face_status"] != "predicted")]
    return Boxes(
        frame=table["frame"].to_numpy(np.int64),
        identity=table["face_id"].to_numpy(np.int64),
        xywh=table[["face_x", "face_y", "face_w", "face_h"]].to_numpy(np.float64),
        valid=np.ones(len(table), bool),
    )


def overlap(a: F64, b: F64) -> tuple[F64, F64]:
    """IoU [N,M] of boxes xywh [N,4] and [M,4], and the share of the area of `b` that lies in `a`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    union = area_a[:, None] + area_b[None] - common
    zero = np.zeros_like(common)
    iou = np.divide(common, union, out=zero.copy(), where=union > 0)
    share = np.divide(common, np.broadcast_to(area_b, common.shape), out=zero, where=area_b[None] > 0)
    return iou, share


def assign(iou: F64) -> list[tuple[int, int]]:
    """Pairs (row, column) with IoU of at least MIN_IOU: as many as can be, then the largest sum of IoU."""
    rows, columns = linear_sum_assignment(np.where(iou >= MIN_IOU, 1 - iou, _FORBIDDEN))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if iou[r, c] >= MIN_IOU]


def without_ignored(truth: Boxes, found: Boxes) -> Boxes:
    """The found boxes that are not on ignore regions."""
    kept = np.ones(len(found.frame), bool)
    for frame in np.unique(truth.frame[~truth.valid]):
        true_rows, rows = np.flatnonzero(truth.frame == frame), np.flatnonzero(found.frame == frame)
        iou, share = overlap(truth.xywh[true_rows], found.xywh[rows])
        pairs = assign(iou)
        ignore = ~truth.valid[true_rows]
        kept[rows[[c for r, c in pairs if ignore[r]]]] = False
        alone = np.setdiff1d(np.arange(len(rows)), [c for _, c in pairs])
        inside = share[ignore][:, alone].max(axis=0, initial=0) > MAX_IGNORED_SHARE
        kept[rows[alone[inside]]] = False
    return found.keep(kept)


def score(truth: Boxes, found: Boxes) -> Score:
    """Score found identities against the truth, ignore regions included."""
    counted = without_ignored(truth, found)
    valid = truth.keep(truth.valid)
    true_ids, true_index = np.unique(valid.identity, return_inverse=True)
    found_ids, found_index = np.unique(counted.identity, return_inverse=True)
    common = np.zeros((len(true_ids), len(found_ids)), np.int64)
    clear = _Clear()
    for frame in np.union1d(valid.frame, counted.frame):
        true_rows, rows = np.flatnonzero(valid.frame == frame), np.flatnonzero(counted.frame == frame)
        iou, _ = overlap(valid.xywh[true_rows], counted.xywh[rows])
        for r, c in np.argwhere(iou >= MIN_IOU):
            common[true_index[true_rows[r]], found_index[rows[c]]] += 1
        clear.update(valid.identity[true_rows], counted.identity[rows], iou)
    matched = int(common[linear_sum_assignment(-common)].sum())
    n_true, n_found = len(valid.frame), len(counted.frame)
    misses, false_positives = n_true - clear.matches, n_found - clear.matches
    return Score(
        idf1=_ratio(2 * matched, n_true + n_found),
        idp=_ratio(matched, n_found),
        idr=_ratio(matched, n_true),
        mota=1 - _ratio(misses + false_positives + clear.switches, n_true),
        switches=clear.switches,
        misses=misses,
        false_positives=false_positives,
        true_boxes=n_true,
        found_boxes=n_found,
        ignored_boxes=len(found.frame) - n_found,
        true_identities=len(true_ids),
        found_identities=len(found_ids),
    )


class _Clear:
    """Frame-by-frame matching of CLEAR MOT."""

    def __init__(self) -> None:
        self.partner: dict[int, int] = {}
        self.matches: int = 0
        self.switches: int = 0

    def update(self, true_ids: I64, found_ids: I64, iou: F64) -> None:
        free = iou.copy()
        for row, identity in enumerate(true_ids.tolist()):
            same = np.flatnonzero(found_ids == self.partner.get(identity, -1))
            if len(same) and free[row, same[0]] >= MIN_IOU:
                self.matches += 1
                free[row], free[:, same[0]] = 0, 0
        for row, column in assign(free):
            identity, other = int(true_ids[row]), int(found_ids[column])
            self.matches += 1
            self.switches += int(self.partner.get(identity, other) != other)
            self.partner[identity] = other


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Score face ids against ground truth.")
    parser.add_argument("truth", type=Path, help="MOTChallenge text file")
    parser.add_argument("table", type=Path, help="table of vidfer (Parquet)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = asdict(score(read_truth(options.truth), read_table(options.table)))
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:17} {value:.4f}" if isinstance(value, float) else f"{name:17} {value}")


if __name__ == "__main__":
    main()
