"""The tables are those of the contract, in the files, in arrow and in the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from vidfer import schema
from vidfer.types import EMOTIONS, FACE_STATUS

SCHEMAS = Path(__file__).parents[2] / "schemas"
TABLES: tuple[schema.TableName, ...] = ("observations", "tracks", "training_faces")
TEXT = "dictionary<values=string, indices=int32, ordered=0>"

# Written down a second time on purpose: a column that changes by accident must not change its test with it.
FRAME_COLUMNS = {
    "source": TEXT,
    "frame": "int64",
    "pts": "int64",
    "timestamp": "double",
    "wallclock": "timestamp[us, tz=UTC]",
    "epoch": "int32",
    "shot": "int32",
    "frame_status": TEXT,
    "n_faces": "int16",
}
FACE_COLUMNS = (
    {"face_id": "int32", "identity": "int32", "face_status": TEXT, "confidence": "float"}
    | dict.fromkeys(("face_x", "face_y", "face_w", "face_h", "quality"), "float")
    | {"emotion": TEXT}
    | {f"emotion_{name}": "float" for name in EMOTIONS}
    | {"valence": "float", "arousal": "float", "emotion_smooth": TEXT}
    | {f"emotion_{name}_smooth": "float" for name in EMOTIONS}
    | dict.fromkeys(("valence_smooth", "arousal_smooth", "pitch", "yaw", "roll"), "float")
)
NULLABLE_FRAME_COLUMNS = {"pts", "timestamp", "wallclock"}
TRACK_COLUMNS = (
    {"source": TEXT, "face_id": "int32", "identity": "int32", "first_frame": "int64", "last_frame": "int64"}
    | {"first_timestamp": "double", "last_timestamp": "double", "frames": "int64", "coverage": "float"}
    | dict.fromkeys(("face_w_median", "face_h_median", "confidence_median", "quality_median"), "float")
    | {"emotion": TEXT}
    | {f"emotion_{name}_mean": "float" for name in EMOTIONS}
    | dict.fromkeys(("valence_mean", "valence_sd", "arousal_mean", "arousal_sd"), "float")
    | {"best_frame": "int64"}
)


def as_dict(table: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in table}


def test_observations_have_the_columns_of_the_contract_in_their_order() -> None:
    found = as_dict(schema.observation_schema(None, identity=True))
    assert list(found.items()) == list((FRAME_COLUMNS | FACE_COLUMNS).items())


@pytest.mark.parametrize(
    ("landmarks", "lists"),
    [
        (None, {}),
        (68, {"landmarks": "fixed_size_list<item: float>[136]"}),
        (478, {"landmarks": "fixed_size_list<item: float>[956]", "landmarks_z": "fixed_size_list<item: float>[478]"}),
    ],
)
def test_landmarks_are_the_last_columns(landmarks: schema.LandmarkCount | None, lists: dict[str, str]) -> None:
    without = as_dict(schema.observation_schema(None))
    assert list(as_dict(schema.observation_schema(landmarks)).items()) == list((without | lists).items())


def test_identity_is_absent_without_the_option() -> None:
    for with_it, without in (
        (schema.observation_schema(68, identity=True), schema.observation_schema(68)),
        (schema.tracks_schema(identity=True), schema.tracks_schema()),
    ):
        assert [name for name in with_it.names if name != "identity"] == without.names


def test_embeddings_are_the_last_column_of_the_tracks_and_absent_without_the_option() -> None:
    found = as_dict(schema.tracks_schema(embeddings=True))
    expected = as_dict(schema.tracks_schema()) | {"embedding": "fixed_size_list<item: float>[128]"}
    assert list(found.items()) == list(expected.items())


def test_columns_from_face_id_on_are_nullable() -> None:
    table = schema.observation_schema(478, identity=True)
    first = table.get_field_index("face_id")
    assert all(field.nullable for field in list(table)[first:])
    assert {field.name for field in list(table)[:first] if field.nullable} == NULLABLE_FRAME_COLUMNS


def test_tracks_have_the_columns_of_the_contract_in_their_order() -> None:
    assert list(as_dict(schema.tracks_schema(identity=True)).items()) == list(TRACK_COLUMNS.items())


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_described(table: schema.TableName) -> None:
    names = [column.name for column in schema.columns(table)]
    assert len(names) == len(set(names))
    for column in schema.columns(table):
        assert column.meaning, column.name
        is_number = re.fullmatch(r"(int|float)\d+", column.type)
        assert column.values is None or column.type == "dictionary<string>", column.name
        assert column.range is None or is_number, column.name
        bounded = column.range is not None and None not in column.range
        assert column.unit is not None or not is_number or bounded, f"{column.name} has neither unit nor range"


def test_values_are_those_of_the_program() -> None:
    values = {column.name: column.values for column in schema.columns("observations")}
    assert values["emotion"] == values["emotion_smooth"] == EMOTIONS
    assert values["face_status"] == FACE_STATUS
    assert schema.document("run")["properties"]["emotion_labels"]["const"] == list(EMOTIONS)


def test_unknown_number_of_landmarks_is_refused() -> None:
    with pytest.raises(ValueError, match="68, 478 or None, got 5"):
        schema.observation_schema(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", TABLES)
def test_readme_has_every_column_with_unit_and_meaning(table: schema.TableName) -> None:
    readme = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    for column in schema.columns(table):
        rows = [line for line in readme.splitlines() if line.startswith(f"| `{column.name}` | {column.type} |")]
        assert any(line.endswith(f"| {column.meaning} |") for line in rows), column.name
        assert any(f"| {column.unit or ''} |" in line for line in rows), column.name


def keys(properties: dict[str, dict[str, object]], prefix: str = "") -> list[tuple[str, dict[str, object]]]:
    found: list[tuple[str, dict[str, object]]] = []
    for name, value in properties.items():
        found.append((prefix + name, value))
        for part, suffix in ((value, "."), (value.get("items"), "[]."), (value.get("additionalProperties"), ".NAME.")):
            if isinstance(part, dict) and "properties" in part:
                found += keys(part["properties"], prefix + name + suffix)
    return found


def test_readme_has_every_key_of_the_report() -> None:
    readme = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    for name, value in keys(schema.document("run")["properties"]):
        rows = [line for line in readme.split("## Run report")[1].splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, name
        assert rows[0].endswith(f"| {value['description']} |"), name


def test_schemas_are_found_beside_the_package_and_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "vidfer" / "schemas"
    inside.mkdir(parents=True)
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "vidfer" / "schema.py"))
    schema._text.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match="reinstall vidfer"):
            schema.document("tracks")
        (inside / "tracks.v1.json").write_text(json.dumps({"table": "in the package"}))
        assert schema.document("tracks") == {"table": "in the package"}
    finally:
        schema._text.cache_clear()
