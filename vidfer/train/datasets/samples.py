"""What the readers of data sets give: faces whose picture is not read yet, and a tally of what was left out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vidfer.train.datasets.rows import Labels
from vidfer.types import U8

NO_GROUP = "group: --group finds none in the name, so the picture is one of its own"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Names that folders of a split have.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "train_set", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "valset"), "val"),
    **dict.fromkeys(("test", "testing", "test_set", "testset"), "test"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A face of a data set.

    Attributes:
        where: File or line that it stands in, for messages.
        picture: A file, pixels uint8[H,W], or what gives the bytes of a file.
        group: Person, clip or picture: what must not be split apart.
        split: Where the data set puts it; None where that is open.
        set_name: Data set that it is from; None: the one that is read.
        labels: What is known of it.
    """

    where: str
    picture: str | U8 | Callable[[], bytes]
    group: str
    split: str | None = None
    set_name: str | None = None
    labels: Labels = field(default_factory=Labels)


class Tally:
    """How many rows were left out, by reason, and the first of each; the same for labels of rows that were kept."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def leave_out(self, reason: str, where: str) -> None:
        """Count a row that is left out."""
        self.left_out[reason] += 1
        self.first.setdefault(reason, where)

    def drop_label(self, reason: str, where: str) -> None:
        """Count a row that is kept without one of its labels."""
        self.labels[reason] += 1
        self.first.setdefault(reason, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a reader is told beside the paths.

    Attributes:
        images: Folder that the names of pictures in a list are relative to; None: that of the list.
        group: What it finds in a picture's name, its first group or all of it, is the group, and a picture in whose
            name it finds nothing is one of its own, and counted; None: each is its own.
        classes: Names of classes beside the known ones, with their emotion; None leaves a class out.
        emotion: Column of a Parquet file that has the expression; None: the usual one.
        sets: Sets of a Parquet file that are read; empty: all.
        tally: Counts what is left out.
    """

    images: Path | None = None
    group: re.Pattern[str] | None = None
    classes: Mapping[str, str | None] = field(default_factory=dict)
    emotion: str | None = None
    sets: tuple[str, ...] = ()
    tally: Tally = field(default_factory=Tally)

    def picture(self, name: str, beside: Path, where: str) -> str | None:
        """The file of a picture that a list in the folder `beside` names; None, and counted, where it is elsewhere.

        Lists come from anywhere: none may put other pictures of this machine into a table.
        """
        root = os.path.abspath(self.images or beside)  # noqa: PTH100 (links stay as they are)
        path = os.path.abspath(Path(root) / name)  # noqa: PTH100
        if Path(path).is_relative_to(root):
            return path
        self.tally.leave_out("picture is outside of the list's folder or --images", where)
        return None

    def group_of(self, name: str, searched: str | None = None) -> str:
        """The group of a picture by its name within the data set, or by a part of that name."""
        if self.group is None:
            return name
        found = self.group.search(name if searched is None else searched)
        if found is None:
            self.tally.drop_label(NO_GROUP, name)
            return name
        return next(filter(None, found.groups()), found[0])
