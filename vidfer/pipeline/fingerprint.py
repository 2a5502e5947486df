"""Which content a file has: its size and time of change at once, its SHA-256 beside other work."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vidfer.errors import InputError
from vidfer.media.inputs import sha256_of
from vidfer.pipeline.queues import Worker, run_in_thread


class Fingerprint:
    """The fingerprint of a file; a context manager, which stops the hashing.

    Attributes:
        size: Bytes.
        modified_utc: When it was changed last, to the nanosecond: with the size it tells apart what needs no hashing.
    """

    # _moved: whether it changed before the hash was complete, which then may be that of other bytes than were decoded.

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        self.size = stat.st_size
        self.modified_utc = _text(stat)
        self._sha256: str | None = None
        self._moved = False
        self._worker: Worker | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        if self._worker is not None:
            self._worker.wait()

    def begin(self) -> None:
        """Start hashing, unless that is done or needless."""
        if self._sha256 is None and self._worker is None:
            self._worker = run_in_thread("hash", self._hash)

    def _hash(self) -> None:
        self._sha256 = sha256_of(self._path, is_wanted=lambda: not self._stopped)
        self._moved = self._stamp() not in (None, (self.size, self.modified_utc))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content, waited for."""
        if self._sha256 is None:
            self.begin()
            assert self._worker is not None
            self._worker.join()
        assert self._sha256 is not None
        return self._sha256

    def check(self) -> None:
        """Look whether the content is still the one that was read; a new time alone (`touch`) is taken over.

        Raises:
            InputError: The file was written to since, so that nobody knows what was read of it.
        """
        known, stamp = self.sha256, self._stamp()
        if stamp in (None, (self.size, self.modified_utc)):  # None: who had it open has read it all
            return
        size, modified_utc = stamp
        if self._moved or size != self.size or sha256_of(self._path) != known:
            raise InputError(f"{self._path} changed while it was read: run again when it is complete")
        self.modified_utc = modified_utc

    def _stamp(self) -> tuple[int, str] | None:
        """Size and time of change as they are now; None where the file is gone."""
        with suppress(OSError):
            stat = self._path.stat()
            return stat.st_size, _text(stat)
        return None

    def as_dict(self) -> dict[str, Any]:
        """What is known now, as JSON for `is_of`."""
        sha256 = None if self._moved else self._sha256
        return {"size": self.size, "modified_utc": self.modified_utc, "sha256": sha256}

    def is_of(self, known: dict[str, Any]) -> bool:
        """Whether the file has the content that an earlier run knew: by size and time, in doubt by its hash."""
        sha256 = known.get("sha256")
        if known.get("size") != self.size:
            return False
        if known.get("modified_utc") == self.modified_utc:
            self._sha256 = self._sha256 or sha256
            return True
        return bool(sha256) and sha256 == self.sha256


def _text(stat: os.stat_result) -> str:
    """When a file was changed."""
    seconds, nano = divmod(stat.st_mtime_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nano:09d}Z"
