"""`process` for photos: many pictures that have nothing to do with each other, one table."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import cv2

from vidfer.errors import InputError, OutputError, UsageError, one_line
from vidfer.media.photos import ANNOTATED_FOLDER, PhotoSet, read_photo
from vidfer.output.files import write_text, writing, written_whole
from vidfer.output.overlay import draw
from vidfer.output.parquet import TableWriter, open_table, read_footer
from vidfer.pipeline.earlier import changed_options
from vidfer.pipeline.looks import Looker
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.photo_report import PhotosSeen, newest, photo_footer, photo_report
from vidfer.pipeline.photo_rows import drawn_faces, photo_rows, photo_tracks
from vidfer.pipeline.results import OnProgress, Outputs, ProcessResult, Progress, make_folder
from vidfer.pipeline.still import still_analysis
from vidfer.schema import observation_schema, tracks_schema
from vidfer.types import U8, Faces

_OF_VIDEOS = ("start", "end", "fps", "stride", "identity", "embeddings")
_QUALITY = 92


def process_photos(
    photos: PhotoSet,
    options: ProcessOptions,
    *,
    name: str | None = None,
    models: Models | None = None,
    progress: OnProgress | None = None,
) -> ProcessResult:
    """Analyse photos, each by itself: no times, no tracks over several of them, no smoothing.

    Photos that cannot be read are counted and named in the report; they stop no other. There is nothing to resume: an
    interrupted run leaves no table behind and begins anew.

    Args:
        photos: What goes into the table.
        options: What to do; those about time are refused.
        name: Name of the results without suffix; that of the folder, or of the one photo, by default.
        models: Loaded networks; loaded here by default.
        progress: Called after every photo.

    Raises:
        InputError: None of them can be read.
        UsageError: An option is of videos; other results are there already.
        OutputError: The results cannot be written.
    """
    usual = ProcessOptions()
    given = [option for option in _OF_VIDEOS if getattr(options, option) != getattr(usual, option)]
    if given:
        raise UsageError(f"{photos.path}: --{given[0]} is for videos: leave it out for photos")
    options = replace(options, smooth="off", detect_every=None)
    outputs = Outputs.of(options.output_dir, name or name_of(photos))
    models = models or Models(options.device, options.precision)
    make_folder(outputs)
    run = _PhotoRun(photos, options, outputs, models, progress)
    return run.earlier() or run.do()


def name_of(photos: PhotoSet) -> str:
    """What the results of photos are called."""
    return (photos.path.resolve().name or "photos") if photos.path.is_dir() else photos.path.stem


class _PhotoRun:
    """One set of photos on its way to its results."""

    def __init__(
        self,
        photos: PhotoSet,
        options: ProcessOptions,
        outputs: Outputs,
        models: Models,
        progress: OnProgress | None,
    ) -> None:
        self._photos, self._options, self._outputs, self._models = photos, options, outputs, models
        self._progress = progress
        self._folder = outputs.table.with_name(f"{outputs.table.stem}{ANNOTATED_FOLDER}")
        self._drawn = self._folder.with_name(f".{self._folder.name}")  # hidden until all are there

    def earlier(self) -> ProcessResult | None:
        """What an earlier run of the same photos with the same options left; None where there is something to do.

        Raises:
            UsageError: Something else is there.
        """
        if self._options.overwrite:
            return None
        there = [self._outputs.table, self._outputs.tracks, self._outputs.report]
        taken = [path for path in [*there, *([self._folder] if self._options.render else [])] if path.exists()]
        if not taken:
            return None
        report = self._outputs.read_report() if all(path.exists() for path in there) else None
        difference = "other photos or options" if report is None else self._difference(report)
        if report is None or difference:
            raise UsageError(
                f"{taken[0]} is there already, made with {difference}: choose --overwrite, or another folder with -o"
            )
        is_drawn = self._folder.name in report["outputs"] and self._folder.exists()
        return None if self._options.render and not is_drawn else self._result(report, "already done")

    def _difference(self, report: dict[str, Any]) -> str:
        """What decided the existing table otherwise, in words; empty when nothing did."""
        if report != {**report, **read_footer(self._outputs.table)}:
            return "other photos or options"
        with open_table(self._outputs.table) as file:
            sources = set(file.read(columns=["source"])["source"].unique().to_pylist())
        if sources | {one["source"] for one in report.get("unreadable", [])} != set(self._photos.names()):
            return "other photos"
        if report.get("source_modified_utc") != newest(self._photos):
            return "photos that changed since"
        return changed_options(report, self._options, self._models.hashes)

    def do(self) -> ProcessResult:
        """Look at all photos and write the results."""
        seen = PhotosSeen()
        schema = observation_schema(self._options.landmarks)  # type: ignore[arg-type]
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self._drawn, ignore_errors=True)
            shutil.rmtree(self._drawn, ignore_errors=True)  # of a run that was killed
            self._refuse_copies()
            tracks = stack.enter_context(TableWriter(self._outputs.tracks, tracks_schema()))
            table = stack.enter_context(TableWriter(self._outputs.table, schema))
            self._look(seen, table, tracks)
            if not seen.sizes:
                first, count = seen.unreadable[0], len(seen.unreadable)
                which = f"{count} photos in it can be read; {first['source']}" if count > 1 else "it can be read"
                raise InputError(f"{self._photos.path}: none of {which}: {first['reason']}")
            about = photo_footer(self._photos, seen, self._options, self._models)
            for writer in (table, tracks):
                writer.set_metadata(about)
            if self._options.render:
                self._replace_copies()
        written = [self._outputs.table, self._outputs.tracks, *([self._folder] if self._options.render else [])]
        report = photo_report(about, self._photos, seen, written)
        write_text(self._outputs.report, json.dumps(report, indent=1) + "\n")
        return self._result(report, "done")

    def _look(self, seen: PhotosSeen, table: TableWriter, tracks: TableWriter) -> None:
        analyse = still_analysis(Looker(self._models.detector, self._models.network))
        for number, (path, name) in enumerate(zip(self._photos.photos, self._photos.names(), strict=True), start=1):
            try:
                photo = read_photo(path)
            except InputError as error:
                seen.unreadable.append({"source": name, "reason": one_line(error)})
            else:
                faces = analyse(photo.image)
                rows = photo_rows(name, faces, self._options.landmarks)
                table.write(rows)
                tracks.write(photo_tracks(rows))
                seen.add(name, photo, faces)
                if self._options.render:
                    self._draw(name, photo.image, faces)
            self._tell(number, seen)

    def _draw(self, name: str, image: U8, faces: Faces) -> None:
        path = self._drawn / (name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg")
        drawn = draw(image, drawn_faces(faces, self._options.landmarks))
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise OutputError(f"{path}: a picture of this size cannot be a JPEG; leave the copies out with --no-render")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write(jpeg.tobytes())

    def _refuse_copies(self) -> None:
        """Refuse to replace a folder that no report says to be ours: somebody's pictures may be in it."""
        ours = (self._outputs.read_report() or {}).get("outputs", [])
        if self._options.render and self._folder.exists() and self._folder.name not in ours:
            raise UsageError(
                f"{self._folder} is there already, and no report says that it is of `vidfer process`: move it "
                "elsewhere, or choose another folder with -o"
            )

    def _replace_copies(self) -> None:
        with writing(self._folder):
            if self._folder.exists():
                shutil.rmtree(self._folder)
            self._drawn.rename(self._folder)

    def _tell(self, number: int, seen: PhotosSeen) -> None:
        if self._progress is None:
            return
        progress = Progress(
            stage="analyse",
            frames_done=number,
            frames_total=len(self._photos.photos),
            time_s=0.0,
            seconds=time.perf_counter() - seen.began,
            faces=seen.faces,
        )
        self._progress(progress)

    def _result(self, report: dict[str, Any], state: str) -> ProcessResult:
        return ProcessResult(
            source=self._photos.path,
            table_path=self._outputs.table,
            tracks_path=self._outputs.tracks,
            report_path=self._outputs.report,
            video_path=self._folder if self._options.render else None,
            report=report,
            state=state,
        )
