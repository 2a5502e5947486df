"""What REST says of itself, as OpenAPI 3.1; faces have the columns of the table, with their meaning and unit."""

from __future__ import annotations

from typing import Any, get_args

from vidfer import __version__
from vidfer.pipeline.board import CameraState
from vidfer.schema import Column, columns
from vidfer.serve.faces import LANDMARKS

Json = dict[str, Any]

_OF_A_FRAME = ("source", "frame", "pts", "timestamp", "wallclock", "epoch", "shot", "frame_status", "n_faces")
_OPTIONAL = ("_smooth", "landmarks", "landmarks_z")
_INTEGER, _NUMBER, _TEXT = {"type": "integer"}, {"type": "number"}, {"type": "string"}

_LINES = {
    400: "The request is broken",
    401: "The token is missing or wrong",
    403: "The request comes from another site",
    404: "There is no such camera",
    408: "The body came too slowly",
    413: "Too many bytes or pixels",
    415: "The body is no JPEG, PNG or WebP",
    422: "The picture or a parameter cannot be used",
    503: "Not now: try again",
}


def document(*, with_analyze: bool, with_token: bool) -> Json:
    """The description of this server.

    Args:
        with_analyze: Whether pictures can be sent.
        with_token: Whether a token is needed.
    """
    paths = {
        "/healthz": {"get": _health()},
        "/metrics": {"get": _metrics()},
        "/api/v1/cameras": {"get": _get("How every camera is doing.", _list("cameras", "Camera"))},
        "/api/v1/cameras/{name}/picture": {"get": _picture()},
        "/api/v1/faces/latest": {"get": _faces()},
        "/api/v1/pause": {"post": _switch("Analyse and write nothing more; cameras stay connected.")},
        "/api/v1/resume": {"post": _switch("Go on.")},
        "/api/v1/quit": {"post": _quit()},
    }
    if with_analyze:
        paths["/api/v1/analyze"] = {"post": _analyze()}
    described: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "vidfer",
            "version": __version__,
            "description": "Faces of cameras, live.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }
    if with_token:
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
    return described


def _answers(ok: Json, *errors: int, status: int = 200) -> Json:
    failed = {
        str(code): {"description": _LINES[code], "content": {"application/json": {"schema": _ref("Error")}}}
        for code in sorted({401, 403, *errors})
    }
    return {"responses": {str(status): ok, **failed}}


def _ok(schema: Json, what: str = "Done") -> Json:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _get(summary: str, schema: Json, *errors: int) -> Json:
    return {"summary": summary, **_answers(_ok(schema), *errors)}


def _object(properties: Json, optional: tuple[str, ...] = (), **more: Any) -> Json:
    required = [name for name in properties if not name.endswith(optional)] if optional else list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(key: str, of: str) -> Json:
    return _object({key: {"type": "array", "items": _ref(of)}})


