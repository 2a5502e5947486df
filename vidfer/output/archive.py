"""Tables and videos of cameras, in pieces: a folder that grows for weeks, and that others read while it does.

    DIR/camera=NAME/date=YYYY-MM-DD/part-HHMMSS.parquet          one Hive data set, for DuckDB, pandas, Arrow, Spark
    DIR/_video/camera=NAME/date=YYYY-MM-DD/part-HHMMSS.mp4       names in "_" are left out by all of them
    DIR/.vidfer/                                                 a lock, and tables that are being written

Dates and times are those of the first frame, in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import pyarrow as pa

from vidfer.errors import InputError, UsageError
from vidfer.output.files import put_in_place, writing
from vidfer.output.parquet import TableWriter, read_footer

_HIDDEN, _VIDEO = ".vidfer", "_video"
_PARTS = "camera=*/date=*/part-*"
_NAME = re.compile(r"date=([0-9-]{10})/part-([0-9]{6})(?:_([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much to keep.

    Attributes:
        days: Older pieces go; None keeps them.
        size_bytes: Of all pieces together: the oldest go until it is kept; None for no limit.
    """

    days: float | None = None
    size_bytes: float | None = None


class Archive:
    """The folder, locked; a context manager.

    Args:
        folder: Made where it does not exist.

    Raises:
        OutputError: It cannot be written to.
        UsageError: Somebody else writes to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._hidden = folder, folder / _HIDDEN
        with writing(folder):
            self._hidden.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(self._hidden / "lock")

    def __enter__(self) -> Self:
        with writing(self._folder):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise UsageError(f"another vidfer writes to {self._folder}: choose another folder with -o") from None
        for left in self._hidden.glob("*.writing*"):  # by a kill; the frames in it are lost
            left.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def places(self, camera: str, began: datetime) -> tuple[Path, Path]:
        """Where table and video of a piece go that nothing is in yet."""
        utc = began.astimezone(UTC)
        folder, name = f"camera={camera}/date={utc:%Y-%m-%d}", f"part-{utc:%H%M%S}"
        number, place = 1, name
        while True:
            table = self._folder / folder / f"{place}.parquet"
            video = self._folder / _VIDEO / folder / f"{place}.mp4"
            if not table.exists() and not video.exists():
                return table, video
            number += 1
            place = f"{name}_{number}"  # "_" sorts behind the "." of the first one

    def write(self, path: Path, tables: Sequence[pa.Table], about: Mapping[str, Any]) -> None:
        """Write a piece; it appears whole, and readers never see another.

        Raises:
            OutputError: It cannot be written.
        """
        made = self._hidden / f"{path.parent.parent.name}.writing"
        with writing(path):  # also anew, should somebody have removed it
            made.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        with TableWriter(made, tables[0].schema) as writer:
            for table in tables:
                writer.write(table)
            writer.set_metadata(about)
        with writing(path):
            put_in_place(made, path)

    def newest(self, camera: str) -> dict[str, Any] | None:
        """What the newest readable piece of a camera says about itself."""
        for path in reversed(_pieces(self._folder.glob(f"camera={camera}/date=*/part-*.parquet"))):
            with suppress(InputError):
                return read_footer(path)
        return None

    def retain(self, keep: Keep, now: datetime, busy: Collection[Path] = ()) -> int:
        """Remove what is not to be kept, but nothing that is `busy`; gives how many files."""
        found = [*self._folder.glob(f"{_PARTS}.parquet"), *self._folder.glob(f"{_VIDEO}/{_PARTS}.mp4")]
        pieces = _pieces(found)
        sizes = {path: path.stat().st_size for path in pieces if path not in busy}
        total, removed = sum(sizes.values()), 0
        for path, size in sizes.items():
            too_old = keep.days is not None and (now - pieces[path][0]).total_seconds() > keep.days * 86400
            if not too_old and (keep.size_bytes is None or total <= keep.size_bytes):
                break
            path.unlink(missing_ok=True)
            with suppress(OSError):  # another piece of that day is there
                path.parent.rmdir()
            total -= size
            removed += 1
        return removed


def _pieces(found: Iterable[Path]) -> dict[Path, tuple[datetime, int]]:
    """The pieces among files, oldest first, with their age."""
    ages = {path: age for path in found if (age := _age(path)) is not None}
    return dict(sorted(ages.items(), key=lambda item: item[1]))


def _age(path: Path) -> tuple[datetime, int] | None:
    """When a piece began, and which of that second it is; None for what others put there, such as parts of Spark's."""
    name = _NAME.fullmatch(f"{path.parent.name}/{path.stem}")
    if name is None:
        return None
    try:
        return datetime.fromisoformat(f"{name[1]}T{name[2]}+00:00"), int(name[3] or 1)
    except ValueError:  # digits that are no date or no time
        return None
