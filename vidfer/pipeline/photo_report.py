"""What a run over photos says about itself: the footer of the tables and `NAME.run.json`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

import vidfer
from vidfer.media.photos import Photo, PhotoSet
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.pipeline.report import TOPOLOGY, peak_rss_bytes
from vidfer.schema import SCHEMA_VERSION
from vidfer.smooth import Smoothing
from vidfer.types import EMOTIONS, Faces

_RATIO = "1/1"


@dataclass(slots=True, kw_only=True)
class PhotosSeen:
    """What was read so far."""

    began: float = field(default_factory=time.perf_counter)
    bytes: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    digest: Any = field(default_factory=hashlib.sha256)
    faces: int = 0
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, photo: Photo, faces: Faces) -> None:
        """One more photo."""
        self.bytes += photo.size
        self.sizes.add((photo.image.shape[1], photo.image.shape[0]))
        self.digest.update(f"{photo.sha256}  {name}\n".encode())
        self.faces += len(faces)


def photo_footer(photos: PhotoSet, seen: PhotosSeen, options: ProcessOptions, models: Models) -> dict[str, Any]:
    """The footer of both tables."""
    total, unreadable = len(photos.photos), len(seen.unreadable)
    read = total - unreadable
    counts = {"packets": total, "decoded": read, "undecodable": unreadable, "analysed": read}
    none = dict.fromkeys(("corrupt", "discarded", "dropped", "not_sampled"), 0)
    return {
        "schema_version": SCHEMA_VERSION,
        "vidfer_version": vidfer.__version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": _source(photos, seen),
        "counts": {**counts, **none, "faces": seen.faces, "tracks": seen.faces},
        "unreadable": seen.unreadable,
        "decoder": f"OpenCV {cv2.__version__}",
        "sampling": dict.fromkeys(("start", "end", "fps", "stride")),
        "models": models.entries,
        "emotion_labels": list(EMOTIONS),
        "landmark_topology": TOPOLOGY[options.landmarks],
        "tracker": {},
        "smoothing": {"preset": "off", **asdict(Smoothing.preset("off"))},
        "options": options.deciding(),
        "config_sha256": config_hash(options.deciding(), models.hashes),
    }


def _source(photos: PhotoSet, seen: PhotosSeen) -> dict[str, Any]:
    # 0 where they differ: photos of several sizes have none in common.
    width, height = next(iter(seen.sizes)) if len(seen.sizes) == 1 else (0, 0)
    suffixes = {path.suffix.lower().removeprefix(".") for path in photos.photos}
    return {
        "name": photos.path.resolve().name,
        "size": seen.bytes,
        "sha256": seen.digest.hexdigest(),
        "container": "photos",
        "codec": ",".join(sorted(suffixes)),
        "width": width,
        "height": height,
        "coded_width": width,
        "coded_height": height,
        "rotation": 0,
        "sample_aspect_ratio": _RATIO,
        "time_base": _RATIO,
        "average_frame_rate": None,
        "variable_frame_rate": False,
        "duration_s": None,
        "frames_declared": len(photos.photos),
        "stream": 0,
        "has_audio": False,
    }


def photo_report(about: dict[str, Any], photos: PhotoSet, seen: PhotosSeen, written: Sequence[Path]) -> dict[str, Any]:
    """The report, NAME.run.json, of what was written."""
    wall_s, peak = time.perf_counter() - seen.began, peak_rss_bytes()
    timings = {
        "wall_s": round(wall_s, 3),
        "frames_per_second": round(about["counts"]["decoded"] / wall_s, 2),
        "times_real_time": None,
        "resumed_frames": 0,
        "stages": {},
    }
    return {
        **about,
        "state": "done",
        "source_modified_utc": newest(photos),
        "warnings": [f"{one['source']} cannot be read: {one['reason']}" for one in seen.unreadable],
        "outputs": [path.name for path in written],
        "timings": timings if peak is None else {**timings, "peak_rss_bytes": peak},
    }


def newest(photos: PhotoSet) -> str:
    """When one of the photos was changed last."""
    return datetime.fromtimestamp(max(map(_changed, photos.photos)), UTC).isoformat()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # reading it says why
        return 0.0
