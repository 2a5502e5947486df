"""Which codecs the FFmpeg inside PyAV brings along."""

from __future__ import annotations

from typing import Literal

import av

# Codec -> what decodes or encodes it in software; FFmpeg's own "av1" only drives hardware.
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d", "vp9": "vp9"}
ENCODERS = {"h264": "libx264"}


def _has(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        av.Codec(name, mode)
    except ValueError:
        return False
    return True


def ffmpeg_version() -> str:
    """Version of the FFmpeg inside PyAV."""
    return str(av.ffmpeg_version_info)


def decoder_version() -> str:
    """What decodes videos, for the report."""
    return f"PyAV {av.__version__} (FFmpeg {ffmpeg_version()})"


def decoders() -> dict[str, bool]:
    """Whether the usual codecs of videos can be read."""
    return {codec: _has(name, "r") for codec, name in DECODERS.items()}


def encoders() -> dict[str, bool]:
    """Whether what the annotated video needs can be written."""
    return {codec: _has(name, "w") for codec, name in ENCODERS.items()}
