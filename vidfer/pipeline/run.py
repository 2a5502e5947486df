"""`process`: one file from video to tables, report and annotated video.

decode thread --> Analyzer (threads) --> raw parts --> second look --> tables --> render
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidfer.errors import InputError, OutputError, UsageError, VidferError
from vidfer.media.file import SourceInfo, VideoFile
from vidfer.media.inputs import find_videos, sha256_of
from vidfer.output.files import write_text
from vidfer.output.parquet import read_footer
from vidfer.output.parts import PartWriter
from vidfer.pipeline.analyze import Analyzer, available_cores
from vidfer.pipeline.finish import finish
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.pipeline.raw import to_table
from vidfer.pipeline.render import render
from vidfer.pipeline.report import StageTimes, footer, model_entries, peak_rss_bytes
from vidfer.pipeline.results import OnProgress, Outputs, ProcessResult, Progress, make_folder, result_names
from vidfer.pipeline.timed import TimedDetector, TimedNetwork, TimedTracker
from vidfer.smooth import Smoothing
from vidfer.types import Frame, FrameResult
from vidfer.vision import session
from vidfer.vision.detect import FaceDetector
from vidfer.vision.face import FaceNetwork
from vidfer.vision.track import FaceTracker, TrackerOptions
from vidfer.vision.tracklets import LinkOptions

_log = logging.getLogger(__name__)

# Beyond this many the interpreter, which runs one thread at a time, is busy with the small steps in between.
_MOST_WORKERS = 4
_PART_FRAMES = 500
# Below the threshold in the detector's card, which is for single pictures: here a whole track decides
# (`tracks.SURE_FACE`).
_POSSIBLE_FACE = 0.55
_USUAL_FRAME_RATE = 25.0
_MOST_FRAME_RATE = 240.0  # containers without a rate declare their clock, 1000 or 90000


class Models:
    """Both networks, loaded once for all sources of a run."""

    def __init__(self, device: str) -> None:
        self.sessions = [session.load(name, device=device) for name in session.MODELS]
        self.entries = model_entries(self.sessions)
        detector, analyzer = self.sessions
        self.detector = FaceDetector(detector, threshold=_POSSIBLE_FACE)
        self.network = FaceNetwork(analyzer)

    @property
    def hashes(self) -> dict[str, str]:
        """Name -> sha256."""
        return {entry["name"]: entry["sha256"] for entry in self.entries}


def process_many(
    inputs: Sequence[Path], options: ProcessOptions, progress: Callable[[str, Progress], None] | None = None
) -> list[ProcessResult | tuple[Path, VidferError]]:
    """Process files and folders one after the other; a source that fails does not stop the others.

    Args:
        inputs: Files and folders.
        options: For all of them.
        progress: Called often with the name of the source and how far it is.

    Raises:
        VidferError: What concerns all sources: options, networks.
    """
    videos, failed = find_videos(inputs)
    outcomes: list[ProcessResult | tuple[Path, VidferError]] = [*failed]
    if not videos:
        return outcomes
    models = Models(options.device)
    for path, name in zip(videos, result_names(videos, options.output_dir), strict=True):
        report = None if progress is None else _named(progress, path.name)
        try:
            outcomes.append(process_file(path, options, name=name, models=models, progress=report))
        except VidferError as error:
            outcomes.append((path, error))
            _log.debug("%s failed", path, exc_info=True)
    return outcomes


def _named(progress: Callable[[str, Progress], None], name: str) -> OnProgress:
    return lambda moment: progress(name, moment)


def process_file(
    path: Path,
    options: ProcessOptions,
    *,
    name: str | None = None,
    models: Models | None = None,
    progress: OnProgress | None = None,
) -> ProcessResult:
    """Process one video.

    Args:
        path: The video.
        options: What to do.
        name: Name of the results without suffix; the file's by default.
        models: Loaded networks; loaded here by default.
        progress: Called after every few frames.

    Returns:
        The results; those of an earlier run of the same file with the same options and networks are given back as they
        are (with the annotated video added where it is missing).

    Raises:
        InputError: The video cannot be read.
        UsageError: Results made otherwise are there already.
        OutputError: The results cannot be written.
    """
    outputs = Outputs.of(options.output_dir, name or path.stem)
    with VideoFile(path, stream=options.stream, sampling=options.sampling()) as video:
        models = models or Models(options.device)
        make_folder(outputs.table.parent)
        run = _Run(video, sha256_of(path), options, outputs, models, progress)
        if not options.overwrite and run.is_done():
            return run.earlier()
        return run.do()


class _Run:
    """One source on its way to its results."""

    def __init__(
        self,
        video: VideoFile,
        sha256: str,
        options: ProcessOptions,
        outputs: Outputs,
        models: Models,
        progress: OnProgress | None,
    ) -> None:
        self._video, self._sha256, self._options, self._outputs = video, sha256, options, outputs
        self._models, self._progress = models, progress
        self._times = StageTimes()
        self._interval_s = frame_interval_s(video.info, options)
        self._tracker_options, self._link_options = TrackerOptions(), LinkOptions()
        self._smoothing = Smoothing.preset(options.smooth)

    def is_done(self) -> bool:
        """Whether the tables are there, made from the same file with the same options; refuses other ones."""
        if not self._outputs.table.exists():
            return False
        try:
            existing = read_footer(self._outputs.table)
        except InputError as error:
            raise UsageError(
                f"{self._outputs.table} is there already and is no table of vidfer: choose --overwrite, or another "
                "folder with -o"
            ) from error
        difference = self._difference(existing)
        if difference:
            raise UsageError(
                f"{self._outputs.table} is there already, made with {difference}: "
                "choose --overwrite, or another folder with -o"
            )
        return self._outputs.tracks.exists() and self._outputs.report.exists()

    def earlier(self) -> ProcessResult:
        """The results of an earlier run; the annotated video is added where it is wanted and missing."""
        report = json.loads(self._outputs.report.read_text(encoding="utf-8"))
        if self._options.render and not self._outputs.video.exists():
            self._render()
            report["outputs"].append(self._outputs.video.name)
            write_text(self._outputs.report, json.dumps(report, indent=1) + "\n")
        return self.result(report)

    def _difference(self, existing: dict[str, Any]) -> str:
        """What decided the existing table otherwise, in words; empty when nothing did."""
        if existing["source"]["sha256"] != self._sha256:
            return "another video"
        now = self._options.deciding()
        then = existing["options"]
        changed = [
            f"{k}={then.get(k)!r} instead of {now.get(k)!r}" for k in sorted({*now, *then}) if now.get(k) != then.get(k)
        ]
        if changed:
            return ", ".join(changed)
        if existing["config_sha256"] != config_hash(now, self._models.hashes):
            return "other networks"
        return ""

    def do(self) -> ProcessResult:
        """Analyse, finish, render; nothing half-made stays behind."""
        began = time.perf_counter()
        parts = self._outputs.parts
        shutil.rmtree(parts, ignore_errors=True)
        try:
            self._analyse(PartWriter(parts))
            with self._times.measure("finish"):
                about = self._finish(parts)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        written = [self._outputs.table, self._outputs.tracks]
        if self._options.render:
            with self._times.measure("render"):
                self._render()
            written.append(self._outputs.video)
        report = self._report(about, written, time.perf_counter() - began)
        write_text(self._outputs.report, json.dumps(report, indent=1) + "\n")
        return self.result(report)

    def result(self, report: dict[str, Any]) -> ProcessResult:
        """The files of this run as they lie there."""
        return ProcessResult(
            source=Path(self._video.info.path),
            table_path=self._outputs.table,
            tracks_path=self._outputs.tracks,
            report_path=self._outputs.report,
            video_path=self._outputs.video if self._options.render else None,
            report=report,
        )

    def _analyse(self, parts: PartWriter) -> None:
        detector = TimedDetector(self._models.detector, self._times)
        network = TimedNetwork(self._models.network, self._times)
        tracker = FaceTracker(frame_interval_s=self._interval_s, options=self._tracker_options)
        analyzer = Analyzer(
            detector,
            network,
            TimedTracker(tracker, self._times),
            frame_interval_s=self._interval_s,
            detect_every=self._options.detect_every,
            workers=min(available_cores(), _MOST_WORKERS),
        )
        began = time.perf_counter()
        waiting: list[FrameResult] = []
        with closing(analyzer.intervals(_timed_frames(self._video, self._times))) as intervals:
            for interval in intervals:
                waiting += interval.results
                if len(waiting) >= _PART_FRAMES:
                    self._write(parts, waiting)
                    waiting = []
                last = interval.results[-1]
                self._tell("analyse", last.index + 1, last.time_s or 0.0, began, analyzer.counts.faces)
        if not analyzer.counts.frames:
            raise InputError(f"{self._video.info.name} has no frame to analyse: check --start, --end and the file")
        self._write(parts, waiting)

    def _write(self, parts: PartWriter, results: list[FrameResult]) -> None:
        if results:
            with self._times.measure("write"):
                parts.write_part(to_table(results, self._options.landmarks))

    def _finish(self, parts: Path) -> dict[str, Any]:
        """Write both tables; gives the footer."""
        self._tell("finish", 0, 0.0, time.perf_counter(), 0)
        self._clear_earlier()
        return finish(
            parts,
            self._outputs.table,
            self._outputs.tracks,
            source=self._video.info.name,
            landmarks=self._options.landmarks,
            frame_interval_s=self._interval_s,
            smoothing=self._smoothing,
            link=self._link_options,
            describe=self._footer,
        )

    def _clear_earlier(self) -> None:
        """Remove what would stay beside the new table; the report, written last, says that all is done."""
        for path in (self._outputs.report, self._outputs.tracks, self._outputs.video):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot replace {path}: {error.strerror}; choose another folder with -o") from error

    def _footer(self, faces: int, tracks: int) -> dict[str, Any]:
        return footer(
            name=self._video.info.name,
            info=self._video.info,
            sha256=self._sha256,
            counts=self._video.counts,
            faces=faces,
            tracks=tracks,
            options=self._options,
            models=self._models.entries,
            tracker={**asdict(self._tracker_options), **asdict(self._link_options)},
            smoothing=self._smoothing,
        )

    def _render(self) -> None:
        began = time.perf_counter()

        def tell(frames: int, time_s: float) -> None:
            self._tell("render", frames, time_s, began, 0)

        render(
            Path(self._video.info.path),
            self._outputs.table,
            self._outputs.video,
            landmarks=self._options.landmarks is not None,
            progress=tell,
        )

    def _report(self, about: dict[str, Any], written: list[Path], wall_s: float) -> dict[str, Any]:
        decoded = self._video.counts.decoded
        duration = self._video.info.duration_s
        timings: dict[str, Any] = {
            "wall_s": round(wall_s, 3),
            "frames_per_second": round(decoded / wall_s, 2),
            "times_real_time": round(duration / wall_s, 2) if duration else None,
            "stages": self._times.as_dict(),
        }
        peak = peak_rss_bytes()
        if peak is not None:
            timings["peak_rss_bytes"] = peak
        return {
            **about,
            "state": "done",
            "warnings": self._warnings(),
            "outputs": [path.name for path in written],
            "timings": timings,
        }

    def _warnings(self) -> list[str]:
        counts, declared = self._video.counts, self._video.info.frames_declared
        warnings = []
        if self._video.truncated:
            warnings.append(f"the file is cut off: {counts.packets} of {declared} declared frames are there")
        if counts.undecodable or counts.corrupt:
            warnings.append(
                f"the file is damaged: {counts.undecodable} packets gave no frame, {counts.corrupt} frames are corrupt"
            )
        return warnings

    def _tell(self, stage: str, frames: int, time_s: float, began: float, faces: int) -> None:
        if self._progress is not None:
            total = self._video.info.frames_declared or None
            seconds = time.perf_counter() - began
            self._progress(
                Progress(
                    stage=stage, frames_done=frames, frames_total=total, time_s=time_s, seconds=seconds, faces=faces
                )
            )


def frame_interval_s(info: SourceInfo, options: ProcessOptions) -> float:
    """Usual time between two analysed frames."""
    rate = float(info.average_frame_rate or 0)
    rate = rate if 0 < rate <= _MOST_FRAME_RATE else _USUAL_FRAME_RATE
    if options.fps is not None:
        return max(1 / rate, 1 / options.fps)
    return (options.stride or 1) / rate


def _timed_frames(video: VideoFile, times: StageTimes) -> Iterator[Frame]:
    frames = iter(video)
    while True:
        with times.measure("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
