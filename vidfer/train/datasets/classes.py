"""Names that data sets give the eight expressions."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from vidfer.errors import DataError

_NAMES = {
    "neutral": ("neutral", "neutrality"),
    "happiness": ("happiness", "happy", "joy"),
    "sadness": ("sadness", "sad"),
    "surprise": ("surprise", "surprised"),
    "fear": ("fear", "fearful", "afraid"),
    "disgust": ("disgust", "disgusted"),
    "anger": ("anger", "angry"),
    "contempt": ("contempt", "contemptuous"),
}
_EMOTION_OF = {name: emotion for emotion, names in _NAMES.items() for name in names}


def emotion_of(name: str, where: str, more: Mapping[str, str | None] | None = None) -> str | None:
    """The emotion that a class is called after.

    Args:
        name: Of the class; capital letters do not count.
        where: What stands in the message.
        more: Further names, with their emotion, or None for a class to leave out.

    Raises:
        DataError: The name is unknown; the nearest one is named.
    """
    plain = name.strip().casefold()
    known = {**_EMOTION_OF, **{key.casefold(): emotion for key, emotion in (more or {}).items()}}
    if plain in known:
        return known[plain]
    near = get_close_matches(plain, known, 1, 0.5)
    nearest = f"; the nearest known name is {near[0]}" if near else ""
    raise DataError(
        f"{where}: {name!r} is no expression{nearest}; known are {', '.join(_NAMES)}: "
        f"tell what it is with --class {name}=EMOTION, or leave it out with --class {name}=-"
    )
