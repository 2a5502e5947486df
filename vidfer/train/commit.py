"""Which code made something."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache  # what runs was read once, at its start
def git_sha() -> str:
    """Commit of the code that runs, with `+` after it where the working tree differs; `unknown` where it is in none.

    An installed package may lie in somebody else's checkout, as in a project's `.venv`.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, check=True, capture_output=True, text=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
