"""`process`: one file from video to tables, report and annotated video.

decode thread --> Analyzer (threads) --> raw parts --> second look --> tables --> render
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidfer.errors import InputError, one_line
from vidfer.media.file import VideoFile
from vidfer.output.files import write_text
from vidfer.output.parts import DamagedPartError
from vidfer.pipeline.analyze import Interval
from vidfer.pipeline.earlier import Earlier, find_earlier, refuse_video
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.finish import finish
from vidfer.pipeline.looking import look, who
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions, frame_interval_s
from vidfer.pipeline.render import render
from vidfer.pipeline.report import Account, StageTimes, footer, timings
from vidfer.pipeline.results import OnProgress, Outputs, ProcessResult, Progress, make_folder
from vidfer.pipeline.resume import Journal
from vidfer.pipeline.timed import timed_frames
from vidfer.smooth import Smoothing
from vidfer.vision.identity import IdentityOptions
from vidfer.vision.track import FaceTracker, TrackerOptions
from vidfer.vision.tracklets import LinkOptions

_log = logging.getLogger(__name__)


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
        are (with the annotated video added where it is missing). A run that was interrupted is gone on with.

    Raises:
        InputError: The video cannot be read.
        UsageError: Results made otherwise are there already.
        OutputError: The results cannot be written. What is analysed is kept, after any error.
    """
    outputs = Outputs.of(options.output_dir, name or path.stem)
    with VideoFile(path, stream=options.stream, sampling=options.sampling()) as video, Fingerprint(path) as source:
        models = models or Models(options.device, options.precision)
        make_folder(outputs)
        return Run(video, source, options, outputs, models, progress).do()


