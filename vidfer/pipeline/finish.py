"""From the parts that analysis left to both tables."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidfer.output.parquet import TableWriter
from vidfer.output.parts import read_parts
from vidfer.pipeline import tables
from vidfer.pipeline.tracks import SecondLook
from vidfer.schema import observation_schema, tracks_schema
from vidfer.smooth import Smoothing
from vidfer.types import I64
from vidfer.vision.identity import Appearances, IdentityOptions, identities
from vidfer.vision.tracklets import LinkOptions


def finish(
    parts: Path,
    table: Path,
    tracks: Path,
    *,
    source: str,
    landmarks: int | None,
    frame_interval_s: float,
    smoothing: Smoothing,
    link: LinkOptions,
    describe: Callable[[int, int], dict[str, Any]],
    identity: IdentityOptions | None = None,
    embeddings: bool = False,
) -> dict[str, Any]:
    """Write both tables; killed and called again it writes the same.

    Args:
        parts: Folder of raw parts.
        table: The table of observations; replaced when complete.
        tracks: The table of tracks; likewise, after the other one.
        source: Name of the source.
        landmarks: Points per face in the parts.
        frame_interval_s: Usual time between two analysed frames.
        smoothing: How to smooth.
        link: How to join tracklets.
        describe: Footer of both tables for the numbers of faces and of tracks.
        identity: How to tell which tracks are one person; None leaves that out.
        embeddings: Put the mean embedding of each track into the table of tracks.

    Returns:
        The footer.
    """
    _give_back_freed_memory()
    with SecondLook(parts, partial(read_parts, parts), frame_interval_s=frame_interval_s) as seen:
        rows = seen.tracks(smoothing, link, tables.track_row)
        person = _describe_looks(seen, rows, identity, embeddings) if identity or embeddings else None
        about = describe(seen.faces, len(rows))
        _give_back_freed_memory()
        with TableWriter(table, observation_schema(landmarks, person is not None)) as writer:  # type: ignore[arg-type]
            for part, faces in seen.observations(tables.raw_columns(landmarks)):
                writer.write(tables.observations(part, faces, source=source, landmarks=landmarks, person=person))
            writer.set_metadata(about)
    with TableWriter(tracks, tracks_schema(identity is not None, embeddings)) as writer:
        writer.write(tables.tracks(rows, source=source, identity=identity is not None, embeddings=embeddings))
        writer.set_metadata(about)
    return about


def _describe_looks(
    seen: SecondLook, rows: list[dict[str, Any]], identity: IdentityOptions | None, embeddings: bool
) -> I64 | None:
    """Add what they look like to the rows of the tracks; gives the person of each track where that is wanted."""
    looks = Appearances.of(seen.stretches(), len(rows))
    if embeddings:
        for row, mean in zip(rows, looks.mean, strict=True):
            row["embedding"] = mean if mean.any() else None
    if identity is None:
        return None
    person = identities(looks, identity)
    for row, who in zip(rows, person.tolist(), strict=True):
        row["identity"] = who
    return person


def _give_back_freed_memory() -> None:
    """Ask Arrow and glibc to give back what was freed: the pictures of the analysis, the embeddings of linking.

    They would keep it, and the peak of a run would be that of two steps together (1080p, 8 faces: 540 MB, so 500).
    """
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
