"""Credentials stay in the environment: whatever is written down goes through here."""

from __future__ import annotations

import os
import re

_NAMES = re.compile(r"(?i)key|secret|token|password|passwd|credential|connection_string|(^|_)sas(_|$)")
_SHORTEST = 6  # shorter values are flags and numbers
_IN_URLS = re.compile(r"(?i)((?:signature|credential|security-token|sig|token|key|secret|password)[a-z-]*=)[^&\s'\"]+")
_LOGIN = re.compile(r"(://)[^/\s'\"]+@")  # of an endpoint or a proxy


def without_secrets(text: str) -> str:
    """A text in which no credential of the environment is left, and none in a URL."""
    found = {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
    for value in sorted(found, key=len, reverse=True):
        text = text.replace(value, "***")
    return _LOGIN.sub(r"\1***@", _IN_URLS.sub(r"\1***", text))
