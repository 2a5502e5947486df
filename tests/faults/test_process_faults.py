"""Whole runs with a fault in every stage: no hang, no thread, nothing half-made; and the same command goes on."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import av
import kill
import numpy as np
import pyarrow.parquet as pq
import pytest
from faulty import (
    ALL,
    FRAMES,
    FULL,
    PARTS,
    DetectorSession,
    NetworkSession,
    after,
    at_call,
    contents,
    fresh,
    names,
    process,
)

from vidfer.errors import OutputError
from vidfer.media.encode import VideoWriter
from vidfer.media.reading import Reading
from vidfer.output import files, parquet
from vidfer.output.overlay import Overlay
from vidfer.pipeline import finish as finishing
from vidfer.pipeline import resume, scratch
from vidfer.pipeline import run as run_module
from vidfer.pipeline.cuts import CutDetector
from vidfer.pipeline.results import ProcessResult, Progress
from vidfer.vision.track import FaceTracker

pytestmark = pytest.mark.usefixtures("small_parts_in_time")


def check_what_is_left(folder: Path, before: dict[str, bytes], *, kept: bool) -> None:
    """What lies there is whole: what was there before, or new and complete."""
    assert not list(folder.rglob("*.part"))
    assert names(folder) <= {*before, *ALL, PARTS}
    assert (folder / PARTS).exists() == kept
    for path in folder.glob("*.parquet"):
        pq.read_table(path, page_checksum_verification=True)


def check_that_it_goes_on(clip: Path, folder: Path, reference: Path, **options: Any) -> ProcessResult:
    result = process(clip, folder, **options)
    assert kill.differences(folder, reference) == []
    assert names(folder) == ALL
    return result


ERRORS = [
    MemoryError("no more"),
    OSError(5, "Input/output error"),
    av.InvalidDataError(1094995529, "Invalid data found"),
    RuntimeError("a fault of ours"),
]  # fmt: skip
ANALYSIS: dict[str, tuple[Any, str, Callable[..., Any], int, BaseException]] = {
    **{f"decode {type(e).__name__}": (Reading, "frames", after, 21, e) for e in ERRORS},
    "decode first": (Reading, "frames", after, 0, ERRORS[0]),
    "decode last": (Reading, "frames", after, FRAMES - 1, ERRORS[0]),
    "cuts": (CutDetector, "is_cut", at_call, 20, ERRORS[3]),
    "detector": (DetectorSession, "run", at_call, 5, ERRORS[3]),
    "detector memory": (DetectorSession, "run", at_call, 6, ERRORS[0]),
    "network": (NetworkSession, "run", at_call, 8, ERRORS[3]),
    "tracker": (FaceTracker, "update", at_call, 25, ERRORS[3]),
    "part 0": (parquet.pq.ParquetWriter, "write_table", at_call, 1, FULL),
    "part 1": (parquet.pq.ParquetWriter, "write_table", at_call, 2, FULL),
    "part close": (parquet.pq.ParquetWriter, "close", at_call, 3, FULL),
    "part sync": (files, "_sync", at_call, 3, FULL),
    "analysed.json": (resume, "write_text", at_call, 1, OutputError("No space left on device")),
}
LATER: dict[str, tuple[Any, str, Callable[..., Any], int, BaseException]] = {
    "scratch": (scratch.Scratch, "put", at_call, 1, OutputError("No space left on device")),
    "scratch later": (scratch.Scratch, "put", at_call, 4, OutputError("No space left on device")),
    "scratch read": (scratch.Scratch, "read", at_call, 1, ERRORS[1]),
    "table open": (finishing, "TableWriter", at_call, 1, FULL),
    "tracks open": (finishing, "TableWriter", at_call, 2, FULL),
    "tracks rows": (finishing.tables, "tracks", at_call, 1, ERRORS[3]),
    "notes": (resume, "write_text", at_call, 2, OutputError("No space left on device")),
    "drawing": (Overlay, "draw", at_call, 9, ERRORS[3]),
    "encoder": (VideoWriter, "write", at_call, 12, ERRORS[0]),
    "mux": (VideoWriter, "_finish", at_call, 1, FULL),
    "render": (run_module, "render", at_call, 1, KeyboardInterrupt()),
    "report": (run_module, "write_text", at_call, 1, OutputError("No space left on device")),
}  # fmt: skip


BEFORE_REPLACING = {"scratch", "scratch later", "scratch read", "table open", "tracks open", "tracks rows", *ANALYSIS}


@pytest.mark.parametrize("fault", [*ANALYSIS, *LATER])
def test_a_fault_in_any_stage(
    fault: str, clip: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other one with results of an earlier run, which stay as they are until new ones take their place."""
    overwrite = [*ANALYSIS, *LATER].index(fault) % 2 == 0
    if overwrite:
        shutil.copytree(reference, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    owner, name, how, number, error = {**ANALYSIS, **LATER}[fault]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, how(number, error, getattr(owner, name)))
        with pytest.raises((type(error), OutputError)) as caught:
            process(clip, tmp_path, overwrite=overwrite)
    kept = any("the same command goes on" in note for note in getattr(caught.value, "__notes__", []))
    # An error drops what waits between the threads: early in a run, on a busy machine, that may be all there is.
    assert kept or fault in ANALYSIS
    check_what_is_left(tmp_path, before, kept=kept)
    if fault in BEFORE_REPLACING:
        assert contents(tmp_path) == before
    result = check_that_it_goes_on(clip, tmp_path, reference, overwrite=overwrite)
    assert (result.state == "resumed") == kept


