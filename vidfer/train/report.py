"""What `vidfer train evaluate` prints: figures, teachers, what the labels allow, and groups; one object per network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidfer.train.conditions import figures_under_conditions
from vidfer.train.detector_run import figures as detector_figures
from vidfer.train.detector_run import find_faces
from vidfer.train.evaluate import (
    emotion_tasks,
    figures,
    further_emotion_measures,
    further_va_measures,
    measures,
    read_yardstick,
    run_network,
)
from vidfer.train.groups import class_figures, face_groups, figures_by_group, recall_by_group
from vidfer.train.metrics import Figure
from vidfer.train.teachers import label_figures, teacher_figures
from vidfer.vision.session import ModelCard, Session

_GROUPED = (
    "ferplus_accuracy",
    "fer2013_accuracy_7",
    "affectnet_accuracy",
    "affectnet_ccc_valence",
    "affectnet_ccc_arousal",
    "diffusionfer_accuracy_7",
    "mesh_error_ferplus",
    "mesh_error_colour",
    "mesh_error_affectnet",
    "points68_error_lfpw",
    "points68_error_ytf",
)
_CLASSES = ("ferplus", "fer2013", "affectnet", "diffusionfer")


def report_faces(network: Path, data_dir: Path) -> dict[str, Any]:
    """Everything about a face network on the rows of split val, in plain types."""
    yardstick, session = read_yardstick(data_dir), Session(network, device="cpu")
    heads = run_network(session, yardstick)
    tasks = emotion_tasks(yardstick.rows, heads)
    further = [*further_emotion_measures(tasks), *further_va_measures(yardstick.rows, heads["valence_arousal"])]
    grouped = [measure for measure in measures(yardstick, heads) if measure.name in _GROUPED]
    groups = figures_by_group(grouped, face_groups(yardstick))
    groups["the same faces, changed"] = figures_under_conditions(session, yardstick)
    return {
        "network": _network(session.card),
        "figures": _plain(figures(yardstick, heads)),
        "further": _plain({measure.name: measure.figure() for measure in further}),
        "teachers": {name: _plain(found) for name, found in teacher_figures(yardstick, data_dir).items()},
        "labels": _plain(label_figures(yardstick, data_dir)),
        "classes": {name: class_figures(tasks[name]) for name in _CLASSES},
        "groups": _plain_groups(groups),
    }


def report_detector(network: Path, data_dir: Path) -> dict[str, Any]:
    """Everything about a detector on the scenes of split val, in plain types."""
    card, scenes, found, threshold = find_faces(network, data_dir)
    return {
        "network": _network(card) | {"threshold": threshold},
        "figures": detector_figures(scenes, found, threshold),
        "groups": _plain_groups(recall_by_group(scenes, found, threshold)),
    }


def _network(card: ModelCard) -> dict[str, Any]:
    return {"name": card.name, "version": card.version, "precision": card.precision, "sha256": card.sha256}


def _plain(found: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in found.items()}


def _plain_groups(groups: Mapping[str, Mapping[str, Mapping[str, Figure]]]) -> dict[str, Any]:
    return {
        variable: {name: _plain(found) for name, found in of_variable.items() if found}
        for variable, of_variable in groups.items()
    }
