"""`vidfer report`: from the files of a result to one page."""

from __future__ import annotations

import logging
from pathlib import Path

from vidfer.errors import InputError
from vidfer.media.file import VideoFile
from vidfer.output.files import write_text
from vidfer.pipeline.render import check_source
from vidfer.pipeline.summary import summarize_table
from vidfer.report.compose import page
from vidfer.report.faces import shown
from vidfer.report.gather import Gathered, gather
from vidfer.report.results import Results, read_results
from vidfer.report.thumbnails import Pictures, cut_out

_log = logging.getLogger(__name__)


def make_report(table: Path, destination: Path, *, video: Path | None = None, thumbnails: bool = True) -> None:
    """Write the page of a result.

    Args:
        table: The observations, ``NAME.parquet``; its tracks and the report of the run lie beside it.
        destination: The HTML file to write; it appears when it is complete.
        video: The video of the table; by default it is looked for beside it.
        thumbnails: With pictures of the faces; without them no picture of anybody is in the page.

    Raises:
        InputError: The table cannot be read, or the video is not the one that it was made from.
        OutputError: The page cannot be written.
    """
    results = read_results(table)
    gathered = gather(table, results.tracks)
    portraits, film, notes = _pictures(results, gathered, video) if thumbnails else ({}, {}, [])
    has_times = gathered.span is not None and any(face.measured for face in gathered.faces)
    summary = summarize_table(table) if has_times else None
    write_text(destination, page(results, gathered, summary, portraits, film, [*results.notes, *notes]))


def _pictures(results: Results, gathered: Gathered, video: Path | None) -> tuple[Pictures, Pictures, list[str]]:
    source, table = results.about["source"], results.table
    if video is None:
        video = table.parent / source["name"]
        if not video.is_file():
            _log.warning(
                "the video of %s (%s) is not beside it: no pictures of faces; name it with --video",
                table,
                source["name"],
            )
            return {}, {}, [f"The video ({source['name']}) was not at hand: no pictures of faces"]
    try:
        stream = source.get("stream", 0)
        with VideoFile(video, stream=stream) as file:
            check_source(video, table, file.info, source)
        portraits, film = cut_out(video, stream, shown(gathered), gathered.charted)
    except InputError as error:
        error.add_note("(--no-thumbnails makes a report without it)")
        raise
    wanted = {(face.id, face.best.frame) for face in shown(gathered) if face.best is not None}
    lost = len(wanted - portraits.keys())
    return portraits, film, [f"{lost} pictures of faces could not be cut out of the video"] if lost else []
