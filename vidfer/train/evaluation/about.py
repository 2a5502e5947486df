"""What an evaluation was made of, and what to keep in mind with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.output.words import thousands
from vidfer.train.evaluation.evaluate import Evaluation, groups
from vidfer.train.evaluation.naming import shares, task_name
from vidfer.train.evaluation.network import About

_FEW_GROUPS, _FEW_ROWS = 30, 20
Facts = list[tuple[str, str]]


def warnings(evaluation: Evaluation, split: str) -> list[str]:
    """What the figures do not say by themselves, one line each."""
    found = []
    if split == "train":
        found.append("These rows are of split train: networks that learned from them know the answers")
    if evaluation.unreadable:
        many = f"{thousands(evaluation.unreadable)} pictures could not be decoded and were left out"
        found.append("A picture could not be decoded and was left out" if evaluation.unreadable == 1 else many)
    number = len(np.unique(groups(evaluation.rows)))
    if number == 1:
        found.append("All rows are of one group (person, clip): there are no intervals")
    elif number < _FEW_GROUPS:
        found.append(f"There are {number} groups only: intervals of so few are too narrow")
    judged = next((results["emotion"].judged for results in evaluation.results if "emotion" in results), None)
    if judged is not None:
        facts = judged.facts
        if facts["left_out"]:
            whose = "the network does not know" if len(evaluation.results) == 1 else "not all networks know"
            found.append(f"Rows of classes that {whose} were left out: {shares(facts['left_out'])}")
        if facts["never_there"]:
            names = ", ".join(facts["never_there"])
            found.append(f"No row is labelled {names}: the networks had to choose among the other classes")
        small = {name: n for name in facts["classes"] if (n := judged.scores[f"recall_{name}"].n) < _FEW_ROWS}
        if small:
            found.append(f"Classes with few rows, whose figures say little: {shares(small)}")
    for task in evaluation.tasks:
        of_task = [results[task].judged.facts for results in evaluation.results if task in results]
        lost = max(facts.get("without_eyes", 0) for facts in of_task)
        if lost:
            found.append(f"{task_name(task)}: {lost} rows without the points of both eyes were left out")
    return found


def data_facts(evaluation: Evaluation, split: str, tables: Sequence[Path]) -> Facts:
    """The rows that were judged."""
    rows = evaluation.rows
    names, counts = np.unique(rows.set_name, return_counts=True)
    sets = {str(name): int(n) for name, n in zip(names, counts, strict=True)}
    found = [
        ("Tables", ", ".join(table.name for table in tables)),
        ("Split", split),
        ("Faces", thousands(len(rows))),
        ("Groups", f"{thousands(len(np.unique(groups(rows))))} persons, clips or pictures"),
        ("Sets", ", ".join(f"{name} {thousands(n)}" for name, n in sets.items())),
    ]
    for task in evaluation.tasks:
        judged = next(results[task].judged for results in evaluation.results if task in results)
        found.append((task_name(task), f"{thousands(len(judged.rows))} faces with such a label"))
    sides = np.sqrt(rows.size_px.astype(np.float64).prod(1))
    low, middle, high = (f"{value:.0f}" for value in np.percentile(sides, [5, 50, 95]))
    found.append(("Pictures", f"{middle} px in the median (nine of ten: {low} to {high} px)"))
    return found


def network_facts(about: About) -> dict[str, Any]:
    """What is known of a network."""
    details = about.details
    what = {"onnx": "ONNX file", "run": "run, weights with the best score"}[about.kind]
    seen = {"box": f"square around the face, {about.margin:g} times its box", "none": "the whole picture, made square"}
    found = [
        ("Name", f"{about.name} {details.get('version', '')}".strip()),
        ("Kind", what),
        ("Tells", ", ".join(about.heads)),
        ("Classes", ", ".join(about.emotions)),
        ("Input", f"{about.input_px}x{about.input_px} px, {seen[about.crop]}"),
        ("Parameters", thousands(details["parameters"]) if "parameters" in details else ""),
        ("Cost", f"{details['gflop']} GFLOP a face" if "gflop" in details else ""),
        ("Epoch", _epoch(details)),
        ("Network", details.get("recipe", {}).get("network", {}).get("name", "")),
        ("Trained on", _trained_on(details)),
        ("Made by", str(details.get("command", ""))),
        ("Commit", str(details.get("trained_git_sha", details.get("git_sha", "")))),
        ("Licence", str(details.get("licence", ""))),
        ("SHA-256", about.sha256),
    ]
    return {"label": about.label, "lines": [(name, text) for name, text in found if text]}


def _epoch(details: Mapping[str, Any]) -> str:
    """Of runs and the packaged networks; cards of others may hold anything."""
    epoch, config = details.get("epoch"), details.get("config")
    return f"{epoch} of {config['epochs']}" if epoch and isinstance(config, dict) and "epochs" in config else ""


def _trained_on(details: Mapping[str, Any]) -> str:
    """As a card says it; of recipes, how many rows."""
    told = details.get("trained_on", details.get("settings", {}).get("data", ""))
    return f"{thousands(told['rows'])} rows" if isinstance(told, dict) and "rows" in told else str(told)
