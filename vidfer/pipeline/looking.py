"""Frames into raw parts: what a whole run and a slice of one have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import Any

import vidfer
from vidfer.media.codecs import decoder_version
from vidfer.media.cores import available_cores
from vidfer.pipeline.analyze import Analyzer, Interval
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.pipeline.report import StageTimes
from vidfer.pipeline.resume import PARTS_VERSION, Journal, Recorder
from vidfer.pipeline.timed import TimedDetector, TimedNetwork, TimedTracker
from vidfer.types import Frame
from vidfer.vision.track import FaceTracker

# Beyond this many the interpreter, which runs one thread at a time, is busy with the small steps in between.
_MOST_WORKERS = 4


def who(options: ProcessOptions, models: Models) -> dict[str, Any]:
    """What decides the parts besides the source."""
    return {
        "parts": PARTS_VERSION,
        "vidfer": vidfer.__version__,
        "config": config_hash(options.deciding(), models.hashes),
        "providers": [entry["provider"] for entry in models.entries],
        "decoder": decoder_version(),
    }


def look(
    journal: Journal,
    frames: Iterable[Frame],
    tracker: FaceTracker,
    *,
    models: Models,
    options: ProcessOptions,
    frame_interval_s: float,
    times: StageTimes,
    tell: Callable[[Interval, int], None],
) -> None:
    """Analyse frames into the parts of a journal, from its state on; the last part ends with the last frame.

    Args:
        journal: Entered.
        frames: Those after the journal's last one.
        tracker: That has seen the journal's parts.
        models: The networks.
        options: Of the run.
        frame_interval_s: Usual time between two frames.
        times: Where the stages' times go.
        tell: Called with every interval and the number of faces so far.
    """
    analyzer = Analyzer(
        TimedDetector(models.detector, times),
        TimedNetwork(models.network, times),
        TimedTracker(tracker, times),
        frame_interval_s=frame_interval_s,
        detect_every=options.detect_every,
        state=journal.state and journal.state["analysis"],
        workers=min(available_cores(), _MOST_WORKERS),
    )
    recorder = Recorder(journal, options.landmarks)
    try:
        with closing(analyzer.intervals(frames)) as intervals:
            for interval in intervals:
                with times.measure("write"):
                    recorder.add(interval)
                tell(interval, analyzer.counts.faces)
        recorder.close_part()
    except BaseException:
        with suppress(Exception):  # a full disk, say, or a NaN: what brought us here matters more
            recorder.rescue()
        raise
