"""From a data set to a training table: rows are read three times, so that only some of them are in memory.

First labels alone, for the splits; then the rows of val and test; then those of train, of which copies of pictures in
val or test are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.errors import DataError, UsageError
from vidfer.train.copies import LEAST, thumbnails
from vidfer.train.datasets.affectnet import read_affectnet
from vidfer.train.datasets.faults import check_names, check_points, fault_of, present, without
from vidfer.train.datasets.fer import read_fer2013, read_ferplus
from vidfer.train.datasets.folders import read_folders, read_pictures
from vidfer.train.datasets.ibug import read_ibug
from vidfer.train.datasets.keypoints15 import read_keypoints
from vidfer.train.datasets.mesh_list import read_mesh_list
from vidfer.train.datasets.parquet import read_parquet
from vidfer.train.datasets.pictures import load, smaller
from vidfer.train.datasets.rows import POINTS, Face, Labels
from vidfer.train.datasets.samples import NO_GROUP, Sample, Source, Tally
from vidfer.train.datasets.splits import Row, SplitOptions, split_rows
from vidfer.train.datasets.summary import Summary
from vidfer.train.datasets.table import write_table
from vidfer.train.points import filled
from vidfer.types import F32

Reader = Callable[[Sequence[Path], Source], Iterator[Sample]]
Progress = Callable[[int, int], None]
FORMATS: Mapping[str, Reader] = {
    "affectnet": read_affectnet,
    "fer2013": read_fer2013,
    "ferplus": read_ferplus,
    "folders": read_folders,
    "ibug": read_ibug,
    "keypoints": read_keypoints,
    "mesh": read_mesh_list,
    "parquet": read_parquet,
    "pictures": read_pictures,
}
_ROWS = 256  # of train that are compared with val and test at a time
_SMALLEST_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a table is made.

    Attributes:
        set_name: Name of the set; None: that which the rows tell, or that of the format.
        split: See `SplitOptions`.
        needs: Labels (`faults.NAMES`) without which a row is left out.
        without: Labels that are left out.
        points: How many points rows get out of more of them where they have none: 4, 5 or 15.
        longest: Pictures with a longer side are cut to the face and shrunk to it; None: all stay as they are.
        keep_copies: Keep pictures of train that val or test has, too.
    """

    set_name: str | None = None
    split: SplitOptions = field(default_factory=SplitOptions)
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    points: tuple[int, ...] = ()
    longest: int | None = None
    keep_copies: bool = False

    def __post_init__(self) -> None:
        check_names(self.needs, "--needs")
        check_names(self.without, "--without")
        check_points(self.points)
        if self.longest is not None and self.longest < _SMALLEST_PX:
            raise UsageError(f"--longest must be {_SMALLEST_PX} or more px, got {self.longest}")


