"""Where results go and what is given back: names, files, progress."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfer.errors import OutputError

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
    """

    stage: str
    frames_done: int
    frames_total: int | None
    time_s: float
    seconds: float
    faces: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """Where the results of one source lie, and its report (`NAME.run.json`)."""

    source: Path
    table_path: Path
    tracks_path: Path
    report_path: Path
    video_path: Path | None
    report: dict[str, Any]

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
            video=base.with_name(f"{base.name}.annotated.mp4"),
            parts=base.with_name(f".{base.name}.vidfer"),
        )


def result_names(videos: Sequence[Path]) -> list[str]:
    """Names of the results: no two alike. Same names keep their folders, then their suffixes."""
    names = [video.stem for video in videos]
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath([video.resolve().parent for video in videos]))
        unique = {name for name in names if names.count(name) == 1}
        relative = [video.resolve().relative_to(common) for video in videos]
        folders = [n if n in unique else str(r.with_suffix("")) for n, r in zip(names, relative, strict=True)]
        names = [n if folders.count(n) == 1 else str(r) for n, r in zip(folders, relative, strict=True)]
    return names


def make_folder(folder: Path) -> None:
    """Make the folder that results go to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}; choose another one with -o") from error
