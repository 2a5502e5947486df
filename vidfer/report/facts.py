"""What the footer of a table says, in words: the video, where its frames went, the networks, the command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vidfer.errors import ModelError, UsageError
from vidfer.output.words import clock
from vidfer.pipeline.options import ProcessOptions
from vidfer.vision.session import MODELS, load_card

Facts = list[tuple[str, str]]

# Figures of the cards that tell most, with their names for people.
_FIGURES = {
    "ap50_20px": "faces from 20 px found, AP50",
    "ferplus_accuracy": "emotion, FER+ majority label, 8 classes, accuracy",
    "affectnet_accuracy": "emotion, AffectNet, 8 classes, accuracy",
    "affectnet_ccc_valence": "valence, AffectNet, concordance",
    "affectnet_ccc_arousal": "arousal, AffectNet, concordance",
    "mesh_error": "478 points, mean distance / distance of the outer eye corners",
}
_ASKED = {"start": "from {}", "end": "to {}", "fps": "{} a second", "stride": "one of {}"}
_ROLES = {"face_detector": "finds faces", "face_analyzer": "emotion, valence, arousal, points, head pose"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the run.

    Attributes:
        about: Its entry in the footer: name, version, sha256, licence, provider.
        role: What it does.
        trained_on: From its card; None where this vidfer does not have that network.
        figures: What was measured, with 95 % intervals; empty in that case.
        command: That made it; None in that case.
    """

    about: dict[str, str]
    role: str
    trained_on: str | None = None
    figures: Facts
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the frame accounting: a number, what it is, and whether it is a sum of those below or a part."""

    name: str
    count: int
    meaning: str
    part: bool


def video_facts(about: dict[str, Any]) -> Facts:
    """What the file is."""
    source = about["source"]
    size = f"{source['width']} × {source['height']} px"
    if source.get("rotation"):
        size += f", turned by {source['rotation']}°"
    if (ratio := source.get("sample_aspect_ratio", "1/1")) != "1/1":
        size += f", pixels {ratio.replace('/', ':')}"
    duration = source.get("duration_s")
    return [
        ("File", source["name"]),
        ("Picture", size),
        ("Frame rate", _rate(source)),
        ("Duration", "not declared" if duration is None else f"{clock(duration, 2)} ({duration:.2f} s)"),
        ("Codec, container", f"{source['codec']}, {source['container']}"),
        ("Sound", "yes, not analysed" if source.get("has_audio") else "none"),
        ("Size", "unknown" if source.get("size") is None else f"{source['size']:,} bytes".replace(",", "\u202f")),
        ("SHA-256", source.get("sha256") or "unknown"),
    ]


def _rate(source: dict[str, Any]) -> str:
    declared = source.get("average_frame_rate")
    kind = "variable" if source.get("variable_frame_rate") else "constant"
    return kind if declared is None else f"{float(Fraction(declared)):.5g} a second, {kind}"


def frame_accounting(counts: dict[str, int]) -> list[Entry]:
    """Where the packets of the stream and its frames went: both sums are whole."""
    return [
        Entry(name="packets", count=counts["packets"], meaning="in the video stream", part=False),
        Entry(name="undecodable", count=counts["undecodable"], meaning="packets that gave no frame", part=True),
        Entry(name="discarded", count=counts["discarded"], meaning="packets that are not to be shown", part=True),
        Entry(name="decoded", count=counts["decoded"], meaning="frames", part=False),
        Entry(name="not sampled", count=counts["not_sampled"], meaning="left out as asked for", part=True),
        Entry(name="dropped", count=counts["dropped"], meaning="lost for lack of time", part=True),
        Entry(name="analysed", count=counts["analysed"], meaning="frames in the table", part=False),
        Entry(name="corrupt", count=counts["corrupt"], meaning="decoded with damage, some of the frames", part=True),
    ]


def install(about: dict[str, Any]) -> str:
    """The command that installs the vidfer that made the table."""
    return shlex.join(["pip", "install", f"vidfer=={about['vidfer_version']}"])


def command(about: dict[str, Any]) -> str:
    """The command that makes the same table again from the same file."""
    words = ["vidfer", "process", _file(about["source"]["name"])]
    for name, usual in ProcessOptions().deciding().items():
        value = about.get("options", {}).get(name, usual)
        if value != usual:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else ["none" if value is None else f"{value}"]
    models = about["models"]
    if any(model["provider"] == "cuda" for model in models):
        words += ["--device", "cuda"]
    elif models:
        words += ["--device", "cpu", "--precision", "int8" if "int8" in models[0]["version"] else "float32"]
    return shlex.join(words)


def _file(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name  # not an option


def settings(about: dict[str, Any]) -> Facts:
    """How it was done."""
    smoothing, sampling = about["smoothing"], about["sampling"]
    asked = [_ASKED[name].format(value) for name, value in sampling.items() if value is not None]
    found = [
        ("vidfer", about["vidfer_version"]),
        ("Made", about["created_utc"]),
        ("Decoder", about.get("decoder", "unknown")),
        ("Frames", ", ".join(asked) or "all"),
        ("Smoothing", f"{smoothing['preset']}, time constant {smoothing['time_constant_s']:g} s"),
        ("Landmarks", about.get("landmark_topology") or "none"),
        ("Table", f"schema version {about['schema_version']}"),
        ("Configuration", about["config_sha256"]),
    ]
    if timings := about.get("timings"):
        found.insert(2, ("Took", f"{timings['wall_s']:.1f} s ({timings['frames_per_second']:.0f} frames/s)"))
    return found


def networks(about: dict[str, Any]) -> list[Network]:
    """The networks of the run, with their cards where these very files are installed."""
    return [_network(entry) for entry in about["models"]]


def _network(entry: dict[str, str]) -> Network:
    role = _ROLES.get(entry["name"], "")
    card = None
    if entry["name"] in MODELS:
        try:
            card = load_card(entry["name"], "int8" if "int8" in entry["version"] else "float32")
        except (ModelError, UsageError):  # no ONNX Runtime here, or no such twin: the footer has the rest
            card = None
    if card is None or card.sha256 != entry["sha256"]:
        return Network(about=entry, role=role, figures=[])
    return Network(
        about=entry,
        role=role,
        trained_on=card.details.get("trained_on"),
        figures=_figures(card.details.get("metrics", {})),
        command=card.details.get("command"),
    )


def _figures(metrics: dict[str, Any]) -> Facts:
    found = []
    for name, meaning in _FIGURES.items():
        value = metrics.get(name)
        if isinstance(value, dict):
            found.append((meaning, f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"))
        elif value is not None and f"{name}_interval" in metrics:
            low, high = metrics[f"{name}_interval"]
            found.append((meaning, f"{value:.3f} [{low:.3f}, {high:.3f}]"))
    return found
