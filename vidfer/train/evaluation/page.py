"""One page about an evaluation: figures, curves, matrices, the worst faces, what networks look at, and limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.output.files import write_text
from vidfer.output.page import rendered
from vidfer.output.words import thousands
from vidfer.train.evaluation import charts, examples, naming
from vidfer.train.evaluation.about import data_facts, network_facts, warnings
from vidfer.train.evaluation.evaluate import Evaluation, groups
from vidfer.train.evaluation.network import Network
from vidfer.train.evaluation.plain import INTERVALS

_FOLDER = Path(__file__).parent / "page"
_COLOURS = 4  # that tell networks apart


def write_page(
    path: Path,
    evaluation: Evaluation,
    networks: Sequence[Network],
    *,
    split: str,
    tables: Sequence[Path],
    thumbnails: bool = True,
) -> None:
    """Write the page of an evaluation.

    Args:
        path: The HTML file; it appears when it is complete.
        evaluation: What was found.
        networks: Those that were evaluated.
        split: Of which rows.
        tables: Where they are from.
        thumbnails: With faces; without them no picture of anybody is in the page.

    Raises:
        OutputError: The page cannot be written.
    """
    write_text(path, page(evaluation, networks, split=split, tables=tables, thumbnails=thumbnails))


def page(
    evaluation: Evaluation, networks: Sequence[Network], *, split: str, tables: Sequence[Path], thumbnails: bool
) -> str:
    """The page as HTML."""
    rows, abouts = evaluation.rows, evaluation.networks
    return rendered(
        _FOLDER / "evaluation.html.j2",
        _FOLDER / "evaluation.css",
        title=" and ".join(about.label for about in abouts),
        lede=(
            f"Measured on {thousands(len(rows))} faces of {thousands(len(np.unique(groups(rows))))} groups (persons, "
            f"clips, pictures), split {split} of {', '.join(table.name for table in tables)}"
        ),
        key=_key(evaluation),
        warnings=warnings(evaluation, split),
        networks=[{"label": about.label, "number": _number(k)} for k, about in enumerate(abouts)],
        intervals=INTERVALS,
        split=split,
        tasks=[_task(evaluation, task) for task in evaluation.tasks],
        emotion=_emotion(evaluation),
        affect=_affect(evaluation),
        curves_of_errors=[c for c in (charts.error_curves(evaluation, task) for task in _points(evaluation)) if c],
        sets=_sets(evaluation),
        histories=[
            {"label": about.label, "charts": found}
            for about, network in zip(abouts, networks, strict=True)
            if (found := charts.curves(network.history()))
        ],
        thumbnails=thumbnails,
        worst=_worst(evaluation, networks) if thumbnails else [],
        looks=_looks(evaluation, networks) if thumbnails else [],
        data=data_facts(evaluation, split, tables),
        facts=[network_facts(about) for about in abouts],
        share_text=naming.share_text,
    )


def _number(k: int) -> int:
    return k % _COLOURS + 1


def _points(evaluation: Evaluation) -> list[str]:
    return [task for task in evaluation.tasks if task.startswith("points")]


def _key(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The figures that stand for the first network, at most six."""
    found = []
    for task, result in evaluation.results[0].items():
        for name in naming.main_figures(task)[: 2 if task in ("emotion", "valence_arousal") else 1]:
            value = naming.number(name, result.figures[name].value)
            what = f"{naming.task_name(task)}: " if task.startswith("points") else ""
            found.append((value, f"{what}{naming.figure_name(name)}"))
    return found[:6]


def _task(evaluation: Evaluation, task: str) -> dict[str, Any]:
    """Its figures line by line, networks side by side, and how far the others differ from the first."""
    of_networks = [results.get(task) for results in evaluation.results]
    scores = next(result.judged.scores for result in of_networks if result is not None)
    lines = []
    for name in (name for name in scores if not name.startswith(naming.PER_CLASS)):
        cells = ["–" if result is None else naming.with_interval(name, result.figures[name]) for result in of_networks]
        compared = []
        for of_task in (differences.get(task) for differences in evaluation.differences):
            if of_task is None:
                compared.append({"text": "–", "verdict": ""})
            else:
                text = naming.with_interval(name, of_task[name], sign=True)
                compared.append({"text": text, "verdict": naming.verdict(scores[name], of_task[name])})
        line = {"name": naming.figure_name(name), "cells": cells, "differences": compared}
        lines.append(line | {"n": thousands(scores[name].n), "better": "higher" if scores[name].higher else "lower"})
    return {"name": naming.task_name(task), "lines": lines}


