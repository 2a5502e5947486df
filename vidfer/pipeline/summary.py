"""`summary`: statistics of the faces in a table, read in pieces and only the columns that are needed.

Rows come frame after frame, statistics need them face after face: in between they lie on the disk, 88 bytes each. Kept
in memory are some 30 bytes a frame, and the rows of one or two faces: with two faces always on screen a minute takes
130 MB, an hour 190, ten hours 480 (benchmarks/summary_memory.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.errors import InputError, UsageError
from vidfer.media.timecode import parse_timecode
from vidfer.output.parquet import check_version, open_table, read_footer
from vidfer.pipeline.scratch import Scratch, Slots
from vidfer.pipeline.timeline import Timeline, usual_interval_s
from vidfer.stats.affect import AffectSummary
from vidfer.stats.baseline import Span, baseline
from vidfer.stats.series import Affect, FaceSeries, frame_durations
from vidfer.stats.summary import FaceSummary, SourceSummary, summarize_face, summarize_video
from vidfer.stats.synchrony import SIGNALS, Synchrony, SynchronyOptions, synchrony
from vidfer.types import EMOTIONS, F64, I64, Bool

# All pairs of these are compared, the faces longest on screen: 66 pairs; in a crowd nobody reads thousands of them.
MOST_COMPARED = 12

_FRAME = ("frame", "timestamp", "shot", "epoch", "face_id")
_RAW = [*(f"emotion_{name}" for name in EMOTIONS), "valence", "arousal"]
_SMOOTH = [f"{name}_smooth" for name in _RAW]
_NEEDED = [*_FRAME, "face_status", "emotion_smooth", *_RAW, *_SMOOTH]
_ROW = np.dtype([("at", "i4"), ("label", "i1"), ("raw", "f4", len(_RAW)), ("smooth", "f4", len(_SMOOTH))])


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOptions:
    """What to say of tables.

    Attributes:
        baseline: When people were neutral; "auto" finds it; None leaves it out.
        least_prominence: Of peaks.
        synchrony: Windows and lags; None compares no faces. The grid is never finer than the analysed frames.
    """

    baseline: Span | Literal["auto"] | None = None
    least_prominence: float = 0.2
    synchrony: SynchronyOptions | None = SynchronyOptions()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        if not 0 < self.least_prominence <= 2:
            raise UsageError(f"prominence is {self.least_prominence}: give a number above 0 and at most 2")
        if self.synchrony is not None and not 1 <= self.synchrony.window_s < math.inf:
            raise UsageError(f"window is {self.synchrony.window_s:g}: give 1 or more seconds")
        if self.synchrony is not None and not 0 < self.synchrony.max_lag_s <= self.synchrony.window_s:
            raise UsageError(f"max lag is {self.synchrony.max_lag_s:g}: give seconds, at most those of the window")


def parse_baseline(text: str) -> Span | Literal["auto"]:
    """Read ``0:05-0:15`` or ``auto``.

    Raises:
        UsageError: It is neither.
    """
    if text.strip() == "auto":
        return "auto"
    start, dash, end = text.partition("-")
    times = [parse_timecode(part).seconds for part in (start, end)] if dash else [None]
    if times[0] is None or times[-1] is None or times[0] >= times[-1]:
        raise UsageError(f"baseline is {text!r}: give a span of time such as 0:05-0:15, or auto")
    return Span(start_s=float(times[0]), end_s=float(times[-1]))


def summarize_table(path: Path, options: SummaryOptions = SummaryOptions()) -> SourceSummary:
    """Statistics of one table of observations.

    Args:
        path: The table; `table` in the summary is this path as it is given.
        options: What to say.

    Raises:
        InputError: It is no table of observations of this version, has no rows, or none with a time.
    """
    about = _checked(path)
    with TemporaryDirectory(prefix="vidfer-") as folder:
        timeline, counts, identity = _counted(path, about)
        with Scratch(Path(folder) / "rows", _ROW) as rows:
            faces = _Faces(timeline, counts, identity, rows)
            for part in _parts(path, [*_NEEDED]):
                faces.add(part)
            told = tuple(_told(faces, options))
            pairs = () if options.synchrony is None else tuple(_pairs(faces, told, options.synchrony))
    return SourceSummary(
        table=str(path),
        source=about["source"]["name"],
        video=summarize_video(faces.duration_s, faces.at_once, told),
        faces=told,
        synchrony=pairs,
    )


def _checked(path: Path) -> dict[str, Any]:
    """The footer of a table that has what is needed."""
    if path.name.endswith(".tracks.parquet"):
        raise InputError(f"{path} has one row per track: give the table beside it, NAME.parquet")
    about = read_footer(path)
    check_version(path, about)
    with open_table(path) as file:
        names, rows = set(file.schema_arrow.names), file.metadata.num_rows
    if lacking := [name for name in _NEEDED if name not in names]:
        raise InputError(f"{path} lacks {', '.join(lacking)}: give a table with all columns of `vidfer schema`")
    if not rows:
        raise InputError(f"{path} has no rows: nothing was analysed; look at its report, or process the video again")
    return about


def _parts(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    with open_table(path) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        for i in range(file.metadata.num_row_groups):
            yield file.read_row_group(i, columns=there)


def _counted(path: Path, about: dict[str, Any]) -> tuple[Timeline, I64, dict[int, int]]:
    """The frames, how many measured rows each face has, and who it is where the table knows."""
    sampling, rate = about.get("sampling") or {}, about["source"].get("average_frame_rate")  # cameras have no sampling
    frame_rate = None if rate is None else Fraction(rate)
    timeline = Timeline(usual_interval_s(frame_rate, fps=sampling.get("fps"), stride=sampling.get("stride")))
    counts = np.zeros(0, np.int64)
    identity: dict[int, int] = {}
    for part in _parts(path, [*_FRAME, "valence", "valence_smooth", "identity"]):
        frame, time_s, shot, epoch = (part[name].to_numpy() for name in _FRAME[:4])
        timeline.add(frame, time_s.astype(np.float64), shot, epoch)
        real = _is_measured(part)
        face_id = part["face_id"].to_numpy()[real].astype(np.int64)
        more = np.bincount(face_id, minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
        if "identity" in part.column_names:
            known = part.select(["face_id", "identity"]).filter(pc.is_valid(part["identity"]))
            identity |= dict(zip(*(known[name].to_pylist() for name in ("face_id", "identity")), strict=True))
    timeline.close()
    if not timeline.is_timed.any():
        raise InputError(f"{path} has no times (photos, say): a summary is about time; average its columns instead")
    return timeline, counts, identity


def _is_measured(part: pa.Table) -> Bool:
    return np.asarray(pc.and_(pc.is_valid(part["valence"]), pc.is_valid(part["valence_smooth"])).to_numpy())


class _Faces:
    """All faces of a source, one at a time.

    Attributes:
        duration_s: f64[F], how long each frame is seen.
        at_once: i64[F], faces in each frame, bridged ones included.
        ids: Of the faces that were measured.
    """

    def __init__(self, timeline: Timeline, counts: I64, identity: dict[int, int], rows: Scratch) -> None:
        self._timeline, self._counts, self._identity, self._rows = timeline, counts, identity, rows
        self._slots = Slots(counts)
        self.duration_s: F64 = frame_durations(timeline.time_s, timeline.interval_s, timeline.longest_gap_s)
        self.at_once: I64 = np.zeros(len(self.duration_s), np.int64)
        self._predicted_s: F64 = np.zeros(len(counts))
        self.ids: list[int] = np.flatnonzero(counts).tolist()

    def add(self, part: pa.Table) -> None:
        """Take the next rows."""
        at = self._timeline.position(part["frame"].to_numpy())
        present, real = pc.is_valid(part["face_id"]).to_numpy(), _is_measured(part)
        self.at_once += np.bincount(at[present], minlength=len(self.at_once))
        face_id = part["face_id"].fill_null(0).to_numpy().astype(np.int64)
        bridged = present & ~real & (face_id < len(self._counts))
        np.add.at(self._predicted_s, face_id[bridged], self.duration_s[at[bridged]])
        rows = np.empty(int(real.sum()), _ROW)
        rows["at"] = at[real]
        label = pc.index_in(part["emotion_smooth"].cast(pa.string()), pa.array(EMOTIONS))
        rows["label"] = label.to_numpy()[real]
        for name, columns in (("raw", _RAW), ("smooth", _SMOOTH)):
            for i, column in enumerate(columns):
                rows[name][:, i] = part[column].to_numpy()[real]
        self._rows.put(self._slots.of(face_id[real]), rows)

    def series(self, face_id: int) -> FaceSeries:
        """One of them."""
        start = int(self._slots.first[face_id])
        rows = self._rows.read([(start, start + int(self._counts[face_id]))])
        at, raw = rows["at"], rows["raw"]
        return FaceSeries(
            face_id=face_id,
            identity=self._identity.get(face_id),
            time_s=self._timeline.time_s[at],
            duration_s=self.duration_s[at],
            part=self._timeline.parts(at),
            raw=_affect(raw, raw[:, : len(EMOTIONS)].argmax(axis=1).astype(np.int8)),
            smooth=_affect(rows["smooth"], rows["label"].copy()),
            predicted_s=float(self._predicted_s[face_id]),
        )

    def persons(self) -> list[list[int]]:
        """Tracks of one person belong together; without identities every track is one."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for face_id in self.ids:
            known = face_id in self._identity
            groups.setdefault((known, self._identity.get(face_id, face_id)), []).append(face_id)
        return list(groups.values())