def _or_null(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def _health() -> Json:
    ok = _ok(_object({"status": _TEXT}), "Some camera gives frames, is being connected or is paused")
    answers = _answers(ok, 503)
    answers["responses"]["503"] = _ok(_object({"status": _TEXT}), "No camera gives frames")
    del answers["responses"]["401"]
    return {"summary": "Whether it works; needs no token.", "security": [], **answers}


def _metrics() -> Json:
    formats = {name: {"schema": _TEXT} for name in ("text/plain", "application/openmetrics-text")}
    ok = {"description": "Metrics for Prometheus", "content": formats}
    return {"summary": "How cameras and process are doing, for Prometheus.", **_answers(ok)}


def _camera_query() -> Json:
    return {"name": "camera", "in": "query", "schema": _TEXT, "description": "One camera; all without it."}


def _picture() -> Json:
    jpeg = {"type": "string", "contentEncoding": "binary", "contentMediaType": "image/jpeg"}
    ok = {
        "description": "The newest picture in its full size, with its faces drawn in",
        "content": {"image/jpeg": {"schema": jpeg}},
        "headers": {"X-Frame": {"schema": _INTEGER, "description": "Number of the frame"}},
    }
    name = {"name": "name", "in": "path", "required": True, "schema": _TEXT, "description": "Of the camera."}
    return {"summary": "The annotated picture.", "parameters": [name], **_answers(ok, 404, 503)}


def _faces() -> Json:
    summary = "The faces in the newest frame of each camera."
    return {**_get(summary, _list("frames", "Frame"), 404), "parameters": [_camera_query()]}


def _switch(summary: str) -> Json:
    schema = _object({"paused": {"type": "array", "items": _TEXT, "description": "All cameras that are paused"}})
    return {**_get(summary, schema, 404), "parameters": [_camera_query()]}


def _quit() -> Json:
    ok = _ok(_object({"stopping": {"type": "boolean"}}), "It will")
    return {"summary": "Close all files and end.", **_answers(ok, status=202)}


def _analyze() -> Json:
    picture: Json = {"schema": {"type": "string", "contentEncoding": "binary", "minLength": 1}}
    landmarks = {"type": "string", "enum": list(LANDMARKS), "default": "none"}
    return {
        "summary": "The faces in a picture that is sent: at most 16 MiB and 50 megapixels.",
        "parameters": [{"name": "landmarks", "in": "query", "schema": landmarks, "description": "Points of a face."}],
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(("image/jpeg", "image/png", "image/webp"), picture),
        },
        **_answers(_ok(_ref("Analysed")), 400, 408, 413, 415, 422, 503),
    }


def _schemas() -> Json:
    faces = {"type": "array", "items": _ref("Face")}
    size = {name: {"type": "integer", "minimum": 0, "description": "px"} for name in ("width", "height")}
    frame = {
        "camera": _TEXT,
        "frame": {"type": "integer", "description": "Number of the frame; rises for ever"},
        "epoch": {"type": "integer", "description": "+1 at each reconnect"},
        "timestamp": {"type": ["number", "null"], "description": "s since the first frame of the camera"},
        "wallclock": {"type": "string", "format": "date-time"},
        "n_faces": _INTEGER,
        "faces": faces,
    }
    return {
        "Error": _object({"error": {"type": "string", "description": "What is wrong, and what to do"}}),
        "Camera": _camera(),
        "Frame": _object(frame),
        "Analysed": _object({**size, "faces": faces}),
        "Face": _object({column.name: _of_column(column) for column in _face_columns()}, _OPTIONAL),
    }


def _camera() -> Json:
    counts = {
        "width": "px", "height": "px", "epoch": "+1 at each reconnect", "frames": "Analysed", "faces": "Seen in them",
        "dropped": "Decoded frames that a newer one overtook", "reconnects": "How often it came back",
    }  # fmt: skip
    numbers = {
        "fps": "Analysed frames a second, lately",
        "latency_p50_ms": "From a frame's arrival to its result, lately",
        "latency_p95_ms": "The same, what 95 % stay below",
    }
    return _object(
        {
            "name": _TEXT,
            "url": {"type": "string", "description": "Without credentials"},
            "state": {"type": "string", "enum": list(get_args(CameraState))},
            "paused": {"type": "boolean"},
            **{name: {"type": "integer", "minimum": 0, "description": what} for name, what in counts.items()},
            **{name: {"type": ["number", "null"], "description": what} for name, what in numbers.items()},
            "last_frame_utc": {"type": ["string", "null"], "format": "date-time"},
            "last_error": {"type": ["string", "null"], "description": "Why it was lost the last time"},
            "writing": {"type": "string", "description": "on, or paused: and why"},
        }
    )


def _face_columns() -> list[Column]:
    return [column for column in columns("observations") if column.name not in (*_OF_A_FRAME, "identity")]


def _of_column(column: Column) -> Json:
    what = column.meaning + (f" [{column.unit}]" if column.unit else "")
    if column.type.startswith("fixed_size_list"):
        return {"type": "array", "items": _or_null(_NUMBER), "description": what}
    if column.values is not None:
        return {"type": ["string", "null"], "enum": [*column.values, None], "description": what}
    plain = _INTEGER if column.type.startswith("int") else _NUMBER
    return {**_or_null(plain), "description": what}
