"""Room of this machine for copies of videos; what a killed worker has left there goes when the next one begins."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import filelock

from vidfer.output.files import writing


def temporary(name: str) -> Path:
    """The name of a folder of this user where temporary files go."""
    return Path(tempfile.gettempdir()) / f"vidfer-{name}-{os.getuid() if hasattr(os, 'getuid') else ''}"


def make_own(folder: Path) -> None:
    """Make a folder where all users may write, or find it made by this one: another could have put links into it.

    Raises:
        OSError: It cannot be made, or belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if hasattr(os, "getuid") and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


class Scratch:
    """A folder of one process, made when it is first asked for."""

    def __init__(self) -> None:
        self._all = temporary("scratch")
        self._mine = self._all / secrets.token_hex(8)
        self._lock = filelock.FileLock(self._all / f"{self._mine.name}.lock")

    def empty(self) -> Path:
        """The folder, without what was there before.

        Raises:
            OutputError: It cannot be made.
        """
        with writing(self._mine):
            if not self._lock.is_locked:
                make_own(self._all)
                self._lock.acquire()  # another one that tidies up may hold it for a moment
                self._tidy()
            shutil.rmtree(self._mine, ignore_errors=True)
            self._mine.mkdir()
        return self._mine

    def _tidy(self) -> None:
        """Remove the folders of processes that are no more: nobody holds their locks."""
        for path in self._all.glob("*.lock"):
            lock = filelock.FileLock(path)
            with suppress(filelock.Timeout, OSError):
                if path.stem != self._mine.name:
                    lock.acquire(blocking=False)
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink()
                    lock.release()

    def remove(self) -> None:
        """Leave nothing behind."""
        if self._lock.is_locked:
            shutil.rmtree(self._mine, ignore_errors=True)
            with suppress(OSError):
                Path(self._lock.lock_file).unlink()
            self._lock.release()
