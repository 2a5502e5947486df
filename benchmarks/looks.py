"""How steady and how plausible tables look, without ground truth: to compare networks and settings on the same clips.

    python benchmarks/looks.py TABLE.parquet ... [--tracks]

It prints one JSON object: `clips` (by name) and `all`, the same over the faces of all clips; with --tracks also those
of every track. Only analysed rows count (not `predicted`), and changes only between frames that follow each other.

* `tracks`, `short_tracks` (less than 0.5 s), `gaps` (how often a track is out of sight and comes back), `predicted`
  (rows that bridge a gap, as a share).
* `flicker`, `flicker_smooth`: share of rows whose label is on a visit: it is left again within 0.5 s for the label
  that was there before. `changes_per_s`, `changes_per_s_smooth`: how often the label changes.
* `noise`: of single frames, as standard deviation: the second difference over time / sqrt(6), which is that of white
  noise and hardly sees slow change; root mean square over rows. `emotion` is that of the eight probabilities together,
  `yaw` is in degrees.
* `jitter`: the same of landmarks (median over the points, so that a mouth that speaks does not count) and of the box
  (centre and size), in percent of the distance between the outer corners of the eyes; median over the rows of still
  heads (`rows`), which move less than 1 % a frame. Apart for rows of key frames (`detected`) and the others
  (`tracked`): if they differ, faces are cropped differently there.
* `emotion`, `emotion_smooth`: share of every label. `valence`, `arousal`: mean.
* `turned`: by how far the head is turned (yaw, degrees): rows, the share of landmarks that lie further outside of the
  box than 5 % of its size, quality, confidence and landmark jitter. Turned heads are rarely still: jitter is that of
  all rows there, and can be compared between networks only.

What is lower is steadier, not better: a network that always says the same has no noise at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

F64 = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
Bool = npt.NDArray[np.bool_]

EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
VISIT_S = 0.5
STILL = 0.01  # eye distances a frame
OUTSIDE = 0.05
TURNED_DEG = (0, 15, 30, 45, 60, 91)
_EYES = {68: (36, 45), 478: (33, 263)}
_COLUMNS = (
    ["frame", "timestamp", "shot", "face_id", "face_status", "confidence", "quality", "emotion", "emotion_smooth"]
    + ["valence", "arousal", "valence_smooth", "arousal_smooth", "yaw"]
    + ["face_x", "face_y", "face_w", "face_h"]
    + [f"emotion_{name}{kind}" for kind in ("", "_smooth") for name in EMOTIONS]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The analysed rows of one face in one table.

    Attributes:
        place: Of its frames among all analysed ones.
        column: What the table says, by name: [T] numbers or texts.
        landmarks: f64[T,K,2] or None.
        predicted: Rows that are not here since they only bridge a gap.
    """

    place: npt.NDArray[np.int64]
    column: dict[str, Any]
    landmarks: F64 | None
    predicted: int


