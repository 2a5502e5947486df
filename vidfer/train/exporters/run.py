"""`vidfer train export RUN`: a trained network in another format, compared with torch before it appears."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.errors import DataError, ModelError, UsageError
from vidfer.output.files import written_whole
from vidfer.train.datasets.table import read_table
from vidfer.train.evaluation.network import About, RunNetwork
from vidfer.train.evaluation.predict import transforms
from vidfer.train.exporters.base import Exporter, Source
from vidfer.train.exporters.card import make_card
from vidfer.train.exporters.compare import BATCHES, agreement, largest_differences, pictures
from vidfer.train.exporters.formats import find_format, make_exporter
from vidfer.train.multitask.crops import seen
from vidfer.types import U8

# Calibrated on the first, compared on the others.
_CALIBRATE, _COMPARE = 192, 96
_LEAST = 12
_BATCH = 8
_SEED = 0


def export_run(
    run: Path, path: Path, *, format_name: str, tables: Sequence[Path] = (), which: str = "best"
) -> dict[str, Any]:
    """Write the network of a run in a format, with its card in it.

    Args:
        run: Folder that `vidfer train fit RECIPE.toml` wrote to.
        path: The file; it appears when it was loaded again and says what torch says. An older one is replaced.
        format_name: Key of `formats.FORMATS`.
        tables: Training tables whose rows of split train calibrate int8.
        which: "best" or "last" weights.

    Returns:
        The card, with what the comparison found.

    Raises:
        UsageError: The format is unknown, lacks what it needs, or needs tables.
        DataError: The folder holds no run, or the tables no pictures.
        ModelError: The network cannot be written in this format, or says something else there than in torch.
    """
    wanted = find_format(format_name)
    if (wanted.precision == "int8") != bool(tables):
        raise UsageError(
            f"--data is for --format onnx-int8, which is calibrated on it; got --format {format_name}"
            if tables
            else "--format onnx-int8 is calibrated on pictures: give a training table with --data"
        )
    exporter = make_exporter(format_name)
    network = RunNetwork(run, which)
    calibration, held = _pictures(network.about, tables) if tables else ([], [])
    source = Source(net=network.trained.net, recipe=network.trained.recipe, calibration=calibration)
    card = make_card(network, format_name, which)
    if tables:
        card["calibrated_on"] = {"split": "train", "pictures": sum(map(len, calibration)), "seed": _SEED}
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        exporter.write(source, draft)
        exporter.put_card(draft, card)
        card["verification"] = _compared(source, exporter, draft, wanted.tolerance, held)
        exporter.put_card(draft, card)
        _check_card(exporter, draft, card)
        _move(wanted.files(draft), path.parent)
    return card


def _compared(
    source: Source, exporter: Exporter, draft: Path, tolerance: float | None, held: Sequence[U8]
) -> dict[str, Any]:
    exported = exporter.load(draft)
    if tolerance is None:
        agree = agreement(draft.name, source.predict, exported, held)
        return {"batches": sorted({len(batch) for batch in held}), "pictures": sum(map(len, held)), "heads": agree}
    inputs = [pictures(batch, source.net.input_px, _SEED) for batch in BATCHES]
    largest = largest_differences(draft.name, source.predict, exported, inputs, tolerance)
    return {"batches": list(BATCHES), "tolerance": tolerance, "largest_difference": largest}


def _check_card(exporter: Exporter, draft: Path, card: Mapping[str, Any]) -> None:
    if exporter.read_card(draft) != card:
        raise ModelError(f"{draft.name} does not keep its card: it is not exported")


def _pictures(about: About, tables: Sequence[Path]) -> tuple[list[U8], list[U8]]:
    """Batches of what the network sees of rows of split train: some to calibrate on, others to compare on."""
    rows = read_table(tables, "train")
    order = np.random.default_rng(_SEED).permutation(len(rows))
    transform = transforms(rows, about)
    crops: list[U8] = []
    for row in order.tolist():
        if len(crops) == _CALIBRATE + _COMPARE:
            break
        try:
            crops.append(seen(rows.picture(row), transform[row], about.input_px))
        except DataError:
            continue
    if len(crops) < _LEAST:
        raise DataError(f"int8 needs {_LEAST} or more pictures of split train that can be decoded, got {len(crops)}")
    calibrate = len(crops) * _CALIBRATE // (_CALIBRATE + _COMPARE)
    return _batches(crops[:calibrate], (_BATCH,)), _batches(crops[calibrate:], BATCHES)


def _batches(crops: list[U8], sizes: Sequence[int]) -> list[U8]:
    """All pictures, in batches of so many in turn."""
    batches: list[U8] = []
    start = 0
    for size in cycle(sizes):
        if start >= len(crops):
            return batches
        batches.append(np.stack(crops[start : start + size]))
        start += size
    return batches


def _move(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        with written_whole(folder / file.name) as whole:
            whole.write(file.read_bytes())
