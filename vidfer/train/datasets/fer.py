"""FER2013 and FER+: pictures of 48x48 px, grey, as text in a CSV file.

* `fer2013.csv`: `emotion` (0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral), `pixels` (2304
  numbers), `Usage` (Training, PublicTest, PrivateTest: train, val, test).
* `fer2013new.csv` beside it, with a line for each of its lines in the same order: `neutral`, `happiness`, `surprise`,
  `sadness`, `anger`, `disgust`, `fear`, `contempt`, `unknown`, `NF` (not a face): how many of ten raters said so.

Pictures with the same pixels are one group: hundreds are in the file more than once, in different splits, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.lists import columns_of, numbers, read_lines
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import Sample, Source
from vidfer.types import EMOTIONS, F32, U8

_CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_USAGE = {"training": "train", "publictest": "val", "privatetest": "test"}
_SIDE = 48
_VOTES = (*EMOTIONS, "unknown", "NF")


def read_fer2013(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces of FER2013 with its own labels."""
    for path in paths:
        file = _find(path, "pixels", "fer2013.csv")
        for where, (code, text, usage) in read_lines(file, ("emotion", "pixels", "Usage"), source.tally):
            if not (code.isdecimal() and int(code) < len(_CODES)):
                source.tally.leave_out(f"emotion is not one of 0 to {len(_CODES) - 1}", where)
                continue
            sample = _sample(text, usage, Labels(emotion=_CODES[int(code)]), where, source)
            if sample is not None:
                yield sample


def read_ferplus(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces of FER2013 with the votes of FER+."""
    pixels, votes = _pair(paths)
    pictures = read_lines(pixels, ("pixels", "Usage"), source.tally)
    told = read_lines(votes, _VOTES, source.tally)
    for picture, line in zip_longest(pictures, told):
        # Lines that are too short are left out of each: those that follow must not get the votes of others.
        if picture is None or line is None or _number(picture[0]) != _number(line[0]):
            raise DataError(f"{votes} and {pixels} have not the same lines: take FER+ and FER2013 as they are")
        where, (text, usage) = picture
        counts = numbers(line[1])
        if counts is None or not np.isfinite(counts).all() or (counts < 0).any():
            source.tally.leave_out("votes are no numbers", line[0])
            continue
        labels = labels_of_votes(counts)
        if isinstance(labels, str):
            source.tally.leave_out(labels, line[0])
            continue
        sample = _sample(text, usage, labels, where, source)
        if sample is not None:
            yield sample


def _number(where: str) -> str:
    return where.rpartition(" ")[2]


def labels_of_votes(counts: F32) -> Labels | str:
    """Votes for the eight emotions, unknown and not a face, as labels; or why there are none.

    The expression is the one with more than half of all votes, so that it is open where raters disagree.
    """
    total, known = float(counts.sum()), float(counts[: len(EMOTIONS)].sum())
    if counts[9] > total / 2 or total == 0:
        return "no face, as most raters say"
    if counts[8] > total / 2 or known == 0:
        return "expression unknown, as most raters say"
    first = int(counts[: len(EMOTIONS)].argmax())
    emotion = EMOTIONS[first] if counts[first] > total / 2 else None
    return Labels(emotion=emotion, votes=(counts[: len(EMOTIONS)] / known).astype(np.float32))


def _sample(text: str, usage: str, labels: Labels, where: str, source: Source) -> Sample | None:
    pixels = pixels_of(text, _SIDE)
    if pixels is None:
        source.tally.leave_out(f"pixels are not {_SIDE * _SIDE} numbers from 0 to 255", where)
        return None
    if usage.casefold() not in _USAGE:
        source.tally.leave_out("Usage is not Training, PublicTest or PrivateTest", where)
        return None
    group = sha256(pixels.tobytes()).hexdigest()[:16]
    return Sample(where=where, picture=pixels, group=group, split=_USAGE[usage.casefold()], labels=labels)


def pixels_of(text: str, side: int) -> U8 | None:
    """A square picture uint8[side,side] written as numbers; None where it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", DeprecationWarning
            )  # how some versions of NumPy say that a text is no number
            values = np.fromstring(text, np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    if len(values) != side * side or not ((values >= 0) & (values <= 255)).all():
        return None
    return values.astype(np.uint8).reshape(side, side)


def _find(path: Path, column: str, usual: str) -> Path:
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.glob("*.csv")) if column in columns_of(file)]
    if not found:
        raise DataError(f"{path} holds no CSV file with the column {column}: give the folder of {usual}, or the file")
    return found[0]


def _pair(paths: Sequence[Path]) -> tuple[Path, Path]:
    """The file with pixels and the one with votes, whichever of them, or whichever folder, was named."""
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in paths)
    files = [*(path for path in paths if path.is_file()), *(f for d in folders for f in sorted(d.glob("*.csv")))]
    found = {}
    for column, usual in (("pixels", "fer2013.csv"), ("nf", "fer2013new.csv")):
        fitting = [file for file in files if column in columns_of(file)]
        if not fitting:
            raise DataError(
                f"{usual} is missing (a CSV file with the column {column}): FER+ needs it and its twin; name both"
            )
        found[column] = fitting[0]
    return found["pixels"], found["nf"]