@pytest.mark.parametrize("stage", ["analyse", "finish", "render"])
@pytest.mark.parametrize("error", [RuntimeError("theirs"), KeyboardInterrupt()], ids=str)
def test_progress_that_raises(stage: str, error: BaseException, clip: Path, reference: Path, tmp_path: Path) -> None:
    def progress(moment: Progress) -> None:
        if moment.stage == stage and moment.frames_done >= (FRAMES // 2) * (stage != "finish"):
            raise fresh(error)

    with pytest.raises(type(error)):
        process(clip, tmp_path, progress)
    check_what_is_left(tmp_path, {}, kept=True)
    assert check_that_it_goes_on(clip, tmp_path, reference).state == "resumed"


def broken(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[..., Any]:
    """Of a session: its answers are changed."""

    def wrapped(run: Callable[..., dict[str, np.ndarray]]) -> Callable[..., dict[str, np.ndarray]]:
        def running(self: object, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            outputs = run(self, inputs)
            change(outputs)
            return outputs

        return running

    return wrapped


def not_numbers(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda outputs: outputs[name].fill(np.nan)


def one_less(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def shorten(outputs: dict[str, np.ndarray]) -> None:
        outputs[name] = outputs[name][..., :-1]

    return shorten


@pytest.mark.parametrize("change", [not_numbers, one_less])
@pytest.mark.parametrize(
    ("session", "output"),
    [(DetectorSession, "box"), *((NetworkSession, name) for name in ("emotion", "landmarks", "box", "embedding"))],
)
def test_a_network_that_answers_nonsense(
    session: Any, output: str, change: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error or a result without it, but never a table with it."""
    monkeypatch.setattr(session, "run", broken(change(output))(session.run))
    with suppress(ValueError, IndexError):
        process(clip, tmp_path, render=False)
    check_what_is_left(tmp_path, {}, kept=False)


def calls_of(function: Callable[[], object], stop_at: int = 0) -> int:
    """How many Python functions this thread enters; Ctrl-C comes in the nth of them."""
    count = 0

    def entered(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"
        if count == stop_at and event == "call":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(entered)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_ctrl_c_at_random_places(clip: Path, reference: Path, tmp_path: Path) -> None:
    chance = random.Random(9)
    most = calls_of(lambda: process(clip, tmp_path / "counted"))
    for number in [chance.randrange(most // 20, most * 9 // 10) for _ in range(8)]:
        folder = tmp_path / str(number)
        with pytest.raises(KeyboardInterrupt):
            calls_of(lambda folder=folder: process(clip, folder), number)  # type: ignore[misc]
        if folder.exists():
            check_what_is_left(folder, {}, kept=(folder / PARTS).exists())
        check_that_it_goes_on(clip, folder, reference)