def build_table(
    kind: str,
    paths: Sequence[Path],
    table: Path,
    source: Source,
    options: BuildOptions,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Make a training table of a data set, and say what stands in it and what was left out (`Summary.as_dict`).

    Args:
        kind: One of `FORMATS`.
        paths: Its files or folders.
        table: The file to write.
        source: How it is read.
        options: How the table is made.
        progress: Called with how many rows are done, and of how many.

    Raises:
        DataError: Something of the data set is missing, or no row can be used.
        OutputError: The table cannot be written.
    """
    if kind not in FORMATS:
        raise UsageError(f"unknown format {kind!r}: choose one of {', '.join(FORMATS)}")
    build = _Build(kind, paths, source, options, progress)
    made: dict[str, Any] = {"format": kind, "sources": [path.name for path in paths]}
    try:
        write_table(table, build.faces(made), made)
    except DataError as error:
        if "summary" in made:  # all rows were looked at, and none was left
            tally = source.tally
            reasons = (f"{n} x {why} (the first: {tally.first[why]})" for why, n in tally.left_out.items())
            told = "; ".join(reasons)
            error.add_note(f"(left out were: {told})" if told else "(there was none to begin with)")
        raise
    return dict(made["summary"])


class _Build:
    def __init__(
        self, kind: str, paths: Sequence[Path], source: Source, options: BuildOptions, progress: Progress
    ) -> None:
        self._kind, self._paths, self._source, self._options = kind, paths, source, options
        self._progress = progress
        self._tally = source.tally
        rows = [_row(sample) for sample in self._samples(self._tally)]
        if rows and self._tally.labels[NO_GROUP] >= len(rows):
            raise UsageError(
                f"--group {source.group.pattern if source.group else ''} finds nothing in the name of any picture; the "
                f"first is {self._tally.first[NO_GROUP]}"
            )
        self._splits = split_rows(rows, options.split)

    def faces(self, made: dict[str, Any]) -> Iterator[Face]:
        """Rows to write: val and test, then train; `made` gets the summary at the end."""
        summary, held = Summary(self._tally), []
        for face, thumbnail in self._read(("val", "test"), 0):
            held.append(thumbnail)
            summary.add(face)
            yield face
        compared = np.stack(held) if held and not self._options.keep_copies else None
        for face in self._fresh(self._read(("train", None), len(held)), compared):
            summary.add(face)
            yield face
        made["summary"] = summary.as_dict()

    def _read(self, splits: tuple[str | None, ...], done: int) -> Iterator[tuple[Face, F32]]:
        """Rows of some splits with the thumbnails of their pictures."""
        for sample, split in zip(self._samples(Tally()), self._splits, strict=True):
            if split not in splits:
                continue
            done += 1
            self._progress(done, len(self._splits))
            if split is None:
                self._tally.leave_out("its group is in val or test", sample.where)
            elif (found := self._face(sample, split)) is not None:
                yield found

    def _samples(self, tally: Tally) -> Iterator[Sample]:
        """Samples whose labels can be used, in the same order every time."""
        for sample in FORMATS[self._kind](self._paths, replace(self._source, tally=tally)):
            labels = self._wanted(sample.labels)
            missing = [name for name in self._options.needs if name not in present(labels)]
            fault = fault_of(labels) or (f"no {missing[0]}" if missing else None)
            if fault:
                tally.leave_out(fault, sample.where)
            else:
                yield replace(sample, labels=labels)

    def _wanted(self, labels: Labels) -> Labels:
        points = dict(labels.points)
        for count in self._options.points:
            made = filled({k: values[None] for k, values in points.items() if values.shape == (k, POINTS[k])}, count)
            if made is not None and not np.isnan(made).all():
                points[count] = made[0]
        return without(replace(labels, points=points), self._options.without)

    def _face(self, sample: Sample, split: str) -> tuple[Face, F32] | None:
        found = load(sample)
        if isinstance(found, str):
            self._tally.leave_out(found, sample.where)
            return None
        data, pixels = found
        labels = sample.labels
        if self._options.longest is not None:
            data, pixels, labels = smaller(data, pixels, labels, self._options.longest)
        face = Face(
            image=data,
            size=(pixels.shape[1], pixels.shape[0]),
            set_name=self._options.set_name or sample.set_name or self._kind,
            split=split,
            group=sample.group,
            labels=labels,
        )
        return face, thumbnails([pixels])[0]

    def _fresh(self, faces: Iterator[tuple[Face, F32]], held: F32 | None) -> Iterator[Face]:
        """Rows whose pictures are not among those held back, but for noise and size."""
        for piece in _pieces(faces):
            copies = [False] * len(piece)
            if held is not None:
                copies = ((np.stack([thumbnail for _, thumbnail in piece]) @ held.T).max(1) >= LEAST).tolist()
            for (face, _), copy in zip(piece, copies, strict=True):
                if copy:
                    self._tally.leave_out("val or test has a copy of the picture", f"{face.set_name}, {face.group}")
                else:
                    yield face


def _pieces(faces: Iterator[tuple[Face, F32]]) -> Iterator[list[tuple[Face, F32]]]:
    piece: list[tuple[Face, F32]] = []
    for face in faces:
        piece.append(face)
        if len(piece) == _ROWS:
            yield piece
            piece = []
    if piece:
        yield piece


def _row(sample: Sample) -> Row:
    """What must stay in proportion is the expression, or else the quadrant of valence and arousal."""
    labels = sample.labels
    stratum = labels.emotion or ""
    if not stratum and labels.votes is not None:
        stratum = f"votes {int(labels.votes.argmax())}"
    elif not stratum and labels.valence_arousal is not None:
        stratum = "quadrant {}{}".format(*(int(value >= 0) for value in labels.valence_arousal))
    return Row(group=sample.group, stratum=stratum, split=sample.split)
