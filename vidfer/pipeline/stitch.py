"""The raw parts of all slices of a file become those of one pass, and then its tables.

Two slices meet in the last frame before a border: both have read it, one of them knowing all before. Where they agree
on it (packet, stamp, picture, clock), what the second one has read is what one pass would have read, but for counts
that are moved by what the first has counted more. Where they do not (damage that the packets did not show), stitching
ends and the rest of the file is analysed as after an interruption. Ids come from the tracker, which goes over all faces
again, as after an interruption, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidfer.errors import UsageError
from vidfer.media.bookmark import Shift, shift
from vidfer.media.file import VideoFile
from vidfer.output.parts import DamagedPartError, PartWriter, part_paths, read_part, state_of
from vidfer.pipeline.analyze import Follower
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.looking import who
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions, frame_interval_s
from vidfer.pipeline.results import OnProgress, Outputs, ProcessResult, make_folder
from vidfer.pipeline.resume import Journal, faces_of
from vidfer.pipeline.run import Run
from vidfer.pipeline.slices import Slice, check_source, is_lost
from vidfer.vision.track import FaceTracker, TrackerOptions

_log = logging.getLogger(__name__)

_NOTHING = Shift.none()


def stitch(
    path: Path,
    options: ProcessOptions,
    slices: Sequence[Slice],
    folders: Sequence[Path],
    outputs: Outputs,
    models: Models | None = None,
    progress: OnProgress | None = None,
) -> ProcessResult:
    """Make of analysed slices the results of one pass. Called again after an interruption it gives the same.

    Args:
        path: The video.
        options: Those that the slices were analysed with.
        slices: All of them, in order.
        folders: Where `analyse_slice` has put each; they stay.
        outputs: Where results go.
        models: Those of the slices; loaded here by default. They run only where slices do not meet.
        progress: Called after every few frames.

    Raises:
        InputError: The video is another one, or a slice was damaged.
        UsageError: A slice is not analysed, or was analysed otherwise; or there are results made otherwise.
        OutputError: The results cannot be written.
    """
    if [part.number for part in slices] != list(range(slices[0].count)) or len(folders) != len(slices):
        raise UsageError(
            f"{path}: {len(slices)} slices and {len(folders)} folders are given: give all of them, in order"
        )
    with VideoFile(path, stream=options.stream, sampling=options.sampling()) as video, Fingerprint(path) as source:
        for part in slices:
            check_source(path, source, part)
        models = models or Models(options.device, options.precision)
        stitcher = _Stitcher(source, who(options, models), options, frame_interval_s(video.info, options))
        pairs = list(zip(slices, folders, strict=True))
        stitcher.check(pairs)
        make_folder(outputs)
        return Run(video, source, options, outputs, models, progress, partial(stitcher.fill, pairs)).do()


class _Stitcher:
    """Puts the parts of slices, one after the other, into the journal of a run."""

    def __init__(self, source: Fingerprint, maker: dict[str, Any], options: ProcessOptions, interval_s: float) -> None:
        self._source, self._maker, self._options, self._interval_s = source, maker, options, interval_s

    def _journal(self, part: Slice, folder: Path) -> Journal:
        return Journal(folder, {**self._maker, "slice": part.key}, self._source, keep=True)

    def check(self, pairs: Sequence[tuple[Slice, Path]]) -> None:
        """Refuse slices that are not analysed, before anything is written."""
        for part, folder in pairs:
            if is_lost(part, folder):
                continue
            known = folder.is_dir()
            if known:
                with self._journal(part, folder) as theirs:
                    known = theirs.analysed is not None
            if not known:
                raise UsageError(
                    f"slice {part.number + 1} of {part.count} is not in {folder}, or was analysed otherwise (options, "
                    "networks, vidfer or its decoder): analyse it again"
                )

    def fill(self, pairs: Sequence[tuple[Slice, Path]], ours: Journal) -> None:
        """Put all that fits together into the parts of a run."""
        ours.discard("the slices are stitched anew")
        tracker = FaceTracker(frame_interval_s=self._interval_s, options=TrackerOptions())
        follower = Follower(tracker, self._interval_s)
        writer = PartWriter(ours.folder)
        moved, account = _NOTHING, None
        for part, folder in pairs:
            if is_lost(part, folder):
                return
            with self._journal(part, folder) as theirs:
                met = self._meet(part, theirs, ours)
                if met is None:
                    _log.warning(
                        "slices %d and %d do not meet, the file is damaged: it is analysed on from there",
                        part.number,
                        part.number + 1,
                    )
                    return
                moved = met[0]
                self._copy(part, theirs, ours, writer, follower, *met)
                account = theirs.analysed["account"] if theirs.analysed else None
        if moved.is_none and account is not None:  # else reading on from the end, where nothing is, tells it
            ours.all_analysed(account)

    def _meet(self, part: Slice, theirs: Journal, ours: Journal) -> tuple[Shift, int] | None:
        """How the counts of a slice, and its shots, have to be moved."""
        if part.bookmark is None or part.begin is None:
            return _NOTHING, 0
        seen = [state for _, state in _parts(theirs) if _is_before(state, part.begin)]
        if not seen or ours.state is None:
            return None
        first, second = ours.state["analysis"], seen[-1]["analysis"]
        found = shift(first["bookmark"], second["bookmark"], part.bookmark["packet"])
        if found is None or (found.frames and self._counts_frames()):
            return None
        return found, first["segmenter"]["shot"] - second["segmenter"]["shot"]

    def _counts_frames(self) -> bool:
        """Whether it depends on the number of a frame whether it is analysed."""
        sampling = self._options.sampling()
        limits = [limit for limit in (sampling.start, sampling.end) if limit is not None]
        return sampling.stride is not None or any(limit.frame is not None for limit in limits)

    def _copy(
        self,
        part: Slice,
        theirs: Journal,
        ours: Journal,
        writer: PartWriter,
        follower: Follower,
        moved: Shift,
        shots: int,
    ) -> None:
        before_s = 0.0
        for path, state in _parts(theirs):
            spent_s, before_s = state["wall_s"] - before_s, state["wall_s"]
            if part.begin is not None and _is_before(state, part.begin):
                continue
            table = read_part(path)
            table = _with(table, "frame", table["frame"].to_numpy() + moved.frames)
            table = _with(table, "shot", table["shot"].to_numpy() + shots)
            table = _with(table, "tracklet", _tracklets(table, follower), ~_is_face(table))
            ours.write(writer, table, _moved(state["analysis"], moved, shots), spent_s=spent_s)


def _parts(journal: Journal) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The parts of a slice and their states."""
    for path in part_paths(journal.folder):
        state = state_of(path)
        if state is None:
            raise DamagedPartError(f"{path} is damaged (it does not say where it ends)")
        yield path, state


