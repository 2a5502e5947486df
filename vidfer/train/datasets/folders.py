"""A folder per class, or one of pictures without any label.

`CLASS/**/picture`, or `SPLIT/CLASS/**/picture` with splits named train, val(id) or test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vidfer.errors import DataError
from vidfer.train.datasets.classes import emotion_of
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import PICTURES, SPLIT_NAMES, Sample, Source


def read_folders(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces whose folder says what they show."""
    # All names first: what is wrong with the last folder is said before anything is read.
    classes = [found for path in paths for found in _classes(path, source)]
    for root, folder, split, emotion in classes:
        yield from _pictures(root, folder, split, Labels(emotion=emotion), source)


def read_pictures(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Pictures without labels, for a teacher and MediaPipe to label."""
    for path in paths:
        if not path.is_dir():
            raise DataError(f"no folder at {path}: give one that holds pictures")
        yield from _pictures(path, path, None, Labels(), source)


def _pictures(root: Path, folder: Path, split: str | None, labels: Labels, source: Source) -> Iterator[Sample]:
    for picture in sorted(folder.rglob("*")):
        inner = picture.relative_to(folder)
        name = picture.relative_to(root).as_posix()
        if any(part.startswith(".") for part in inner.parts):  # as `.ipynb_checkpoints`, which holds copies
            continue
        if picture.is_dir():
            if picture.is_symlink():
                source.tally.leave_out("folder is a link, which is not followed", name)
            continue
        if picture.suffix.casefold() not in PICTURES:
            source.tally.leave_out("not a picture", name)
            continue
        # Below the class: a person shows several, and has to be one group in all of them.
        group = source.group_of(name, picture.relative_to(folder).as_posix())
        yield Sample(where=name, picture=str(picture), group=group, split=split, labels=labels)


def _classes(root: Path, source: Source) -> Iterator[tuple[Path, Path, str | None, str]]:
    """(root, folder, split, emotion) of every class that is not left out."""
    if not root.is_dir():
        raise DataError(f"no folder at {root}: give one that holds a folder for each class")
    inner = _inside(root)
    splits = [folder for folder in inner if folder.name.casefold() in SPLIT_NAMES]
    if splits and len(splits) < len(inner):
        other = next(folder.name for folder in inner if folder not in splits)
        raise DataError(f"{root} holds splits and other folders ({other}): put classes into the splits")
    parents: list[tuple[Path, str | None]] = [(folder, SPLIT_NAMES[folder.name.casefold()]) for folder in splits] or [
        (root, None)
    ]
    if not any(_inside(parent) for parent, _ in parents):
        raise DataError(f"{root} holds no folders: a folder for each class is needed, with pictures in it")
    for parent, split in parents:
        for folder in _inside(parent):
            emotion = emotion_of(folder.name, str(folder), source.classes)
            if emotion is not None:
                yield root, folder, split, emotion


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
