"""``vidfer train dataset``: a data set as a training table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from vidfer.cli.train.counting import counting
from vidfer.cli.train.needs import torch_needed
from vidfer.errors import OutputError, UsageError

# Written down again, for `--help` to be fast: build.FORMATS is where they are read.
FORMATS = ("affectnet", "fer2013", "ferplus", "folders", "ibug", "keypoints", "mesh", "parquet", "pictures")

# Options that not every format has something for.
_TAKEN_BY = {
    "--images": ("affectnet", "ibug", "mesh"),
    "--group": ("affectnet", "folders", "ibug", "mesh", "pictures"),
    "--class": ("folders", "mesh", "parquet"),
    "--emotion": ("parquet",),
    "--only-set": ("parquet",),
}

Format = Annotated[str, typer.Argument(metavar="FORMAT", click_type=click.Choice(FORMATS))]
Paths = Annotated[list[Path], typer.Argument(metavar="PATH...")]
Table = Annotated[Path, typer.Option("--output", "-o", metavar="TABLE.parquet", help="The table to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")]
SetName = Annotated[
    str | None,
    typer.Option("--set", metavar="NAME", help="Name of the data set in the table; FORMAT by default."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="DIR", help="Folder of the pictures that a list names; by default that of the list."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="REGEX", help="Part of a picture's name that says who it shows: nobody gets into two splits."
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class", metavar="NAME=EMOTION", help="What a class with another name is; NAME=- leaves it out. Repeatable."
    ),
]
Emotion = Annotated[
    str | None,
    typer.Option(
        "--emotion", metavar="COLUMN", help="Column of a Parquet file that has the expression; it replaces votes."
    ),
]
OnlySet = Annotated[
    list[str] | None,
    typer.Option("--only-set", metavar="NAME", help="Read only this data set of a Parquet file. Repeatable."),
]
Needs = Annotated[
    list[str] | None, typer.Option("--needs", metavar="LABEL", help="Leave out rows that lack LABEL. Repeatable.")
]
Without = Annotated[
    list[str] | None, typer.Option("--without", metavar="LABEL", help="Leave LABEL out of the table. Repeatable.")
]
Points = Annotated[
    list[int] | None,
    typer.Option("--points", metavar="K", help="Derive 4, 5 or 15 points from 478 or 68. Repeatable."),
]
Longest = Annotated[
    int | None,
    typer.Option("--longest", metavar="PX", help="Cut larger pictures to the face and shrink them to PX."),
]
KeepCopies = Annotated[bool, typer.Option("--keep-copies", help="Keep train pictures of which val or test has a copy.")]
ValShare = Annotated[
    float, typer.Option("--val-share", metavar="S", help="Share of rows for val, where the set has no val.")
]
TestShare = Annotated[float, typer.Option("--test-share", metavar="S", help="The same for test.")]
SplitAgain = Annotated[bool, typer.Option("--split-again", help="Ignore the data set's own splits.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides which groups go to val and test.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


def dataset(
    kind: Format,
    paths: Paths,
    output: Table,
    overwrite: Overwrite = False,
    set_name: SetName = None,
    images: Images = None,
    group: Group = None,
    classes: Classes = None,
    emotion: Emotion = None,
    only_set: OnlySet = None,
    needs: Needs = None,
    without: Without = None,
    points: Points = None,
    longest: Longest = None,
    keep_copies: KeepCopies = False,
    val_share: ValShare = 0.1,
    test_share: TestShare = 0.0,
    split_again: SplitAgain = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Turn a data set into a training table.

    FORMAT is affectnet, fer2013, ferplus, folders (one per class), ibug (300-W), keypoints (Kaggle's), mesh (a list),
    parquet or pictures (without labels); docs/training.md has the layouts. Prints rows, groups, classes and labels
    of each split, how many rows were left out, and why.

    LABEL is one of emotion, votes, valence_arousal, box, points4, points5, points15, points68, points478,
    teacher, teacher_va.
    """
    told = {"--images": images, "--group": group, "--class": classes, "--emotion": emotion, "--only-set": only_set}
    for option, value in told.items():
        if value and kind not in _TAKEN_BY[option]:
            raise UsageError(f"{option} means nothing to {kind}: it is for {', '.join(_TAKEN_BY[option])}")
    with torch_needed():
        from vidfer.train.datasets.build import BuildOptions, build_table
        from vidfer.train.datasets.samples import Source
        from vidfer.train.datasets.splits import SplitOptions

        source = Source(
            images=images,
            group=_pattern(group),
            classes=dict(_classes(classes or [])),
            emotion=emotion,
            sets=tuple(only_set or ()),
        )
        options = BuildOptions(
            set_name=set_name,
            split=SplitOptions(val_share=val_share, test_share=test_share, seed=seed, again=split_again),
            needs=tuple(needs or ()),
            without=tuple(without or ()),
            points=tuple(points or ()),
            longest=longest,
            keep_copies=keep_copies,
        )
        check_output(output, overwrite=overwrite)
        summary = build_table(kind, paths, output, source, options, counting("rows"))
    print(json.dumps(summary, indent=2) if as_json else "\n".join(describe(summary)))


def check_output(table: Path, *, overwrite: bool) -> None:
    """Refuse a name of something else, a table that is there, or a folder that is not, before anything is read."""
    if table.suffix.casefold() != ".parquet":
        raise UsageError(f"a training table is a Parquet file: give -o a name that ends in .parquet, got {table}")
    if table.exists() and not overwrite:
        raise UsageError(f"{table} is there already: choose --overwrite, or another file with -o")
    if not table.parent.is_dir():
        raise OutputError(f"cannot write {table}: there is no folder {table.parent}")


def _pattern(group: str | None) -> re.Pattern[str] | None:
    try:
        return None if group is None else re.compile(group)
    except re.error as error:
        raise UsageError(f"--group {group!r} is no regular expression: {error}") from error


def _classes(told: list[str]) -> Iterator[tuple[str, str | None]]:
    from vidfer.types import EMOTIONS

    for text in told:
        name, _, emotion = text.partition("=")
        if not name or emotion not in (*EMOTIONS, "-"):
            raise UsageError(f"--class {text}: give NAME=EMOTION with one of {', '.join(EMOTIONS)}, or NAME=-")
        yield name, None if emotion == "-" else emotion


def describe(summary: Mapping[str, Any]) -> Iterator[str]:
    """What stands in a table, for a person: a column for each split."""
    splits = summary["splits"]
    yield _line("", list(splits))
    for name, key in (("rows", "rows"), ("groups", "groups"), ("face not found", "face_not_found")):
        if key != "face_not_found" or any(split[key] for split in splits.values()):
            yield _line(name, [split[key] for split in splits.values()])
    for title, key in (("expression", "emotion"), ("labels", "labels")):
        names = dict.fromkeys(name for split in splits.values() for name in split[key])
        yield from [title] * bool(names)
        for name in names:
            yield _line(f"  {name}", [split[key].get(name, 0) for split in splits.values()])
    for title, key in (("left out", "left_out"), ("labels left out", "labels_left_out")):
        if summary[key]:
            yield title
            for reason, count in summary[key].items():
                yield f"  {count} x {reason}; the first: {summary['first'][reason]}"


def _line(name: str, values: list[Any]) -> str:
    return f"{name:20}" + "".join(f"{value:>10}" for value in values)
