"""Files that people write to tell vidfer what to do: cameras, jobs, recipes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from vidfer.errors import InputError


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in a TOML file, unchecked.

    Raises:
        InputError: It cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}") from error