def _affect(values: Any, label: Any) -> Affect:
    probability, rest = values[:, : len(EMOTIONS)], values[:, len(EMOTIONS) :]
    return Affect(probability=probability, label=label, valence=rest[:, 0], arousal=rest[:, 1])


def _told(faces: _Faces, options: SummaryOptions) -> Iterator[FaceSummary]:
    own = _baselines(faces, options.baseline) if options.baseline is not None else {}
    for face_id in faces.ids:
        series = faces.series(face_id)
        yield summarize_face(series, least_prominence=options.least_prominence, baseline=own.get(face_id))


def _baselines(faces: _Faces, wanted: Span | Literal["auto"]) -> dict[int, AffectSummary]:
    span = None if wanted == "auto" else wanted
    own: dict[int, AffectSummary] = {}
    for person in faces.persons():
        found = baseline([faces.series(face_id) for face_id in person], span)
        if found is not None:
            own |= dict.fromkeys(person, found)
    return own


def _pairs(faces: _Faces, told: Sequence[FaceSummary], options: SynchronyOptions) -> Iterator[Synchrony]:
    grid_s = max(options.grid_s, float(np.median(faces.duration_s)))
    options = replace(options, grid_s=grid_s)
    longest = sorted(told, key=lambda face: -face.measured_s)[:MOST_COMPARED]
    for one, other in combinations(sorted(longest, key=lambda face: face.face_id), 2):
        if min(one.last_s, other.last_s) - max(one.first_s, other.first_s) >= options.window_s:
            pair = faces.series(one.face_id), faces.series(other.face_id)
            for signal in SIGNALS:
                found = synchrony(*pair, signal, options)
                if found is not None:
                    yield found
