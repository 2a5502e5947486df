"""iBUG 300-W: 68 points by hand, as dlib's XML with crop boxes or as `.pts` files beside the pictures.

* XML: `<image file="..."><box top left width height><part name="00" x y/>...`, positions counted from 0, pictures
  relative to the file (or `--images`); a name ending in `_train` or `_test` tells the split. `NAME_mirror.jpg` is in
  one group with `NAME.jpg`.
* `.pts`: `n_points: 68` and a line for each point between braces, counted from 1; folders named trainset or testset
  tell the split; the box is that of the points.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.lists import numbers
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import PICTURES, SPLIT_NAMES, Sample, Source
from vidfer.train.points import box_around
from vidfer.types import F32

_COUNT = 68
_BOX = ("left", "top", "width", "height")
_SUFFIXES = (*PICTURES, *(suffix.upper() for suffix in PICTURES))
_MIRROR = re.compile(r"_mirror$")


def read_ibug(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces with 68 points, from XML files or folders of `.pts` files."""
    for path in paths:
        yield from _read_points(path, source) if path.is_dir() else _read_xml(path, source)


class _Boxes:
    """Collects the boxes of dlib's XML: (picture, box, parts)."""

    def __init__(self, path: Path) -> None:
        self.found: list[tuple[str, dict[str, str], dict[str, tuple[str, str]]]] = []
        self._path, self._file = path, ""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        # Nobody needs one here, and what a document type declares (entities) can fill the memory.
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                self._parser.ParseFile(file)
        except OSError as error:
            raise DataError(f"cannot read {self._path}: {error.strerror}") from error
        except expat.ExpatError as error:
            raise DataError(f"{self._path} is no XML file: {error}") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "image":
            self._file = attributes.get("file", "")
        elif name == "box":
            self.found.append((self._file, attributes, {}))
        elif name == "part" and self.found:
            self.found[-1][2][attributes.get("name", "")] = (attributes.get("x", ""), attributes.get("y", ""))

    def _refuse(self, *_: object) -> NoReturn:
        raise DataError(f"{self._path} has a document type, which dlib's files do not have: take its DOCTYPE out")


def _read_xml(path: Path, source: Source) -> Iterator[Sample]:
    boxes = _Boxes(path)
    boxes.read()
    if not boxes.found:
        raise DataError(f"{path} holds no <box> with <part>s: 300-W's XML is a list of <image>s, as dlib has it")
    split = next((SPLIT_NAMES[word] for word in path.stem.casefold().split("_") if word in SPLIT_NAMES), None)
    for file, attributes, parts in boxes.found:
        where = f"{path.name}, {file}"
        if len(parts) != _COUNT:
            source.tally.leave_out(f"not {_COUNT} points", where)
            continue
        box = numbers([attributes.get(name, "") for name in _BOX])
        in_order = sorted(parts.items(), key=lambda part: int(part[0]) if part[0].isdecimal() else -1)
        points = numbers([value for _, xy in in_order for value in xy])
        if points is None or box is None or not np.isfinite(box).all():
            source.tally.leave_out("a value is no number", where)
            continue
        group = source.group_of(_MIRROR.sub("", str(Path(file).with_suffix(""))))
        labels = _labels(points.reshape(_COUNT, 2), box)
        if (picture := source.picture(file, path.parent, where)) is not None:
            yield Sample(where=where, picture=picture, group=group, split=split, labels=labels)


def _read_points(folder: Path, source: Source) -> Iterator[Sample]:
    files = sorted(folder.rglob("*.pts"))
    if not files:
        raise DataError(f"{folder} holds no .pts files: give the folder of 300-W, or dlib's XML file")
    for file in files:
        where = file.relative_to(folder).as_posix()
        picture = next((p for suffix in _SUFFIXES if (p := file.with_suffix(suffix)).is_file()), None)
        points = _points(file)
        if picture is None or points is None:
            source.tally.leave_out("picture is missing" if picture is None else f"not {_COUNT} points", where)
            continue
        # Of the folder that was given, only its own name: where it lies says nothing.
        parts = (folder.absolute().name, *file.relative_to(folder).parts)[-3:-1]
        split = next((SPLIT_NAMES[part] for part in map(str.casefold, parts) if part in SPLIT_NAMES), None)
        group = source.group_of(_MIRROR.sub("", where.removesuffix(".pts")))
        labels = _labels(points, np.array(box_around(points), np.float32))
        yield Sample(where=where, picture=str(picture), group=group, split=split, labels=labels)


def _points(file: Path) -> F32 | None:
    try:
        text = file.read_text(encoding="latin-1")
    except OSError:
        return None
    inside = text.partition("{")[2].partition("}")[0]
    values = numbers(inside.split())
    if values is None or len(values) != 2 * _COUNT:
        return None
    return np.asarray(values.reshape(_COUNT, 2) - 1, np.float32)


def _labels(points: F32, box: F32) -> Labels:
    x, y, w, h = map(float, box)
    return Labels(box=(x, y, w, h), points={_COUNT: points})
