"""Where results go and what is given back: names, files, progress."""

from __future__ import annotations

import itertools
import json
import os.path
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfer.errors import OutputError
from vidfer.media.inputs import DRAWN_SUFFIXES, is_utf8
from vidfer.output.files import put_in_place, writing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: "analyse", "finish" or "render".
        frames_done: Frames of this stage.
        frames_total: As far as the container tells.
        time_s: Media time done.
        seconds: Time spent in this stage.
        faces: Faces found so far.
        frames_before: Frames of this stage that an interrupted run had done.
    """

    stage: str
    frames_done: int
    frames_total: int | None
    time_s: float
    seconds: float
    faces: int
    frames_before: int = 0


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """Where the results of one source lie, and its report (`NAME.run.json`).

    Attributes:
        state: "done", "resumed" (done after an interruption), or "already done": results of an earlier run.
    """

    source: Path
    table_path: Path
    tracks_path: Path
    report_path: Path
    video_path: Path | None
    report: dict[str, Any]
    state: str = "done"

    @property
    def table(self) -> pd.DataFrame:
        """One row per face per frame, as pandas with Arrow types (integers stay integers, lists stay lists)."""
        return _read(self.table_path)

    @property
    def tracks(self) -> pd.DataFrame:
        """One row per face track."""
        return _read(self.tracks_path)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path, dtype_backend="pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The files of one source."""

    table: Path
    tracks: Path
    report: Path
    video: Path
    parts: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> Outputs:
        """The files for the name of a source without suffix, possibly with folders in front."""
        base = folder / name
        return cls(
            table=base.with_name(f"{base.name}.parquet"),
            tracks=base.with_name(f"{base.name}.tracks.parquet"),
            report=base.with_name(f"{base.name}.run.json"),
            video=base.with_name(f"{base.name}{DRAWN_SUFFIXES[False, False]}"),
            parts=base.with_name(f".{base.name}.vidfer"),
        )

    def read_report(self) -> dict[str, Any] | None:
        """The report that lies there; None where there is none that can be read."""
        with suppress(OSError, ValueError):
            found = json.loads(self.report.read_text(encoding="utf-8"))
            if isinstance(found, dict) and all(isinstance(found.get(key), dict) for key in ("source", "counts")):
                return found if isinstance(found.get("outputs"), list) else None
        return None

    def has_own_video(self) -> bool:
        """Whether the annotated video is there and of a run, by the report: any other was made by the user."""
        return self.video.exists() and self.video.name in (self.read_report() or {}).get("outputs", [])

    def replace_tables(self, table: Path, tracks: Path) -> None:
        """Put two complete tables in their places, on the same disk, and remove what belongs to the former ones."""
        self._clear()
        for made, path in ((table, self.table), (tracks, self.tracks)):
            with writing(path):
                put_in_place(made, path)

    def remove_unfinished(self) -> None:
        """Remove what a killed run was writing; only for whoever has the lock."""
        for field in fields(self):
            path = getattr(self, field.name)
            with writing(path):
                path.with_name(f"{path.name}.part").unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what would stay beside a new table: the video while the report says that it is ours, then both."""
        own = [self.video] if self.has_own_video() else []
        for path in (*own, self.report, self.tracks):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot replace {path}: {error.strerror}; choose another folder with -o") from error


def result_names(videos: Sequence[Path], folder: Path = Path()) -> list[str]:
    """Names of the results such that no two of them share a file, and none takes the place of a video.

    Same names keep their folders, then their suffixes: `v.mp4` beside `v.mov`, and `v.mp4` beside `v.tracks.mp4`, whose
    table would be called as the other's tracks.

    Args:
        videos: All of a run, each once.
        folder: Where results go.
    """
    if not videos:
        return []
    resolved = [Path(os.path.realpath(video)) for video in videos]
    common = Path(os.path.commonpath([path.parent for path in resolved]))
    inputs = {_key(path) for path in resolved}
    level = [0] * len(videos)
    while True:
        names = [_name(path.relative_to(common), at) for path, at in zip(resolved, level, strict=True)]
        claims = [_claims(folder.resolve(), name) for name in names]
        owners = Counter(itertools.chain(inputs, *claims))
        meeting = [i for i, own in enumerate(claims) if any(owners[key] > 1 for key in own)]
        if not meeting:
            return names
        # Where even the whole names meet (folders that differ in capitals only, say), they give way one by one.
        for i in [i for i in meeting if level[i] < _WHOLE_NAME] or meeting[-1:]:
            level[i] += 1


_WHOLE_NAME = 2


def _name(path: Path, level: int) -> str:
    """What a video's results are called: its stem, with its folders, with its suffix, with a number."""
    if level > _WHOLE_NAME:
        return f"{path}.{level}"
    return (path.stem, str(path.with_suffix("")), str(path))[level]


def _claims(folder: Path, name: str) -> set[str]:
    outputs = Outputs.of(folder, name)
    return {_key(getattr(outputs, field.name)) for field in fields(outputs)}


def _key(path: Path) -> str:
    return str(path).casefold()  # on many file systems V.parquet and v.parquet are one file


def make_folder(outputs: Outputs) -> None:
    """Make the folder that results go to; what cannot go there shows now, not after the analysis."""
    folder = outputs.table.parent
    if not is_utf8(folder):
        raise OutputError(
            f"{folder}: the name is not in UTF-8, as tables and videos need it: choose another one with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is there already and is no folder: choose another one with -o") from error
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}; choose another one with -o") from error
    for field in fields(outputs):
        path = getattr(outputs, field.name)
        try:
            path.with_name(f"{path.name}.part").lstat()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OutputError(f"cannot make {path}: {error.strerror}; give the video a shorter name") from error