def _plain(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Numbers with NaN, or texts, for null."""
    if pa.types.is_dictionary(column.type):
        return np.array([text or "" for text in column.to_pylist()], np.str_)
    return np.asarray(column.to_numpy())


def read_tracks(table: Path) -> tuple[int, list[Track]]:
    """The number of frames and the tracks of a table."""
    file = pq.ParquetFile(table)
    with_landmarks = "landmarks" in file.schema_arrow.names
    rows = file.read(columns=[*_COLUMNS, *(["landmarks"] if with_landmarks else [])])
    frames, place = np.unique(rows["frame"].to_numpy(), return_inverse=True)
    face_id = rows["face_id"].to_numpy().astype(np.float64)
    column = {name: _plain(rows[name]) for name in _COLUMNS}
    observed = column["face_status"] != "predicted"
    tracks = []
    for number in np.unique(face_id[~np.isnan(face_id)]):
        mine = np.flatnonzero((face_id == number) & observed)
        points = None
        if with_landmarks:
            points = np.stack(rows["landmarks"].take(mine).to_numpy()).reshape(len(mine), -1, 2).astype(np.float64)
        track = Track(
            place=place[mine],
            column={name: values[mine] for name, values in column.items()},
            landmarks=points,
            predicted=int((face_id == number).sum()) - len(mine),
        )
        tracks.append(track)
    return len(frames), tracks


@dataclass(slots=True)
class Looks:
    """What was measured, row by row, so that it can be put together over tracks and clips."""

    rows: int = 0
    frames: int = 0
    seconds: float = 0.0
    count: dict[str, int] = field(default_factory=dict)
    values: dict[str, list[F64]] = field(default_factory=dict)
    labels: dict[str, list[Texts]] = field(default_factory=dict)

    def add(self, track: Track) -> None:
        """Measure a track."""
        gaps = np.diff(track.place) > 1
        self.rows += len(track.place)
        seconds = float(np.diff(track.column["timestamp"])[~gaps].sum())
        self.seconds += seconds
        self._count("tracks", 1)
        self._count("short_tracks", int(seconds < VISIT_S))
        self._count("gaps", int(gaps.sum()))
        self._count("predicted", track.predicted)
        for name in ("emotion", "emotion_smooth"):
            label, time_s = track.column[name], track.column["timestamp"]
            self.labels.setdefault(name, []).append(label)
            self._count(f"visits {name}", int(on_visit(label, time_s, gaps).sum()))
            self._count(f"changes {name}", int((label[1:] != label[:-1])[~gaps].sum()))
        for name in ("valence", "arousal", "quality", "confidence"):
            self._put(name, track.column[name])
        self._add_noise(track)
        if track.landmarks is not None and track.landmarks.shape[1] in _EYES:
            self._add_shape(track, track.landmarks)

    def _add_noise(self, track: Track) -> None:
        near = neighbours(track)
        for kind in ("", "_smooth"):
            emotion = np.stack([track.column[f"emotion_{name}{kind}"] for name in EMOTIONS], axis=1)
            self._put(f"noise emotion{kind}", np.sqrt((deviation(emotion) ** 2).sum(1))[near])
            for name in ("valence", "arousal"):
                self._put(f"noise {name}{kind}", np.abs(deviation(track.column[f"{name}{kind}"]))[near])
        self._put("noise yaw", np.abs(deviation(track.column["yaw"]))[near])

    def _add_shape(self, track: Track, points: F64) -> None:
        right, left = _EYES[points.shape[1]]
        # That of the track: on a profile both corners fall together.
        eyes = np.quantile(np.linalg.norm(points[:, right] - points[:, left], axis=1), 0.75)
        x, y, w, h = (track.column[f"face_{side}"].astype(np.float64) for side in "xywh")
        near, middle = neighbours(track), points.mean(1)
        # The median of the squares of noise in x and y is 2 ln 2 of its variance.
        jitter = 100 / eyes * np.sqrt(np.median((deviation(points) ** 2).sum(2), axis=1) / (2 * np.log(2)))
        of_box = 100 / eyes * np.sqrt((deviation(np.stack([x + w / 2, y + h / 2, w, h], 1)) ** 2).mean(1))
        still = near & (np.linalg.norm(middle[2:] - middle[:-2], axis=1) < 2 * STILL * eyes)
        detected = track.column["face_status"][1:-1] == "detected"
        for name, chosen in (("detected", still & detected), ("tracked", still & ~detected)):
            self._put(f"jitter landmarks {name}", jitter[chosen])
            self._put(f"jitter box {name}", of_box[chosen])
        outer = np.maximum(
            np.maximum(x[:, None] - points[..., 0], points[..., 0] - (x + w)[:, None]) / w[:, None],
            np.maximum(y[:, None] - points[..., 1], points[..., 1] - (y + h)[:, None]) / h[:, None],
        )
        yaw = np.abs(track.column["yaw"])
        for low, high in pairwise(TURNED_DEG):
            turned = (yaw >= low) & (yaw < high)
            self._put(f"turned {low} outside", (outer > OUTSIDE).mean(1)[turned])
            self._put(f"turned {low} jitter", jitter[near & turned[1:-1]])
            for name in ("quality", "confidence"):
                self._put(f"turned {low} {name}", track.column[name][turned])

    def _count(self, name: str, more: int) -> None:
        self.count[name] = self.count.get(name, 0) + more

    def _put(self, name: str, values: npt.ArrayLike) -> None:
        self.values.setdefault(name, []).append(np.asarray(values, np.float64))

    def as_dict(self) -> dict[str, Any]:
        """The figures; None where there is nothing to measure."""
        of = {name: np.concatenate(parts) for name, parts in self.values.items()}
        count, rows, seconds = self.count, max(self.rows, 1), self.seconds or np.nan
        kinds = {"": "emotion", "_smooth": "emotion_smooth"}
        return {
            "frames": self.frames,
            "rows": self.rows,
            **{name: count.get(name, 0) for name in ("tracks", "short_tracks", "gaps")},
            "predicted": _rounded(count.get("predicted", 0) / (rows + count.get("predicted", 0))),
            **{f"flicker{kind}": _rounded(count.get(f"visits {name}", 0) / rows) for kind, name in kinds.items()},
            **{f"changes_per_s{k}": _rounded(count.get(f"changes {n}", 0) / seconds) for k, n in kinds.items()},
            "noise": {name[6:]: _rms(values) for name, values in of.items() if name.startswith("noise ")},
            "jitter": {
                **{name[7:]: _median(values) for name, values in of.items() if name.startswith("jitter ")},
                "rows": sum(len(of.get(f"jitter box {kind}", ())) for kind in ("detected", "tracked")),
            },
            **{name: _shares(self.labels.get(name, [])) for name in kinds.values()},
            **{name: _mean(of.get(name, np.zeros(0))) for name in ("valence", "arousal", "quality", "confidence")},
            "turned": {
                f"{low}-{high}": {
                    "rows": len(of[f"turned {low} outside"]),
                    **{name: _mean(of[f"turned {low} {name}"]) for name in ("outside", "quality", "confidence")},
                    "jitter": _median(of[f"turned {low} jitter"]),
                }
                for low, high in pairwise(TURNED_DEG)
                if len(of.get(f"turned {low} outside", ()))
            },
        }


def neighbours(track: Track) -> Bool:
    """Of the rows but the first and the last: whether both rows beside them are the frames beside theirs."""
    shot = track.column["shot"]
    return np.asarray((track.place[2:] - track.place[:-2] == 2) & (shot[2:] == shot[:-2]))


def deviation(values: npt.NDArray[Any]) -> F64:
    """Second difference of values [T,...] / sqrt(6), [T-2,...]: white noise keeps its standard deviation."""
    values = values.astype(np.float64)
    return np.asarray((values[2:] - 2 * values[1:-1] + values[:-2]) / np.sqrt(6))


def on_visit(label: Texts, time_s: F64, gap: Bool) -> Bool:
    """Rows of a label that soon makes way for the one before it; none beside a gap.

    Args:
        label: [T].
        time_s: f64[T].
        gap: bool[T-1], where rows do not follow each other.
    """
    start = np.flatnonzero(np.append(True, (label[1:] != label[:-1]) | gap))
    stop = np.append(start[1:], len(label))
    visit = np.zeros(len(label), bool)
    for before, first, after in zip(start, start[1:], start[2:], strict=False):
        joined = not gap[first - 1] and not gap[after - 1]
        if joined and label[before] == label[after] and time_s[after] - time_s[first] < VISIT_S:
            visit[first : stop[start.searchsorted(first)]] = True
    return visit


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _rms(values: F64) -> float | None:
    return _rounded(float(np.sqrt(np.nanmean(values**2)))) if len(values) else None


def _median(values: F64) -> float | None:
    return _rounded(float(np.nanmedian(values))) if len(values) else None


def _mean(values: F64) -> float | None:
    return _rounded(float(np.nanmean(values))) if len(values) else None


def _shares(labels: Iterable[Texts]) -> dict[str, float]:
    names, counts = np.unique(np.concatenate([np.zeros(0, "<U1"), *labels]), return_counts=True)
    order = np.argsort(-counts)
    return {str(names[at]): round(float(counts[at] / counts.sum()), 4) for at in order}


def measure(tables: Iterable[Path], by_track: bool = False) -> dict[str, Any]:
    """The figures of all tables."""
    clips, everything = {}, Looks()
    for table in tables:
        clip, tracks = Looks(), []
        frames, found = read_tracks(table)
        for looks in (clip, everything):
            looks.frames += frames
            for track in found:
                looks.add(track)
        for track in found if by_track else ():
            tracks.append(one := Looks(frames=frames))
            one.add(track)
        clips[table.stem] = clip.as_dict() | ({"by_track": [one.as_dict() for one in tracks]} if by_track else {})
    return {"clips": clips, "all": everything.as_dict()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="How steady and plausible tables look.")
    parser.add_argument("tables", type=Path, nargs="+", help="tables of vidfer (NAME.parquet)")
    parser.add_argument("--tracks", action="store_true", help="figures of every track, too")
    options = parser.parse_args(arguments)
    tables = [table for table in options.tables if not table.name.endswith(".tracks.parquet")]
    print(json.dumps(measure(tables, options.tracks), indent=1))


if __name__ == "__main__":
    main()
