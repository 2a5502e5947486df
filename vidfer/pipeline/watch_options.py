"""What `watch` can be told: on the command line, in a TOML file, and logins in the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vidfer.config import read_toml
from vidfer.errors import InputError, UsageError
from vidfer.media.address import Address, parse_address, redacted
from vidfer.pipeline.options import LANDMARKS
from vidfer.smooth import PRESETS
from vidfer.vision.session import DEVICES, PRECISIONS

TRANSPORTS = ("tcp", "udp")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOGIN = ("VIDFER_USERNAME", "VIDFER_PASSWORD")
_MOST_SEGMENT_S, _MOST_LAG_S = 600.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOptions:
    """One camera.

    Attributes:
        name: Letters, digits, ".", "_" and "-": it becomes the name of a folder.
        url: Where it is; may hold a login.
        username: To log in with, where the URL has no login; else that of the environment.
        password: Likewise.
        transport: "tcp" or "udp".
        max_fps: Frames a second to analyse at most.
    """

    name: str
    url: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    transport: str = "tcp"
    max_fps: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"a camera is called {self.name!r}: give it a name of letters, digits, '.', '_' and '-'")
        _one_of("transport", self.transport, TRANSPORTS)
        _above("max_fps", self.max_fps)

    @property
    def shown(self) -> str:
        """Where it is, without credentials."""
        return redacted(self.url)

    def address(self) -> Address:
        """Where it is.

        Raises:
            InputError: The URL means nothing.
        """
        own = re.sub(r"[^A-Z0-9]", "_", self.name.upper())
        known = [(f"{variable}_{own}", variable) for variable in _LOGIN]
        login = [os.environ.get(mine, os.environ.get(common)) for mine, common in known]
        if self.username is not None:
            login = [self.username, self.password if self.password is not None else login[1]]
        return parse_address(self.url, username=login[0], password=login[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Options of `watch`.

    Attributes:
        cameras: At least one, with names of their own.
        output: Folder of the tables.
        segment: Seconds that a piece of the table, and of the video, lasts.
        record: Record annotated videos too.
        blur: Make faces unrecognisable, in them and in what is shown live.
        keep_days: Remove older pieces.
        keep_gb: Remove the oldest pieces beyond so many gigabytes (10^9 bytes).
        landmarks: Points per face in the table: 68, 478 or None, also written "68", "478" or "none".
        smooth: "off", "light", "medium" or "strong".
        lag: Seconds of the following that smoothing waits for.
        max_outage: Give a camera up that was away for so many seconds; None for never.
        stall: Connect anew when the newest frame is so many seconds old.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "int8".

    Raises:
        UsageError: A value is not allowed.
    """

    cameras: tuple[CameraOptions, ...]
    output: Path = Path()
    segment: float = 60.0
    record: bool = False
    blur: bool = False
    keep_days: float | None = None
    keep_gb: float | None = None
    landmarks: int | None = 68
    smooth: str = "medium"
    lag: float = 0.0
    max_outage: float | None = None
    stall: float = 10.0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not self.cameras:
            raise UsageError("no camera to watch: give a URL, --camera 0, or --config cameras.toml")
        twice = [name for name, count in Counter(c.name.casefold() for c in self.cameras).items() if count > 1]
        if twice:
            raise UsageError(f"two cameras are called {twice[0]}: give them different names")
        written = {"none": None, **{str(points): points for points in LANDMARKS if points is not None}}
        object.__setattr__(self, "landmarks", written.get(str(self.landmarks), self.landmarks))
        _one_of("landmarks", self.landmarks, LANDMARKS)
        _one_of("smooth", self.smooth, PRESETS)
        _one_of("device", self.device, DEVICES)
        _one_of("precision", self.precision, PRECISIONS)
        for name in ("segment", "keep_days", "keep_gb", "max_outage", "stall"):
            _above(name, getattr(self, name))
        if self.segment > _MOST_SEGMENT_S:
            raise UsageError(f"segment is {self.segment:g}: give at most {_MOST_SEGMENT_S:g} seconds, kept in memory")
        if not 0 <= self.lag <= _MOST_LAG_S:
            raise UsageError(
                f"lag is {self.lag:g}: give 0 to {_MOST_LAG_S:g} seconds, whose pictures are kept in memory"
            )


_OF_CAMERA = {f.name: f.type for f in fields(CameraOptions)}
_OF_ALL = {f.name: f.type for f in fields(WatchOptions)}
_COMMON = ("transport", "max_fps")  # for all cameras at once


def watch_options(
    urls: Sequence[str] = (), config: Path | None = None, given: Mapping[str, Any] | None = None
) -> WatchOptions:
    """Options from all places: what is given here wins over the file.

    Args:
        urls: Cameras besides those of the file.
        config: A TOML file.
        given: By the names in `WatchOptions`, or `transport` and `max_fps` for all cameras; None is not given.

    Raises:
        UsageError: Something in there is not allowed.
        InputError: The file cannot be read.
    """
    values = _read(config) if config is not None else {}
    tables = values.pop("camera", {})
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    common = {name: values.pop(name) for name in _COMMON if name in values}
    cameras = [CameraOptions(**{**common, **table, "name": name}) for name, table in tables.items()]
    for url in urls:
        names = {camera.name.casefold() for camera in cameras}
        cameras.append(CameraOptions(**common, name=_name_for(url, names), url=url))
    return WatchOptions(**values, cameras=tuple(cameras))


def _name_for(url: str, taken: set[str]) -> str:
    """A name of its own for a camera that has none."""
    try:
        name = parse_address(url).name or "camera"
    except InputError:  # said when the camera is opened, so that the others go on
        name = "camera"
    number, unique = 1, name
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique


def _read(path: Path) -> dict[str, Any]:
    """A configuration, every key and value checked."""
    values = read_toml(path)
    tables = values.get("camera", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: write each camera as [camera.NAME], with its url below")
    _check(path, "", values, {**{n: t for n, t in _OF_ALL.items() if n != "cameras"}, "camera": "", **_shared()})
    for name, table in tables.items():
        _check(path, f"camera.{name}: ", table, {n: t for n, t in _OF_CAMERA.items() if n != "name"})
        if "url" not in table:
            raise UsageError(f"{path}: camera.{name} has no url")
    if "output" in values:
        values["output"] = Path(values["output"])
    return values


def _shared() -> dict[str, Any]:
    return {name: _OF_CAMERA[name] for name in _COMMON}


def _check(path: Path, place: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)
            raise UsageError(f"{path}: {place}unknown key {key!r}, did you mean {near[0]!r}?")
        kind = str(known[key])
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        wanted = {
            "bool": ("true or false", isinstance(value, bool)),
            "float": ("a number", number),
            "int": ("a number or 'none'", number or value == "none"),
            "str": ("a text in quotes", isinstance(value, str)),
            "Path": ("a folder in quotes", isinstance(value, str)),
        }.get(kind.removesuffix(" | None"))
        if wanted is not None and not wanted[1]:
            shown = "not shown" if key in ("password", "username", "url") else repr(value)
            raise UsageError(f"{path}: {place}{key} must be {wanted[0]}, got {shown}")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        names = ", ".join("none" if choice is None else str(choice) for choice in allowed)
        raise UsageError(f"{name} is {value!r}: choose one of {names}")


def _above(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"{name} is {value:g}: give a number above 0")
