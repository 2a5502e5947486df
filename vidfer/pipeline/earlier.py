"""Results that lie there already: ours and complete, ours and lacking something, or another's, which are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfer.errors import InputError, UsageError
from vidfer.media.ledger import FrameCounts, damage_warnings
from vidfer.output.parquet import read_footer
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.pipeline.results import Outputs

_OTHER_NETWORKS = "other networks (of another version, --precision or --device)"
_REPORT_LOST = "the report of the run was lost and is made again from the tables, without timings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Both tables of an earlier run of the same video with the same options: their footer, and the report.

    Attributes:
        footer: Of both tables.
        report: As it lies there, or made again from the footer.
        is_whole: Whether nothing is missing any more.
    """

    footer: dict[str, Any]
    report: dict[str, Any]
    is_whole: bool


def find_earlier(
    outputs: Outputs, source: Fingerprint, options: ProcessOptions, hashes: dict[str, str]
) -> Earlier | None:
    """The results of an earlier run; None where the tables are not there or do not belong together.

    Raises:
        UsageError: There is something that was made otherwise, or by somebody else.
    """
    report = outputs.read_report()
    if not outputs.table.exists():
        _refuse_others(outputs, source, report, options)
        return None
    footer = _footer(outputs.table)
    difference = _difference(footer, report, source, options, hashes)
    if difference:
        raise _in_the_way(outputs.table, f"made with {difference}")
    if not outputs.tracks.exists() or _footer(outputs.tracks) != footer:
        _refuse_others(outputs, source, report, options)
        return None
    fits = report is not None and {key: report.get(key) for key in footer} == footer
    if report is None or not fits:
        report = made_again(footer, outputs)
    return Earlier(footer=footer, report=report, is_whole=fits and (outputs.has_own_video() or not options.render))


def refuse_video(outputs: Outputs) -> None:
    """Refuse to take an annotated video for ours, or to replace it, that somebody else made.

    Raises:
        UsageError: There is one, and no report says that it is ours.
    """
    if outputs.video.exists() and not outputs.has_own_video():
        raise _in_the_way(outputs.video, "and no report says that it is of `vidfer process`")


def _footer(path: Path) -> dict[str, Any]:
    try:
        return read_footer(path)
    except InputError as error:
        raise _in_the_way(path, "and is no table of vidfer") from error


def _in_the_way(path: Path, what: str) -> UsageError:
    comma = "" if what.startswith("and") else ","
    return UsageError(f"{path} is there already{comma} {what}: choose --overwrite, or another folder with -o")


def _is_of(found: dict[str, Any], report: dict[str, Any] | None, source: Fingerprint) -> bool:
    """Whether a footer or report is of this video; the time of the file's change stands in the report only."""
    about = found.get("source", {})
    known = {"size": about.get("size"), "sha256": about.get("sha256")}
    if report is not None and report["source"].get("sha256") == known["sha256"]:
        known["modified_utc"] = report.get("source_modified_utc")
    return source.is_of(known)


def _difference(
    footer: dict[str, Any],
    report: dict[str, Any] | None,
    source: Fingerprint,
    options: ProcessOptions,
    hashes: dict[str, str],
) -> str:
    """What decided the existing table otherwise, in words; empty when nothing did."""
    if not _is_of(footer, report, source):
        return "another video"
    return changed_options(footer, options, hashes)


def changed_options(footer: dict[str, Any], options: ProcessOptions, hashes: dict[str, str]) -> str:
    """Which options or networks of an existing table were others, in words; empty when none was."""
    now, then = options.deciding(), footer.get("options", {})
    changed = [
        f"{k}={then.get(k)!r} instead of {now.get(k)!r}" for k in sorted({*now, *then}) if now.get(k) != then.get(k)
    ]
    if changed:
        return ", ".join(changed)
    return "" if footer.get("config_sha256") == config_hash(now, hashes) else _OTHER_NETWORKS


def _refuse_others(
    outputs: Outputs, source: Fingerprint, report: dict[str, Any] | None, options: ProcessOptions
) -> None:
    """Nothing may be replaced that is not of this video: `v.tracks.parquet` may be the table of `v.tracks.mp4`."""
    if outputs.tracks.exists() and not _is_of(_footer(outputs.tracks), report, source):
        raise _in_the_way(outputs.tracks, "made with another video")
    if report is not None and not _is_of(report, report, source):
        raise _in_the_way(outputs.report, "made with another video")
    if options.render:
        refuse_video(outputs)


def made_again(footer: dict[str, Any], outputs: Outputs) -> dict[str, Any]:
    """A report in place of one that was lost."""
    made = [path.name for path in (outputs.table, outputs.tracks) if path.exists()]
    if outputs.has_own_video():
        made.append(outputs.video.name)
    counts = FrameCounts(**{key: footer["counts"][key] for key in FrameCounts.__dataclass_fields__})
    warnings = [*damage_warnings(counts), _REPORT_LOST]
    return {**footer, "state": "done", "warnings": warnings, "outputs": made}
