"""``vidfer train label``: landmarks, boxes and soft labels for a training table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from vidfer.cli.train.counting import counting
from vidfer.cli.train.dataset import AsJson, Overwrite, Points, Table, check_output, describe
from vidfer.cli.train.needs import torch_needed
from vidfer.errors import DataError, UsageError

if TYPE_CHECKING:
    from vidfer.train.datasets.samples import Tally

Input = Annotated[Path, typer.Argument(metavar="TABLE|FOLDER")]
Python = Annotated[
    Path | None,
    typer.Option(
        "--mediapipe-python", metavar="PYTHON", help="A Python that has MediaPipe; 0.10.21 needs nothing else."
    ),
]
Landmarker = Annotated[
    Path | None,
    typer.Option(
        "--face-landmarker", metavar="FILE.task", help="The model file that newer versions of MediaPipe need."
    ),
]
TeacherFile = Annotated[
    Path | None, typer.Option("--teacher", metavar="FILE.onnx", help="A network that judges pictures of faces.")
]
TeacherLabels = Annotated[
    str | None,
    typer.Option(
        "--teacher-labels",
        metavar="NAME,...",
        help="Its values in order: expressions, valence, arousal, - for others. Not needed if vidfer made it.",
    ),
]
TeacherOutput = Annotated[
    list[str] | None,
    typer.Option("--teacher-output", metavar="NAME", help="An output that holds them; all by default. Repeatable."),
]
TeacherSize = Annotated[
    int | None,
    typer.Option("--teacher-size", metavar="PX", min=8, help="Side of its pictures, if it does not fix it; or 224."),
]
TeacherMean = Annotated[
    str, typer.Option("--teacher-mean", metavar="R,G,B", help="Subtracted from colours from 0 to 1; not for uint8.")
]
TeacherStd = Annotated[str, typer.Option("--teacher-std", metavar="R,G,B", help="What the difference is divided by.")]
TeacherBgr = Annotated[bool, typer.Option("--teacher-bgr", help="Its pictures have blue first.")]
TeacherMargin = Annotated[
    float, typer.Option("--teacher-margin", metavar="M", help="Side of the crop / longer side of the face.")
]
Device = Annotated[
    str,
    typer.Option("--device", click_type=click.Choice(["auto", "cpu", "cuda"]), help="Where the teacher runs."),
]


def label(
    table: Input,
    output: Table,
    overwrite: Overwrite = False,
    mediapipe_python: Python = None,
    face_landmarker: Landmarker = None,
    points: Points = None,
    teacher: TeacherFile = None,
    teacher_labels: TeacherLabels = None,
    teacher_output: TeacherOutput = None,
    teacher_size: TeacherSize = None,
    teacher_mean: TeacherMean = "0.485,0.456,0.406",
    teacher_std: TeacherStd = "0.229,0.224,0.225",
    teacher_bgr: TeacherBgr = False,
    teacher_margin: TeacherMargin = 1.2,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Add labels by MediaPipe and by a teacher to a training table.

    TABLE is what vidfer train dataset wrote; all pictures below a FOLDER become rows of split train. MediaPipe gives
    478 points and the box; where it finds no face the row is kept as it was, and its face_found is false. A teacher
    gives expression probabilities, valence and arousal.
    """
    wanted = mediapipe_python is not None or face_landmarker is not None
    if not wanted and teacher is None:
        raise UsageError("nothing to label with: give --mediapipe-python, --face-landmarker or --teacher")
    check_output(output, overwrite=overwrite)
    with torch_needed(), ExitStack() as stack:
        from vidfer.train.datasets.samples import Tally
        from vidfer.train.labelling.label import label_table
        from vidfer.train.labelling.meshes import MediaPipe
        from vidfer.train.labelling.teacher import Teacher, TeacherOptions

        options = TeacherOptions(
            labels=None if teacher_labels is None else tuple(teacher_labels.split(",")),
            outputs=tuple(teacher_output) if teacher_output else None,
            size=teacher_size,
            mean=_numbers("--teacher-mean", teacher_mean),
            std=_numbers("--teacher-std", teacher_std),
            bgr=teacher_bgr,
            margin=teacher_margin,
        )
        asked = Teacher(teacher, options, device=device) if teacher is not None else None
        finder = stack.enter_context(MediaPipe(mediapipe_python, face_landmarker)) if wanted else None
        tally = Tally()
        rows = stack.enter_context(_as_table(table, output, tally))
        summary = label_table(
            rows,
            output,
            landmarks=finder,
            teacher=asked,
            points=tuple(points or ()),
            tally=tally,
            progress=counting("rows"),
        )
    print(json.dumps(summary, indent=2) if as_json else "\n".join(describe(summary)))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}: give numbers, such as 0.5 or 0.485,0.456,0.406") from error


@contextmanager
def _as_table(given: Path, output: Path, tally: Tally) -> Iterator[Path]:
    """A training table; one of the pictures of a folder lasts until the labelled one is written."""
    if not given.is_dir():
        if not given.is_file():
            raise DataError(f"no training table and no folder at {given}")
        yield given
        return
    from vidfer.train.datasets.build import BuildOptions, build_table
    from vidfer.train.datasets.samples import Source
    from vidfer.train.datasets.splits import SplitOptions

    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        table = Path(folder) / output.name  # which errors name
        build_table("pictures", [given], table, Source(tally=tally), BuildOptions(split=SplitOptions(val_share=0)))
        yield table