def _is_before(state: dict[str, Any], stamp: int) -> bool:
    pts = state["analysis"]["bookmark"]["pts"]
    return pts is None or bool(pts < stamp)


def _moved(analysis: dict[str, Any], moved: Shift, shots: int) -> dict[str, Any]:
    """The state of an analysis as one pass would have it."""
    segmenter, key = analysis["segmenter"], analysis["key"]
    return {
        **analysis,
        "bookmark": moved.applied(analysis["bookmark"]),
        "segmenter": {**segmenter, "shot": segmenter["shot"] + shots},
        "key": {**key, "index": key["index"] + moved.frames},
    }


def _is_face(table: pa.Table) -> np.ndarray:
    return np.asarray(table["tracklet"].is_valid().to_numpy())


def _tracklets(table: pa.Table, follower: Follower) -> np.ndarray:
    """The id of every face, by a tracker that has seen all before; rows without a face hold anything."""
    ids = np.zeros(table.num_rows, np.int64)
    frame_ids: Iterator[np.ndarray] = (
        follower.update(time_s, shot, detections, embedding)
        for time_s, shot, detections, embedding, _ in faces_of(table)
    )
    found = list(frame_ids)
    ids[_is_face(table)] = np.concatenate(found) if found else []
    return ids


def _with(table: pa.Table, name: str, values: np.ndarray, null: np.ndarray | None = None) -> pa.Table:
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values.astype(field.type.to_pandas_dtype()), field.type, mask=null))
