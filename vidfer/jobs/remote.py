"""Object stores, by fsspec: what is there, and copies of it. Credentials come from the environment and stay there."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vidfer.alive import sign
from vidfer.errors import InputError, OutputError, UsageError, VidferError
from vidfer.jobs.redact import without_secrets
from vidfer.jobs.units import ABSENT, Source
from vidfer.media.inputs import DRAWN_SUFFIXES, VIDEO_SUFFIXES

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_MAGIC = re.compile(r"[*?[]")
_AT_ONCE = 64
_LONGEST = 200  # bytes
_FULL = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}  # nothing but our disk says so


def is_remote(name: str) -> bool:
    """Whether a source lies in an object store."""
    return "://" in name


def find(url: str) -> Iterator[Source]:
    """What a URL stands for: an object, all videos below a folder, or what fits a pattern.

    Raises:
        InputError: The store says no.
    """
    scheme, _, place = url.partition("://")
    store = _store(scheme)
    fixed = _MAGIC.split(place)[0]
    if fixed != place:
        from fsspec.utils import glob_translate

        pattern = re.compile(glob_translate(place))
        yield from _walk(scheme, store, posixpath.dirname(fixed), lambda path: pattern.match(path) is not None)
        return
    if not place.endswith("/"):
        source = describe([url])[0]
        if source.identity != ABSENT:
            yield source
            return
    top = place.rstrip("/")
    yield from _walk(scheme, store, top, lambda path: _is_video(path.removeprefix(top)))


def describe(urls: Sequence[str]) -> list[Source]:
    """Objects by their URLs, many at once; what is not there has the identity "absent".

    Raises:
        InputError: The store says no.
    """
    from fsspec.asyn import _run_coros_in_chunks, sync

    found: list[Source] = []
    for scheme in dict.fromkeys(url.partition("://")[0] for url in urls):
        store = _store(scheme)
        mine = [url for url in urls if url.startswith(f"{scheme}://")]

        async def ask(store: Any = store, mine: list[str] = mine) -> list[Any]:
            questions = [store._info(url.partition("://")[2]) for url in mine]
            return list(await _run_coros_in_chunks(questions, batch_size=_AT_ONCE, return_exceptions=True))

        try:
            answers = sync(store.loop, ask)
        except Exception as error:  # noqa: BLE001 (every store has errors of its own)
            raise _refused(mine[0], error) from None
        found += [_source(url, answer) for url, answer in zip(mine, answers, strict=True)]
    order = {url: number for number, url in enumerate(urls)}
    return sorted(found, key=lambda source: order[source.name])


def fetch(url: str, folder: Path) -> Path:
    """A copy of an object in a folder of this machine, under its own name.

    Raises:
        InputError: It is not there any more.
        VidferError: The store says no.
        OutputError: There is no room for it.
    """
    scheme, _, place = url.partition("://")
    path = folder / _shortened(posixpath.basename(place))
    store = _store(scheme)
    from fsspec.callbacks import Callback

    try:
        store.get_file(place, str(path), callback=Callback(hooks={"alive": lambda *_, **__: sign()}))
    except FileNotFoundError:
        raise InputError(f"{url} is not there") from FileNotFoundError(url)
    except Exception as error:  # noqa: BLE001 (every store has errors of its own)
        if isinstance(error, OSError) and (error.filename in (str(path), str(folder)) or error.errno in _FULL):
            raise OutputError(
                f"cannot write {path}: {error.strerror}; free it or let TMPDIR name another disk"
            ) from None
        raise VidferError(f"{url} cannot be fetched: {_words(error)}") from None
    if not path.exists():
        raise InputError(f"{url} is a folder")
    return path


def _shortened(name: str) -> str:
    """A name that a disk takes: names in stores may be four times as long."""
    return os.fsdecode(os.fsencode(name)[-_LONGEST:]) if len(os.fsencode(name)) > _LONGEST else name


@cache
def _store(scheme: str) -> Any:
    package = _PACKAGES[scheme]
    # gcsfs would ask another service for the kind of each bucket, which few may: five warnings for a file, or a hang.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger(package).setLevel(logging.CRITICAL)  # what it logs, tracebacks too, it raises as well
    try:
        importlib.import_module(package)
        import fsspec
    except ImportError:
        raise UsageError(f"{scheme}:// needs {package}: pip install 'vidfer[cloud]'") from None
    try:
        # Listings of millions would stay in memory.
        return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True)
    except Exception as error:  # noqa: BLE001 (every store has errors of its own)
        raise _refused(f"{scheme}://", error) from None


def _walk(scheme: str, store: Any, top: str, is_wanted: Any) -> Iterator[Source]:
    """Folder by folder: all of a store at once would not fit into memory."""
    try:
        for folder, _, files in store.walk(top, detail=True, on_error="raise"):
            for name in sorted(files):
                if is_wanted(f"{folder}/{name}"):
                    yield _source(f"{scheme}://{folder}/{name}", files[name])
    except (VidferError, GeneratorExit):
        raise
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 (every store has errors of its own)
        raise _refused(f"{scheme}://{top}", error) from None


def _is_video(path: str) -> bool:
    """By its name, below the folder that was named: that one may be hidden."""
    hidden = any(part.startswith(".") for part in path.split("/"))
    suffix = posixpath.splitext(path)[1].lower()
    return suffix in VIDEO_SUFFIXES and not path.endswith(DRAWN_SUFFIXES[False, False]) and not hidden


def _source(url: str, about: Any) -> Source:
    if isinstance(about, FileNotFoundError) or (isinstance(about, dict) and about.get("type") == "directory"):
        return Source(name=url, identity=ABSENT)
    if isinstance(about, BaseException):
        raise _refused(url, about)
    stamps = (
        about.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime")
    )
    stamp = next((str(value) for value in stamps if value), "")
    size = int(about.get("size") or 0)
    return Source(name=url, identity=f"{size}-{stamp.strip(chr(34))}", size=size)


def _refused(url: str, error: BaseException) -> InputError:
    hint = "credentials come from the environment, as the store's own tools take them"
    return InputError(f"{url} cannot be read: {_words(error)}; {hint}")


def _words(error: BaseException) -> str:
    text = without_secrets(" ".join(str(error).split()))
    return text or type(error).__name__
