"""What the page says in words: its figures at the top, its warnings, and the notes below its charts."""

from __future__ import annotations

from typing import Any

from vidfer.output.words import clock, percent, thousands
from vidfer.report.gather import MOST_CHARTS, Gathered
from vidfer.report.quality import FLAGS, WARN_SHARE
from vidfer.report.statistics import MOST_PAIRS
from vidfer.stats.summary import SourceSummary

_LISTED = 12  # faces that are named in one warning


def warnings(about: dict[str, Any], gathered: Gathered) -> list[str]:
    """Those of the run, and what makes faces hard to judge."""
    return [*about.get("warnings", []), *_dropped(about), *_poor(gathered)]


def lede(about: dict[str, Any], gathered: Gathered) -> str:
    """Below the name of the file: faces, picture, which vidfer and when; the state of the run unless it is done."""
    source, state = about["source"], about.get("state", "done")
    made = f"analysed with vidfer {about['vidfer_version']} on {about['created_utc'][:10]}"
    parts = [_faces_of(gathered), f"{source['width']} × {source['height']} px", made]
    return " · ".join(parts if state == "done" else [*parts, f"state: {state}"])


def _faces_of(gathered: Gathered) -> str:
    count = len(gathered.faces)
    if not count:
        return "No face"
    most = gathered.most_faces
    return f"{count} face{'s' * (count > 1)}, at most {most} at a time"


def key_figures(gathered: Gathered) -> list[tuple[str, str]]:
    """The figures at the top, each with what it is."""
    length = None if gathered.span is None else gathered.span[1] - gathered.span[0]
    share = gathered.with_face / gathered.frames if gathered.frames else 0.0
    return [
        ("–" if length is None else clock(length), "analysed"),
        (thousands(gathered.frames), "frames"),
        (thousands(len(gathered.faces)), "faces (tracks)"),
        (percent(share), "of the frames have a face"),
    ]


def _dropped(about: dict[str, Any]) -> list[str]:
    counts = about["counts"]
    return [f"{counts['dropped']} frames were dropped: they are not in the table"] if counts["dropped"] else []


def _poor(gathered: Gathered) -> list[str]:
    """One line for each kind of trouble, with the faces that have it."""
    texts = []
    for flag, meaning in FLAGS.items():
        shares = [(face.id, face.flag_frames[flag] / face.measured) for face in gathered.faces if face.measured]
        bad = [f"{number} ({percent(share)} of its frames)" for number, share in shares if share >= WARN_SHARE]
        if bad:
            rest = f" and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
            texts.append(f"{flag.capitalize()}: face {', '.join(bad[:_LISTED])}{rest}; {meaning}")
    return texts


def about_faces(with_pictures: bool) -> str:
    """What the strip of faces shows."""
    what = "Each face in the frame in which it can be judged best, " if with_pictures else "Each face "
    return (
        f"{what}with its time on screen and the emotion of the largest mean probability. A number is one track: "
        "somebody who leaves and comes back may get a new one. Choose a face to follow it through the page."
    )


def about_lanes(gathered: Gathered) -> str:
    """What the lanes show."""
    text = "Time on screen of every face."
    if len(gathered.faces) > len(gathered.charted):
        text = (
            f"Time on screen of the {len(gathered.charted)} faces that are there longest, and of all others together."
        )
    return text


def about_pairs(summary: SourceSummary) -> str:
    """How far two faces move together, and how to read it."""
    text = (
        "Mean of the peaks of the correlation of smoothed signals in windows, and the median of their lags: above 0 "
        "the first face leads. By chance: the same with one of the two moved along in time, and the share of such "
        "trials that reach as much, the real one among them."
    )
    if len(summary.synchrony) > MOST_PAIRS:
        text += f" These are {MOST_PAIRS} of {len(summary.synchrony)}; vidfer summary prints all."
    return text


def about_charts(about: dict[str, Any], gathered: Gathered) -> str:
    """What is drawn of every face, and what is left out."""
    text = (
        f"Smoothed values ({about['smoothing']['preset']}); valence and arousal before smoothing as a thin line behind "
        "them. The plane shows how often each pair of raw values occurs, stronger colour for more often (logarithmic), "
        "and a cross at their mean with one standard deviation to each side."
    )
    bins = [face.series.bin_s for face in gathered.charted if face.series is not None and face.series.bin_s]
    if bins:
        text += (
            f" Of long tracks fewer points are drawn than there are frames: each stands for up to {max(bins):.2g} s, "
            "with the mean of the smoothed values and the least and largest raw ones. The table has every frame."
        )
    if len(gathered.faces) > MOST_CHARTS:
        text += f" Charts are drawn for the {MOST_CHARTS} faces that are on screen longest."
    return text


def about_frames(about: dict[str, Any], gathered: Gathered) -> str:
    """How the accounting of frames adds up."""
    text = (
        "Packets = decoded + undecodable + discarded; decoded = analysed + not sampled + dropped. Times are those of "
        "the file’s own stamps."
    )
    declared, decoded = about["source"].get("frames_declared"), about["counts"]["decoded"]
    if declared and declared != decoded and not about["counts"]["not_sampled"]:
        text += f" The file declares {declared} frames."
    if gathered.untimed:
        text += f" {gathered.untimed} frames have no time and are in no chart."
    return text
