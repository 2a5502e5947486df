"""The tables of vidfer/models/README.md from what was measured.

    vidfer train evaluate face_analyzer --data DATA > face.json   (face_detector, --precision int8: the same)
    python benchmarks/networks.py > speed.json
    python benchmarks/model_figures.py face.json detector.json face.int8.json detector.int8.json speed.json
        --write vidfer/models/README.md   (on the same line)

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; those for which nothing is given stay as they are. Without
--write all tables are printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidfer.train.twin import lost
from vidfer.vision.session import MODELS

_SHARE, _PERCENT, _PX = "share", "percent", "px"
_UNITS = {_SHARE: "", _PERCENT: " %", _PX: " px"}
# figure, what it is, how it is written
_FACE_ROWS = (
    ("ferplus_accuracy", "FER+ majority label, 8 classes, accuracy", _SHARE),
    ("ferplus_macro_f1", "FER+, macro-F1", _SHARE),
    ("ferplus_ece", "FER+, calibration error (ECE, 15 bins)", _SHARE),
    ("fer2013_accuracy_7", "FER2013's own 7 labels, accuracy", _SHARE),
    ("fer2013_macro_f1_7", "FER2013, macro-F1", _SHARE),
    ("affectnet_accuracy", "AffectNet, 8 classes, accuracy", _SHARE),
    ("affectnet_macro_f1", "AffectNet, macro-F1", _SHARE),
    ("affectnet_accuracy_7", "AffectNet without contempt, 7 classes, accuracy", _SHARE),
    ("affectnet_ece", "AffectNet, calibration error", _SHARE),
    ("affectnet_ccc_valence", "AffectNet, CCC valence", _SHARE),
    ("affectnet_ccc_arousal", "AffectNet, CCC arousal", _SHARE),
    ("affectnet_mse_valence", "AffectNet, mean squared error of valence", _SHARE),
    ("affectnet_mse_arousal", "AffectNet, mean squared error of arousal", _SHARE),
    ("diffusionfer_accuracy_7", "DiffusionFER, 7 classes, accuracy", _SHARE),
    ("diffusionfer_macro_f1_7", "DiffusionFER, macro-F1", _SHARE),
    ("diffusionfer_ccc_valence", "DiffusionFER, CCC valence", _SHARE),
    ("diffusionfer_ccc_arousal", "DiffusionFER, CCC arousal", _SHARE),
    ("mesh_error", "478 points against the mesh, all rows with one", _PERCENT),
    ("mesh_error_affectnet", "478 points, AffectNet", _PERCENT),
    ("mesh_error_colour", "478 points, colour", _PERCENT),
    ("mesh_error_diffusionfer", "478 points, DiffusionFER", _PERCENT),
    ("mesh_error_ferplus", "478 points, FER+", _PERCENT),
    ("mesh_error_lfpw", "478 points, LFPW", _PERCENT),
    ("mesh_error_ytf", "478 points, YouTube Faces", _PERCENT),
    ("points68_error_lfpw", "68 points, LFPW (by hand)", _PERCENT),
    ("points68_error_ytf", "68 points, YouTube Faces", _PERCENT),
    ("points4_error_lfpw", "4 points, LFPW, mean distance in a picture cut as FER2013's, shares of its side", _SHARE),
    ("points15_rmse_px_lfpw", "15 points, LFPW, RMSE in a picture of 96x96 px", _PX),
    ("identity_pair_auc", "embedding, pair AUC, YouTube Faces by person", _SHARE),
)
_DETECTOR_ROWS = (
    ("ap50_20px", "AP50, faces of 20 px and more", "faces_20px"),
    ("ap50_12px", "AP50, faces of 12 px and more", "faces_12px"),
    ("recall_20px_at_threshold", "recall at the threshold, 20 px", "faces_20px"),
    ("recall_12px_at_threshold", "recall at the threshold, 12 px", "faces_12px"),
    ("precision_20px_at_threshold", "precision at the threshold, 20 px", "pictures"),
    ("precision_12px_at_threshold", "precision at the threshold, 12 px", "pictures"),
    ("negative_pictures_with_false_faces", "pictures without a face in which it sees one", ""),
)
_LABELS = {
    "ferplus_accuracy": ("ferplus_accuracy_of_one_rater", "ferplus_accuracy_of_a_repeat"),
    "fer2013_accuracy_7": ("fer2013_accuracy_7",),
    "fer2013_macro_f1_7": ("fer2013_macro_f1_7",),
}
_NAMES = {name: what for name, what, _ in (*_FACE_ROWS, *_DETECTOR_ROWS)} | {"recall_at_threshold": "recall"}
_KINDS = {name: kind for name, _, kind in _FACE_ROWS}
_SETS = {"ferplus": "FER+", "fer2013": "FER2013", "affectnet": "AffectNet", "diffusionfer": "DiffusionFER"}
Report = Mapping[str, Any]


def written(value: float, kind: str = _SHARE) -> str:
    """A number as the tables have it."""
    return f"{_number(value, kind)}{_UNITS[kind]}"


def cell(figure: Mapping[str, float], kind: str = _SHARE) -> str:
    """A figure with its interval."""
    value, low, high = (_number(figure[part], kind) for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{_UNITS[kind]}"


def _number(value: float, kind: str) -> str:
    return f"{value:.3f}" if kind == _SHARE else f"{100 * value if kind == _PERCENT else value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def faces(report: Report) -> str:
    """The face network beside its teachers and the labels."""
    figures, teachers, labels = report["figures"] | report["further"], report["teachers"], report["labels"]
    first = {name: figure for teacher, of in teachers.items() if teacher != "soft7" for name, figure in of.items()}

    def row(name: str, what: str, kind: str) -> list[str]:
        taught = [written(of[name]["value"], kind) if name in of else "" for of in (first, teachers["soft7"])]
        allowed = " / ".join(written(labels[label]["value"]) for label in _LABELS.get(name, ()))
        return [what, cell(figures[name], kind), *taught, allowed, str(figures[name]["n"])]

    rows = [row(*wanted) for wanted in _FACE_ROWS if wanted[0] in figures]
    return table(["what", "vidfer [95 %]", "teacher", "second teacher", "labels themselves", "rows"], rows)


def interval(figures: Mapping[str, Any], name: str) -> dict[str, float]:
    """A figure of the detector, whose intervals stand beside it."""
    if isinstance(figures[name], Mapping):
        return dict(figures[name])
    low, high = figures[f"{name}_interval"]
    return {"value": figures[name], "low": low, "high": high}


def detector(report: Report) -> str:
    """The detector on whole pictures."""
    figures = report["figures"]
    empty = figures["negative_pictures_with_false_faces"]

    def row(name: str, what: str, counted: str) -> list[str]:
        n = (
            f"{figures[counted]} {counted.split('_')[0]}"
            if counted
            else f"{round(empty['value'] * empty['n'])} of {empty['n']} pictures"
        )
        return [what, cell(interval(figures, name)), n]

    return table(["what", "vidfer [95 %]", "of"], [row(*wanted) for wanted in _DETECTOR_ROWS])


def classes(report: Report) -> str:
    """Share of every class that is found."""
    found = {name: of_set["recall"] for name, of_set in report["classes"].items()}
    labels = report["classes"]["ferplus"]["labels"]
    rows = [
        [label, *(f"{cell(of[label])}, {of[label]['n']}" if label in of else "" for of in found.values())]
        for label in labels
    ]
    return table(["found of", *(_SETS[name] for name in found)], rows)


def groups(report: Report) -> str:
    """One table for every thing that pictures are told apart by."""
    tables = []
    for variable, of_variable in report["groups"].items():
        names = list(dict.fromkeys(name for found in of_variable.values() for name in found))
        rows = [
            [_NAMES[name], *(_with_count(found.get(name), _KINDS.get(name, _SHARE)) for found in of_variable.values())]
            for name in names
        ]
        tables.append(table([variable, *of_variable], rows))
    return "\n\n".join(tables)


def _with_count(figure: Mapping[str, float] | None, kind: str) -> str:
    return f"{cell(figure, kind)}, {figure['n']}" if figure else ""


def twins(pairs: Iterable[tuple[Report, Report]]) -> str:
    """What the int8 twins lose, as their cards judge it."""
    rows = []
    for parent, twin in pairs:
        before, after = parent["figures"], twin["figures"]
        judged = lost(before, after)
        for name in [name for name in _NAMES if name in before]:
            kind = _KINDS.get(name, _SHARE)
            old, new = cell(interval(before, name), kind), cell(interval(after, name), kind)
            rows.append([_NAMES[name], old, new, f"{100 * judged[name]:+.2f}"])
    return table(["what", "float32 [95 %]", "int8 [95 %]", "lost, points"], rows)


def speed(measured: Report) -> str:
    """Milliseconds of processor time, and how many times the reference's."""
    rows = [
        [
            f"{of['network']}, {of['input']}",
            of["precision"],
            *(f"{of[name]:.2f}" for name in ("gflop", "cpu_ms", "ratio")),
        ]
        for of in measured["networks"].values()
    ]
    return table(["network", "precision", "GFLOP", "ms of processor time", "of the reference's time"], rows)