def _emotion(evaluation: Evaluation) -> dict[str, Any] | None:
    """Confusion matrices, classes one by one, and calibration."""
    networks = []
    for about, results in zip(evaluation.networks, evaluation.results, strict=True):
        if "emotion" not in results:
            continue
        judged, figures = results["emotion"].judged, results["emotion"].figures
        classes = judged.facts["classes"]
        by_class = [
            {
                "name": name,
                "cells": [naming.with_interval("accuracy", figures[f"{kind}{name}"]) for kind in naming.PER_CLASS[:2]]
                + [naming.with_interval("macro_f1", figures[f"f1_{name}"])],
                "n": thousands(figures[f"recall_{name}"].n),
            }
            for name in classes
        ]
        cells = charts.shades(judged.facts["confusion"])
        lines = [{"name": name, "cells": line} for name, line in zip(classes, cells, strict=True)]
        networks.append({"label": about.label, "classes": classes, "lines": lines, "by_class": by_class})
    return {"networks": networks, "reliability": charts.reliability(evaluation)} if networks else None


def _affect(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Scatter plots and quadrants of every network."""
    found = []
    for k, (said, results) in enumerate(zip(evaluation.said, evaluation.results, strict=True)):
        if "valence_arousal" not in results:
            continue
        judged = results["valence_arousal"].judged
        guess, truth = said.heads["valence_arousal"][judged.rows], evaluation.rows.valence_arousal[judged.rows]
        plots = [
            charts.scatter(guess[:, i].astype(np.float64), truth[:, i].astype(np.float64), name, _number(k))
            for i, name in enumerate(("valence", "arousal"))
        ]
        names = judged.facts["quadrants"]
        cells = charts.shades(judged.facts["quadrant_confusion"])
        lines = [{"name": name, "cells": line} for name, line in zip(names, cells, strict=True)]
        found.append({"label": said.about.label, "charts": plots, "classes": names, "lines": lines})
    return found


def _sets(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For every task with several sets, what stands for it set by set."""
    found = []
    for task in evaluation.tasks:
        names = naming.main_figures(task)
        lines = []
        for about, results in zip(evaluation.networks, evaluation.results, strict=True):
            for of_set, (judged, figures) in (results[task].sets if task in results else {}).items():
                cells = [naming.with_interval(name, figures[name]) for name in names]
                lines.append({"set": of_set, "network": about.label, "n": thousands(len(judged.rows)), "cells": cells})
        if len({line["set"] for line in lines}) > 1:
            lines.sort(key=lambda line: str(line["set"]))
            heads = [naming.figure_name(name) for name in names]
            found.append({"name": naming.task_name(task), "heads": heads, "lines": lines})
    return found


def _worst(evaluation: Evaluation, networks: Sequence[Network]) -> list[dict[str, Any]]:
    found = []
    for task in evaluation.tasks:
        for k, network in enumerate(networks):
            if task in evaluation.results[k]:
                faces = examples.worst(evaluation, k, task, network)
                drawn = {"emotion": "", "valence_arousal": "", "points478": "many"}.get(task, "few")
                one = {"task": naming.task_name(task), "network": network.about.label, "drawn": drawn}
                found.append(one | {"examples": faces, "maps": any(face.map for face in faces)})
    return found


def _looks(evaluation: Evaluation, networks: Sequence[Network]) -> list[dict[str, Any]]:
    """What runs look at; of files only that they do not tell."""
    return [
        {"network": network.about.label, "examples": examples.surest(evaluation, k, network)}
        for k, network in enumerate(networks)
        if "emotion" in evaluation.results[k]
    ]
