"""What the program says about a run is what ``schemas/run.v1.json`` says, with no key that is not written down."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vidfer import schema
from vidfer.media.file import FrameCounts, SourceInfo
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.report import Account, StageTimes, footer
from vidfer.smooth import PRESETS, Smoothing

_spec = importlib.util.spec_from_file_location("json_schema", Path(__file__).with_name("json_schema.py"))
assert _spec is not None
assert _spec.loader is not None
json_schema = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(json_schema)

INFO = SourceInfo(
    path=Path("v.mp4"),
    name="v.mp4",
    size_bytes=1000,
    container="mov,mp4,m4a,3gp,3g2,mj2",
    codec="h264",
    width=640,
    height=360,
    coded_width=360,
    coded_height=640,
    rotation=90,
    sample_aspect_ratio=Fraction(1),
    time_base=Fraction(1, 12800),
    average_frame_rate=None,
    variable_frame_rate=False,
    duration_s=None,
    frames_declared=0,
    stream=0,
    has_audio=True,
)
MODEL = {"name": "face_detector", "version": "1", "sha256": "0" * 64, "licence": "Apache-2.0", "provider": "CPU"}


def made_up_footer(**options: Any) -> dict[str, Any]:
    chosen = ProcessOptions(**options)
    made = footer(
        account=Account(info=INFO, counts=FrameCounts(packets=10, decoded=10, not_sampled=2), warnings=[]),
        sha256="a" * 64,
        faces=8,
        tracks=1,
        options=chosen,
        models=[MODEL],
        tracker={"lost_after_s": 0.2},
        smoothing=Smoothing.preset(chosen.smooth),
    )
    found: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return found


def undocumented(value: Any, known: dict[str, Any], at: str = "") -> list[str]:
    """Keys that the schema does not have; where it has no properties at all, anything goes."""
    if isinstance(value, list):
        return [name for entry in value for name in undocumented(entry, known.get("items", {}), f"{at}[]")]
    if not isinstance(value, dict) or "properties" not in known:
        return []
    return [
        name
        for key, entry in value.items()
        for name in (
            undocumented(entry, known["properties"][key], f"{at}.{key}")
            if key in known["properties"]
            else [f"{at}.{key}"]
        )
    ]


@pytest.mark.parametrize(
    "options", [{}, *({"smooth": name} for name in PRESETS), {"landmarks": None, "start": "1:30"}, {"landmarks": 478}]
)
def test_footer_is_as_written_down(options: dict[str, Any]) -> None:
    made = made_up_footer(**options)
    wanted = schema.document("run")
    assert list(json_schema.violations(made, wanted)) == []
    assert undocumented(made, wanted) == []


def test_counts_add_up() -> None:
    counts = made_up_footer()["counts"]
    assert counts["packets"] == counts["decoded"] + counts["undecodable"] + counts["discarded"]
    assert counts["decoded"] == counts["analysed"] + counts["not_sampled"] + counts["dropped"]


def test_stage_times_are_as_written_down() -> None:
    times = StageTimes()
    with times.measure("detect"):
        pass
    timings = {"wall_s": 1.0, "frames_per_second": 25.0, "times_real_time": None, "stages": times.as_dict()}
    wanted = schema.document("run")["properties"]["timings"]
    assert list(json_schema.violations(timings, wanted)) == []
    assert undocumented(timings, wanted) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema_version", 2, ".schema_version is 2, not 1"),
        ("config_sha256", "xyz", ".config_sha256 is 'xyz', which does not match"),
        ("source", 3, ".source is 3, not object"),
        ("landmark_topology", "mesh", ".landmark_topology is 'mesh', not one of"),
        ("counts", {"packets": -1}, ".counts.decoded is missing"),
        ("models", [{**MODEL, "name": 1}], ".models[0].name is 1, not string"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(key: str, value: Any, message: str) -> None:
    found = list(json_schema.violations(made_up_footer() | {key: value}, schema.document("run")))
    assert any(line.startswith(message) for line in found), found
