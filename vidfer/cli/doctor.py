"""``vidfer doctor``: is everything here that vidfer needs, and what exactly."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Annotated, Any

import typer

from vidfer import __version__
from vidfer.errors import VidferError

# Not onnxruntime: it comes under two names, of which one must be there.
_PACKAGES = ("av", "norfair", "numpy", "opencv-python-headless", "pandas", "pyarrow", "typer")
_OPTIONAL = ("onnxruntime", "onnxruntime-gpu", "decord2", "torch")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


def doctor(as_json: Json = False) -> None:
    """Check this installation.

    Lists versions, codecs, what the networks run on, and the networks with their cards. Exit code 1 when something that
    vidfer needs is missing.
    """
    findings = examine()
    if as_json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(describe(findings)))
    raise typer.Exit(1 if findings["problems"] else 0)


def examine() -> dict[str, Any]:
    """Everything doctor knows, as JSON; `problems` stop vidfer from working, `warnings` will some day."""
    problems: list[str] = []
    packages = {name: _version(name) for name in _PACKAGES}
    problems += [f"the package {name} is missing: install vidfer again" for name, v in packages.items() if v is None]
    return {
        "vidfer": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages | {name: v for name in _OPTIONAL if (v := _version(name))},
        "video": _video(problems),
        "inference": _inference(problems),
        "models": _models(problems),
        "warnings": _twins(),
        "problems": problems,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _video(problems: list[str]) -> dict[str, Any]:
    try:
        from vidfer.media import codecs
    except ImportError as error:
        problems.append(f"PyAV cannot be loaded: {error}")
        return {}
    found = {"ffmpeg": codecs.ffmpeg_version(), "decoders": codecs.decoders(), "encoders": codecs.encoders()}
    problems += [f"this PyAV cannot read {codec}" for codec, there in codecs.decoders().items() if not there]
    problems += [f"this PyAV cannot write {codec}" for codec, there in codecs.encoders().items() if not there]
    return found


def _inference(problems: list[str]) -> dict[str, Any]:
    from vidfer.vision import session

    try:
        used = session.load(session.MODELS[0])
        return {
            "available": session.available_providers(),
            "used": used.provider,
            "precision": used.card.precision,
            "vnni": session.has_vnni(),
        }
    except VidferError as error:
        problems.append(str(error))
        return {}


def _models(problems: list[str]) -> list[dict[str, Any]]:
    from vidfer.vision import session

    cards = []
    for name in session.MODELS:
        for precision in ("float32", "int8") if session.has_twin(name) else ("float32",):
            try:
                card = session.load_card(name, precision)
            except VidferError as error:
                if str(error) not in problems:
                    problems.append(str(error))
                continue
            path = session.model_path(name, precision)
            cards.append({**card.details, "precision": precision, "sha256": card.sha256, "path": str(path)})
    return cards


def _twins() -> list[str]:
    """Packages that overwrite each other's files."""
    warnings = []
    by_module = metadata.packages_distributions()
    for module, keep in (("cv2", "opencv-python-headless"), ("onnxruntime", "one of them")):
        owners = sorted(set(by_module.get(module, ())))
        if len(owners) > 1:
            warnings.append(
                f"{' and '.join(owners)} overwrite each other's files: uninstall all of them, then install {keep} again"
            )
    return warnings


def describe(findings: dict[str, Any]) -> list[str]:
    """`examine()` as lines for a person."""
    video, inference = findings["video"], findings["inference"]
    lines = [
        f"vidfer {findings['vidfer']} · Python {findings['python']} · {findings['platform']}",
        "packages   " + ", ".join(f"{name} {version or 'missing'}" for name, version in findings["packages"].items()),
    ]
    if video:
        reads, writes = _names(video["decoders"]), _names(video["encoders"])
        lines.append(f"video      FFmpeg {video['ffmpeg']}; reads {reads}; writes {writes}")
    if inference:
        runs = f"runs on {inference['used']} in {inference['precision']}"
        lines.append(
            f"inference  {', '.join(inference['available'])}; {runs}" + ("" if inference["vnni"] else "; no VNNI")
        )
    for card in findings["models"]:
        lines.append(f"network    {card['name']} {card['version']} · {card['licence']} · sha256 {card['sha256'][:12]}")
        if "default" in card:
            use = "the default" if card["default"] else "only with --precision int8"
            lines.append(
                f"             twin for CPUs, {use}; loses at most {max(card['lost'].values()):g} of any figure"
            )
        lines += [f"             {name} {figure}" for name, figure in _figures(card.get("metrics", {}))]
    lines += [f"warning    {text}" for text in findings["warnings"]]
    lines += [f"PROBLEM    {text}" for text in findings["problems"]]
    lines.append("Something needed is missing." if findings["problems"] else "All is well.")
    return lines


def _names(codecs: dict[str, bool]) -> str:
    return ", ".join(name for name, there in codecs.items() if there) or "nothing"


def _figures(metrics: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Figures of a card in words, with their 95 % interval, which stands inside or beside them."""
    for name, value in metrics.items():
        if name.endswith("_interval"):
            continue
        inside = isinstance(value, dict)
        interval = (value["low"], value["high"]) if inside else metrics.get(f"{name}_interval")
        number = value["value"] if inside else value
        yield name, f"{number:g}" + (f" ({interval[0]:g} to {interval[1]:g})" if interval else "")
