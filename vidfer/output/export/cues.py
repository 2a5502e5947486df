"""Annotations on the time of the video: tiers for ELAN, subtitles for players."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from operator import itemgetter
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

from vidfer.output.export.job import Job
from vidfer.output.export.stretches import Stretch, find_stretches
from vidfer.types import EMOTIONS

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_srt(job: Job, out: BinaryIO) -> None:
    """SubRip: one cue for each stretch of one emotion of one face."""
    for number, one in enumerate(find_stretches(job.reader), start=1):
        out.write(f"{number}\n{_span(one, ',')}\nface {one.face_id}: {one.label}\n\n".encode())


def write_vtt(job: Job, out: BinaryIO) -> None:
    """WebVTT, likewise."""
    out.write(b"WEBVTT\n")
    for one in find_stretches(job.reader):
        out.write(f"\n{_span(one, '.')}\nface {one.face_id}: {one.label}\n".encode())


def _span(stretch: Stretch, point: str) -> str:
    return f"{_clock(stretch.start_ms, point)} --> {_clock(stretch.end_ms, point)}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}"


def write_elan(job: Job, out: BinaryIO) -> None:
    """An annotation document of ELAN (EAF 3.0): a tier for each face, its emotions from a controlled vocabulary."""
    stretches = find_stretches(job.reader)
    for line in _elan(job.reader.about, stretches):
        out.write(f"{line}\n".encode())


def _elan(about: dict[str, dict[str, str]], stretches: list[Stretch]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield (
        f'<ANNOTATION_DOCUMENT AUTHOR="" DATE={quoteattr(str(about["created_utc"]))} FORMAT="3.0" VERSION="3.0"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">'
    )
    name = _NOT_IN_XML.sub("\ufffd", about["source"]["name"])
    kind = mimetypes.guess_type(name)[0] or "unknown"
    place = quoteattr(f"./{name}")
    yield '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">'
    yield f"<MEDIA_DESCRIPTOR MEDIA_URL={place} MIME_TYPE={quoteattr(kind)} RELATIVE_MEDIA_URL={place}/>"
    yield f'<PROPERTY NAME="lastUsedAnnotationId">{len(stretches)}</PROPERTY>'
    yield "</HEADER>"
    yield "<TIME_ORDER>"
    # Each annotation has moments of its own: shared ones would move in ELAN for both when one is dragged.
    bounds = [(number, moment) for number, one in enumerate(stretches) for moment in (one.start_ms, one.end_ms)]
    slots: dict[int, list[str]] = {}
    for order, (number, moment) in enumerate(sorted(bounds, key=itemgetter(1)), start=1):
        slots.setdefault(number, []).append(f"ts{order}")
        yield f'<TIME_SLOT TIME_SLOT_ID="ts{order}" TIME_VALUE="{moment}"/>'
    yield "</TIME_ORDER>"
    yield from _tiers(stretches, slots)
    yield '<LINGUISTIC_TYPE CONTROLLED_VOCABULARY_REF="emotion" GRAPHIC_REFERENCES="false"'
    yield ' LINGUISTIC_TYPE_ID="emotion" TIME_ALIGNABLE="true"/>'
    yield from _vocabulary()
    yield "</ANNOTATION_DOCUMENT>"


def _tiers(stretches: list[Stretch], slots: dict[int, list[str]]) -> Iterator[str]:
    by_face: dict[int, list[tuple[int, Stretch]]] = {}
    for number, one in enumerate(stretches):
        by_face.setdefault(one.face_id, []).append((number, one))
    for face_id, own in sorted(by_face.items()):
        yield f'<TIER LINGUISTIC_TYPE_REF="emotion" TIER_ID="face {face_id}">'
        for number, one in own:
            first, last = slots[number]
            moments = f'TIME_SLOT_REF1="{first}" TIME_SLOT_REF2="{last}"'
            yield f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number + 1}" {moments}>'
            yield f"<ANNOTATION_VALUE>{escape(one.label)}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        yield "</TIER>"


def _vocabulary() -> Iterator[str]:
    """So that whoever corrects a label chooses from the same words."""
    yield '<LANGUAGE LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001" LANG_ID="eng" LANG_LABEL="English (eng)"/>'
    yield '<CONTROLLED_VOCABULARY CV_ID="emotion">'
    yield '<DESCRIPTION LANG_REF="eng">emotions of vidfer</DESCRIPTION>'
    for name in EMOTIONS:
        yield f'<CV_ENTRY_ML CVE_ID="cve_{name}"><CVE_VALUE LANG_REF="eng">{name}</CVE_VALUE></CV_ENTRY_ML>'
    yield "</CONTROLLED_VOCABULARY>"