def tables(reports: Sequence[Report], speeds: Report | None) -> dict[str, str]:
    """All tables that can be made of what is given, by name."""
    of = {(report["network"]["name"], report["network"]["precision"]): report for report in reports}
    made: dict[str, str] = {}
    makers: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
        ("figures", "face_analyzer", faces),
        ("detector", "face_detector", detector),
        ("classes", "face_analyzer", classes),
        ("face groups", "face_analyzer", groups),
        ("detector groups", "face_detector", groups),
    )
    for name, network, make in makers:
        if (network, "float32") in of:
            made[name] = make(of[network, "float32"])
    if len(of) == 2 * len(MODELS):
        made["int8"] = twins([(of[name, "float32"], of[name, "int8"]) for name in reversed(MODELS)])
    return made | ({"speed": speed(speeds)} if speeds else {})


def filled(text: str, made: Mapping[str, str]) -> str:
    """A document with its tables replaced."""
    for name, content in made.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise SystemExit(f"no place for the table {name!r}: write {begin.strip()} and {end} on two lines")
        text = f"{before}{begin}{content}\n{end}{after}"
    return text


def content_of(path: Path) -> Report:
    """A measurement."""
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise SystemExit(
            f"{path} is not JSON ({error}): give what `vidfer train evaluate` or networks.py printed"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the tables of the models' README from measurements.")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="JSON", help="of `vidfer train evaluate` and networks.py"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="where to replace the tables; printed by default")
    options = parser.parse_args(arguments)
    read = [content_of(path) for path in options.files]
    speeds = next((content for content in read if "reference" in content), None)
    made = tables([content for content in read if "figures" in content], speeds)
    if options.write:
        options.write.write_text(filled(options.write.read_text(), made))
    else:
        print("\n\n".join(f"<!-- {name} -->\n{content}\n<!-- /{name} -->" for name, content in made.items()))


if __name__ == "__main__":
    main()