class Run:
    """One source on its way to its results.

    Args:
        video: Opened.
        source: Its fingerprint.
        options: What to do.
        outputs: Where results go; their folder is there.
        models: Loaded networks.
        progress: Called after every few frames.
        fill: Puts what was analysed elsewhere into the journal; what it leaves out is analysed.
    """

    def __init__(
        self,
        video: VideoFile,
        source: Fingerprint,
        options: ProcessOptions,
        outputs: Outputs,
        models: Models,
        progress: OnProgress | None,
        fill: Callable[[Journal], None] | None = None,
    ) -> None:
        self._video, self._source, self._options, self._outputs = video, source, options, outputs
        self._models, self._progress, self._fill = models, progress, fill
        self._times = StageTimes()
        self._interval_s = frame_interval_s(video.info, options)
        self._tracker_options, self._link_options = TrackerOptions(), LinkOptions()
        self._identity_options = IdentityOptions() if options.identity else None
        self._smoothing = Smoothing.preset(options.smooth)

    def do(self) -> ProcessResult:
        """Give back what is there; else analyse, finish, render, or go on with whichever of them was interrupted."""
        if not self._outputs.parts.exists():
            earlier = self._earlier()
            if earlier is not None and earlier.is_whole:
                return self._result(earlier.report, "already done")
        with Journal(self._outputs.parts, who(self._options, self._models), self._source) as journal:
            self._outputs.remove_unfinished()
            earlier = self._earlier()  # also refuses what an interrupted run was told to overwrite and this one not
            if earlier is not None and (journal.state is None or earlier.is_whole):  # the report comes last
                return self._complete(earlier)
            return self._make(journal)

    def _earlier(self) -> Earlier | None:
        if self._options.overwrite:
            return None
        return find_earlier(self._outputs, self._source, self._options, self._models.hashes)

    def _complete(self, earlier: Earlier) -> ProcessResult:
        """Add what is missing beside the tables: the report, the annotated video."""
        report, name = earlier.report, self._outputs.video.name
        if self._options.render:
            refuse_video(self._outputs)
            if name not in report["outputs"]:
                report["outputs"].append(name)
        self._write_report(report)  # first: killed while drawing, the next run knows that the video is ours
        if self._options.render and not self._outputs.video.exists():
            self._render()
        return self._result(report, "already done")

    def _make(self, journal: Journal) -> ProcessResult:
        try:
            account, about = self._make_tables(journal)
        except DamagedPartError as error:
            _log.warning("%s: all of it is analysed again", error)
            journal.discard(one_line(error))
            with self._open_at(None) as self._video:
                account, about = self._make_tables(journal)
        written = [self._outputs.table, self._outputs.tracks]
        if self._options.render:
            with self._times.measure("render"):
                self._render()
            written.append(self._outputs.video)
        report = {
            **about,
            "state": "done",
            "warnings": account.warnings,
            "outputs": [path.name for path in written],
            "timings": timings(account, self._times, wall_s=journal.wall_s, resumed_frames=journal.resumed_frames),
        }
        self._write_report(report)
        return self._result(report, "resumed" if journal.resumed_frames else "done")

    def _make_tables(self, journal: Journal) -> tuple[Account, dict[str, Any]]:
        """What was read, and the footer of the tables, which are there now."""
        if journal.analysed is None and self._fill is not None:
            with self._times.measure("stitch"):
                self._fill(journal)
        if journal.analysed is None:
            account = self._analyse(journal)
        else:
            account = Account.from_dict(self._video.info, journal.analysed["account"])
        about = journal.footer if self._outputs.table.exists() and self._outputs.tracks.exists() else None
        if about is None:
            with self._times.measure("finish"):
                about = self._finish(journal, account)
            journal.all_analysed(account.as_dict(), about)
        return account, about

    def _write_report(self, report: dict[str, Any]) -> None:
        report["source_modified_utc"] = self._source.modified_utc
        write_text(self._outputs.report, json.dumps(report, indent=1) + "\n")

    def _result(self, report: dict[str, Any], state: str) -> ProcessResult:
        """The files of this run as they lie there."""
        return ProcessResult(
            source=Path(self._video.info.path),
            table_path=self._outputs.table,
            tracks_path=self._outputs.tracks,
            report_path=self._outputs.report,
            video_path=self._outputs.video if self._options.render else None,
            report=report,
            state=state,
        )

    def _analyse(self, journal: Journal) -> Account:
        """Look at all frames that are not in the parts yet."""
        with ExitStack() as stack:
            video, tracker = self._video, None
            if journal.state is not None:
                done = journal.state["last_frame"] + 1
                self._tell("analyse", done, 0.0, time.perf_counter(), journal.resumed_faces, done)
                try:
                    tracker = journal.replay(self._tracker_options, self._interval_s)
                    video = stack.enter_context(self._open_at(journal.state["analysis"]["bookmark"]))
                except InputError as error:
                    journal.discard(one_line(error))
            if journal.state is None:
                journal.discard("they were made otherwise, or from another video")
                tracker = FaceTracker(frame_interval_s=self._interval_s, options=self._tracker_options)
            assert tracker is not None
            self._source.begin()
            self._look(journal, video, tracker)
            if journal.state is None:
                raise InputError(self._options.nothing_of(video.info))
            account = Account.of(video)
            journal.all_analysed(account.as_dict())
            return account

    def _open_at(self, bookmark: dict[str, Any] | None) -> VideoFile:
        path, options = self._video.info.path, self._options
        return VideoFile(path, stream=options.stream, sampling=options.sampling(), bookmark=bookmark)

    def _look(self, journal: Journal, video: VideoFile, tracker: FaceTracker) -> None:
        began, before = time.perf_counter(), video.counts.decoded

        def tell(interval: Interval, faces: int) -> None:
            last = interval.results[-1]
            self._tell("analyse", last.index + 1, last.time_s or 0.0, began, journal.resumed_faces + faces, before)

        look(
            journal,
            timed_frames(video, self._times),
            tracker,
            models=self._models,
            options=self._options,
            frame_interval_s=self._interval_s,
            times=self._times,
            tell=tell,
        )

    def _finish(self, journal: Journal, account: Account) -> dict[str, Any]:
        """Write both tables; gives the footer."""
        self._tell("finish", 0, 0.0, time.perf_counter())
        sha256 = self._source.sha256
        # Beside the parts first: what an earlier run has left stays until both tables are complete.
        made = self._outputs.parts / "table.parquet", self._outputs.parts / "tracks.parquet"

        identity = asdict(self._identity_options) if self._identity_options else {}

        def describe(faces: int, tracks: int) -> dict[str, Any]:
            return footer(
                account=account,
                sha256=sha256,
                faces=faces,
                tracks=tracks,
                options=self._options,
                models=self._models.entries,
                tracker={**asdict(self._tracker_options), **asdict(self._link_options), **identity},
                smoothing=self._smoothing,
            )

        about = finish(
            self._outputs.parts,
            *made,
            source=account.info.name,
            landmarks=self._options.landmarks,
            frame_interval_s=self._interval_s,
            smoothing=self._smoothing,
            link=self._link_options,
            identity=self._identity_options,
            embeddings=self._options.embeddings,
            describe=describe,
        )
        journal.check()
        self._outputs.replace_tables(*made)
        return about

    def _render(self) -> None:
        render(
            Path(self._video.info.path),
            self._outputs.table,
            self._outputs.video,
            landmarks=self._options.landmarks is not None,
            source_is_checked=True,
            progress=self._progress,
        )

    def _tell(
        self, stage: str, frames: int, time_s: float, began: float, faces: int = 0, frames_before: int = 0
    ) -> None:
        if self._progress is not None:
            self._progress(
                Progress(
                    stage=stage,
                    frames_done=frames,
                    frames_total=self._video.info.frames_declared or None,
                    time_s=time_s,
                    seconds=time.perf_counter() - began,
                    faces=faces,
                    frames_before=frames_before,
                )
            )
