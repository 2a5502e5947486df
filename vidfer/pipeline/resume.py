"""What a run leaves on the disk until it is complete, and how the next one goes on from there.

`.NAME.vidfer/` holds a lock, the raw parts, and `analysed.json` once all frames are in them. Each part has in its
footer the state of the analysis after its last frame, all but the tracker's: that follows from the faces in the parts.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.errors import InputError, OutputError, UsageError, one_line
from vidfer.output.files import write_text, writing
from vidfer.output.parts import PartWriter, last_state, part_paths, read_parts
from vidfer.pipeline.analyze import Follower, Interval
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.raw import matrix, to_table
from vidfer.types import F32, Detections, FrameResult
from vidfer.vision.track import FaceTracker, TrackerOptions

_log = logging.getLogger(__name__)

# Raise it when the columns of the raw parts or their meaning change.
PARTS_VERSION = 1
# A part that was not closed is lost: so much work at most, beside what the analysis has not yet given out.
_PART_S = 3.0
_PART_ROWS = 2048  # 15 MB with 478 points
_LOCK, _ANALYSED = "lock", "analysed.json"
REPLAYED = ("frame", "time_s", "shot", "tracklet", "score", "box", "embedding")


class Journal:
    """The folder of one run, locked; a context manager. Leaving it by an error keeps all that is worth keeping.

    Args:
        folder: Made when it does not exist.
        who: What decides the parts besides the source, as JSON: parts of another maker are never gone on from.
        source: Fingerprint of the source.
        keep: Leave the folder when all went well, too: somebody else takes the parts.

    Attributes:
        state: What the last part says, where it is of use; its `analysis` is the state for `Analyzer`.
        analysed: What was found when all frames had been read, and `footer` once the tables were written.
        resumed_frames: Frames that interrupted runs have analysed.
        resumed_faces: Faces that they have found.
    """

    def __init__(self, folder: Path, who: dict[str, Any], source: Fingerprint, *, keep: bool = False) -> None:
        self.folder, self._who, self._source, self._keep = folder, who, source, keep
        self._lock = filelock.FileLock(folder / _LOCK)
        self.state: dict[str, Any] | None = None
        self.analysed: dict[str, Any] | None = None
        self.resumed_frames = self.resumed_faces = 0
        self._before_s = 0.0
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        """Raises: OutputError: Another process has the folder, or it cannot be written."""
        try:
            self._take()
            self._load()
        except BaseException:
            # Ctrl-C may come between making the folder and locking it.
            with suppress(filelock.Timeout, OSError):
                self._lock.acquire(blocking=False)
                self._leave(keep=self.has_parts)
            raise
        return self

    def _take(self) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                raise OutputError(
                    f"{self.folder} is in use: another vidfer makes the same result; wait for it, or choose another "
                    "folder with -o"
                ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keep = (error is not None or self._keep) and self.has_parts
        if keep and error is not None and self.state is not None and not isinstance(error, UsageError):
            error.add_note(self._what_is_kept())
        self._leave(keep=keep)

    def _leave(self, *, keep: bool) -> None:
        if not keep and os.name == "posix":  # while it is locked: who waits for the lock sees that the file is gone
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release(force=True)  # taken twice where taking it was interrupted
        if not keep and os.name != "posix":  # an open file cannot be removed
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def has_parts(self) -> bool:
        """Whether an earlier run, or this one, has left something."""
        return any(self.folder.glob("part-*.parquet"))

    @property
    def footer(self) -> dict[str, Any] | None:
        """That of the tables, once they are written."""
        return self.analysed["footer"] if self.analysed else None

    @property
    def wall_s(self) -> float:
        """Seconds spent so far, those of interrupted runs included."""
        return self._before_s + time.perf_counter() - self._began

    def _load(self) -> None:
        try:
            state = last_state(self.folder)
            if not state or state.get("who") != self._who or not self._source.is_of(state["source"]):
                return
            self.state, self._before_s = state, state["wall_s"]
            self.resumed_frames, self.resumed_faces = state["frames"], state["faces"]
            with suppress(OSError, ValueError):
                analysed = json.loads((self.folder / _ANALYSED).read_text(encoding="utf-8"))
                if analysed["parts"] == len(part_paths(self.folder)):
                    self.analysed, self._before_s = analysed, analysed["wall_s"]
        except InputError as error:
            _log.info("%s", error)

    def discard(self, reason: str) -> None:
        """Remove what an earlier run has left, and say so."""
        if self.has_parts:
            _log.info("%s: parts of an interrupted run are discarded: %s", self.folder, reason)
        self.state = self.analysed = None
        self.resumed_frames = self.resumed_faces = 0
        self._before_s = 0.0
        with writing(self.folder):
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()

    def write(self, parts: PartWriter, table: pa.Table, analysis: dict[str, Any], *, spent_s: float = 0.0) -> None:
        """Write a part.

        Args:
            parts: Of this folder.
            table: Its rows.
            analysis: `Interval.state()` after its last frame.
            spent_s: Seconds that another process has spent on it.
        """
        self._before_s += spent_s
        before = self.state or {"frames": 0, "faces": 0}
        state = {
            "who": self._who,
            "source": self._source.as_dict(),
            "frames": before["frames"] + pc.count_distinct(table["frame"]).as_py(),
            "faces": before["faces"] + pc.count(table["tracklet"]).as_py(),
            "last_frame": table["frame"][-1].as_py(),
            "wall_s": round(self.wall_s, 3),
            "analysis": analysis,
        }
        parts.write_part(table, state)
        self.state = state

    def all_analysed(self, account: dict[str, Any], footer: dict[str, Any] | None = None) -> None:
        """Note that the parts are complete, and with the footer that the tables are written too."""
        self.analysed = {
            "parts": len(part_paths(self.folder)),
            "wall_s": round(self.wall_s, 3),
            "account": account,
            "footer": footer,
        }
        write_text(self.folder / _ANALYSED, json.dumps(self.analysed))

    def check(self) -> None:
        """Look, before the tables take their places, whether somebody has changed what they were made from.

        Raises:
            InputError: The video was written to, and nobody knows what was read of it; or parts were lost.
        """
        try:
            self._source.check()
        except InputError as error:
            self.discard(one_line(error))
            raise
        if self.analysed is None or self.analysed["parts"] != len(part_paths(self.folder)):
            self.analysed = None
            raise InputError(f"parts in {self.folder} were removed or damaged: run again")

    def _what_is_kept(self) -> str:
        assert self.state is not None
        if self.analysed is not None:
            return "(all frames are analysed: the same command goes on from there)"
        return f"(what is analysed is kept: the same command goes on at frame {self.state['last_frame'] + 1})"

    def replay(self, options: TrackerOptions, frame_interval_s: float) -> FaceTracker:
        """A tracker that has seen all the parts.

        Each shot has a tracker of its own, so the frames of the last one will do.

        Raises:
            InputError: The parts do not fit together: it gives other ids.
        """
        shot = -1
        first_id = highest = 0
        for part in read_parts(self.folder):  # all columns: what is damaged shows now, not after hours of analysis
            shots, ids = part["shot"].to_numpy(), part["tracklet"].fill_null(-1).to_numpy()
            if shots[-1] != shot:
                shot = int(shots[-1])
                first_id = max(highest, int(ids[shots != shot].max(initial=-1)) + 1)
            highest = max(highest, int(ids.max(initial=-1)) + 1)
        tracker = FaceTracker(frame_interval_s=frame_interval_s, options=options, first_id=first_id)
        follower = Follower(tracker, frame_interval_s)
        for part in read_parts(self.folder, REPLAYED):
            for time_s, _, detections, embedding, ids in faces_of(
                part.filter(pa.array(part["shot"].to_numpy() == shot))
            ):
                if follower.update(time_s, shot, detections, embedding).tolist() != ids:
                    raise InputError(f"the faces in {self.folder} do not fit together")
        return tracker


class Recorder:
    """Collects intervals and closes a part every few seconds."""

    def __init__(self, journal: Journal, landmarks: int | None) -> None:
        self._journal, self._landmarks = journal, landmarks
        self._parts = PartWriter(journal.folder)
        self._waiting: list[FrameResult] = []
        self._rows = 0
        self._last: Interval | None = None
        self._due = time.monotonic() + _PART_S

    def add(self, interval: Interval) -> None:
        """Take the next interval."""
        self._waiting += interval.results
        self._last = interval
        self._rows += sum(max(1, len(result.faces)) for result in interval.results)
        if self._rows >= _PART_ROWS or time.monotonic() >= self._due:
            self.close_part()

    def close_part(self) -> None:
        """Write what waits."""
        if self._waiting and self._last is not None:
            self._journal.write(self._parts, to_table(self._waiting, self._landmarks), self._last.state())
        self._waiting, self._rows = [], 0
        self._due = time.monotonic() + _PART_S

    def rescue(self) -> None:
        """Write what waits after an interruption, which may have come at any point, even within `add`."""
        if self._last is None:
            return
        folder = self._journal.folder
        on_disk, known = last_state(folder), self._journal.state
        if known is not None and (on_disk is None or on_disk["frames"] < known["frames"]):
            self._journal.state = on_disk  # somebody removed parts: what waits does not follow on what is left
            return
        written = on_disk["last_frame"] if on_disk else -1
        last = self._last.results[-1].index
        self._waiting = [result for result in self._waiting if written < result.index <= last]
        self._journal.state = on_disk
        self._parts = PartWriter(folder)
        self.close_part()


def faces_of(part: pa.Table) -> Iterator[tuple[float | None, int, Detections, F32, list[int]]]:
    """Time, shot, faces, embeddings and tracklets of every frame of a part."""
    if not part.num_rows:
        return
    frame = part["frame"].to_numpy()
    starts = np.flatnonzero(np.r_[True, np.diff(frame) != 0])
    face = part["tracklet"].is_valid().to_numpy(zero_copy_only=False)
    ids = part["tracklet"].fill_null(-1).to_numpy()
    time_s, shot = part["time_s"].to_pylist(), part["shot"].to_pylist()
    box, score = matrix(part["box"], 4), part["score"].fill_null(0).to_numpy()
    embedding = matrix(part["embedding"], part.schema.field("embedding").type.list_size)
    for start, end in zip(starts, [*starts[1:], len(frame)], strict=True):
        rows = np.arange(start, end)[face[start:end]]
        detections = Detections(box_px=box[rows].astype(np.float32), score=score[rows].astype(np.float32))
        yield time_s[start], shot[start], detections, embedding[rows].astype(np.float32), ids[rows].tolist()
