"""What a run says about itself: the footer of the tables and `NAME.run.json`."""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np

import vidfer
from vidfer.media.codecs import decoder_version
from vidfer.media.file import SourceInfo, VideoFile
from vidfer.media.ledger import FrameCounts
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.schema import SCHEMA_VERSION
from vidfer.smooth import Smoothing
from vidfer.types import EMOTIONS
from vidfer.vision.session import Session

TOPOLOGY = {68: "ibug68", 478: "mesh478", None: None}


class StageTimes:
    """How long every call of every stage took, on the clock: calls of several threads add up to more than the run."""

    def __init__(self) -> None:
        self._seconds: dict[str, array[float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the block as one call of `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                self._seconds.setdefault(stage, array("f")).append(seconds)

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Per stage: total seconds, median and 95th percentile per call in ms."""
        return {stage: _summary(np.asarray(seconds)) for stage, seconds in self._seconds.items()}


def _summary(seconds: np.ndarray) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return {"total_s": round(float(seconds.sum()), 4), "p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def model_entries(sessions: list[Session]) -> list[dict[str, str]]:
    """The networks of a run, with the provider that really runs them."""
    return [
        {
            "name": session.card.name,
            "version": session.card.version,
            "sha256": session.card.sha256,
            "licence": session.card.licence,
            "provider": session.provider,
        }
        for session in sessions
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What reading a source to its end has told."""

    info: SourceInfo
    counts: FrameCounts
    warnings: list[str]

    @classmethod
    def of(cls, video: VideoFile) -> Account:
        """Of a video that has been read to its end."""
        return cls(info=video.info, counts=video.counts, warnings=video.warnings)

    def as_dict(self) -> dict[str, Any]:
        """What the file itself does not say beforehand, as JSON."""
        return {
            "counts": asdict(self.counts),
            "variable_frame_rate": self.info.variable_frame_rate,
            "warnings": self.warnings,
        }

    @classmethod
    def from_dict(cls, info: SourceInfo, known: dict[str, Any]) -> Account:
        """That of an earlier run, for the same file."""
        info = replace(info, variable_frame_rate=known["variable_frame_rate"])
        return cls(info=info, counts=FrameCounts(**known["counts"]), warnings=known["warnings"])


def footer(
    *,
    account: Account,
    sha256: str,
    faces: int,
    tracks: int,
    options: ProcessOptions,
    models: list[dict[str, str]],
    tracker: dict[str, Any],
    smoothing: Smoothing,
) -> dict[str, Any]:
    """The JSON under the key `vidfer` in the footer of the tables."""
    info, counts = account.info, account.counts
    return {
        "schema_version": SCHEMA_VERSION,
        "vidfer_version": vidfer.__version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {**_source(info), "sha256": sha256},
        "counts": {**asdict(counts), "analysed": counts.analysed, "faces": faces, "tracks": tracks},
        "decoder": decoder_version(),
        "sampling": {key: getattr(options, key) for key in ("start", "end", "fps", "stride")},
        "models": models,
        "emotion_labels": list(EMOTIONS),
        "landmark_topology": TOPOLOGY[options.landmarks],
        "tracker": tracker,
        "smoothing": {"preset": options.smooth, **asdict(smoothing)},
        "options": options.deciding(),
        "config_sha256": config_hash(options.deciding(), {m["name"]: m["sha256"] for m in models}),
    }


def _source(info: SourceInfo) -> dict[str, Any]:
    entries = {key: value for key, value in asdict(info).items() if key not in ("path", "size_bytes")}
    entries["size"] = info.size_bytes
    return {key: str(_ratio(v)) if isinstance(v, Fraction) else v for key, v in entries.items()}


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def timings(account: Account, times: StageTimes, *, wall_s: float, resumed_frames: int) -> dict[str, Any]:
    """How long a run took, interrupted ones before it included in `wall_s` only."""
    duration_s, peak = account.info.duration_s, peak_rss_bytes()
    found: dict[str, Any] = {
        "wall_s": round(wall_s, 3),
        "frames_per_second": round(account.counts.decoded / wall_s, 2),
        "times_real_time": round(duration_s / wall_s, 2) if duration_s else None,
        "resumed_frames": resumed_frames,
        "stages": times.as_dict(),
    }
    return found if peak is None else {**found, "peak_rss_bytes": peak}


def peak_rss_bytes() -> int | None:
    """Most memory this process has held, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
