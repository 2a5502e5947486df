"""An evaluation in plain types, as `vidfer train evaluate` prints it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidfer.train.evaluation.evaluate import Evaluation, Result, groups
from vidfer.train.evaluation.network import About
from vidfer.train.evaluation.scores import ROUNDS
from vidfer.train.metrics import Figure

INTERVALS = f"95 % percentile bootstrap, {ROUNDS} resamples of groups (persons, clips, pictures)"
_DIGITS = 4


def as_dict(evaluation: Evaluation, split: str) -> dict[str, Any]:
    """Everything that was found; a number that is not defined is null."""
    rows, networks = evaluation.rows, evaluation.networks
    sets, counts = np.unique(rows.set_name, return_counts=True)
    found: dict[str, Any] = {
        "data": {
            "split": split,
            "rows": len(rows),
            "unreadable": evaluation.unreadable,
            "groups": len(np.unique(groups(rows))),
            "sets": {str(name): int(count) for name, count in zip(sets, counts, strict=True)},
        },
        "intervals": INTERVALS,
        "networks": [
            {**_network(about), "tasks": {task: _result(result) for task, result in results.items()}}
            for about, results in zip(networks, evaluation.results, strict=True)
        ],
    }
    if evaluation.differences:
        found["differences"] = [
            {
                "network": about.label,
                "minus": networks[0].label,
                "tasks": {task: plain_figures(of_task) for task, of_task in tasks.items()},
            }
            for about, tasks in zip(networks[1:], evaluation.differences, strict=True)
        ]
    return found


def _network(about: About) -> dict[str, Any]:
    return {
        "label": about.label,
        "name": about.name,
        "kind": about.kind,
        "sha256": about.sha256,
        "input_px": about.input_px,
        "crop": about.crop,
        "margin": about.margin,
        "heads": list(about.heads),
        "classes": list(about.emotions),
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "figures": plain_figures(result.figures),
        **result.judged.facts,
        "sets": {
            name: {"rows": len(judged.rows), "figures": plain_figures(figures)}
            for name, (judged, figures) in result.sets.items()
        },
    }


def plain_figures(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures by name."""
    return {name: plain_figure(figure) for name, figure in figures.items()}


def plain_figure(figure: Figure) -> dict[str, Any]:
    """A figure to four digits; null for what is not defined."""
    ends = {"value": figure.value, "low": figure.low, "high": figure.high}
    return {name: _rounded(value) for name, value in ends.items()} | {"n": figure.n}


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
