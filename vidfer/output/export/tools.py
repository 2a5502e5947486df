"""The tables of other programs: OpenFace, py-feat, and what evaluators of tracking read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.output.export.job import Job
from vidfer.output.export.reader import Reader, has_68_points
from vidfer.output.export.text import csv_line, csv_lines
from vidfer.types import F64

_log = logging.getLogger(__name__)

_BOX = ("face_x", "face_y", "face_w", "face_h")
_POSE = ("pitch", "yaw", "roll")
# In their order; the last one is ours alone.
_PYFEAT_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt")
_POINTS = [(f"{axis}_{i}", 2 * i + offset) for offset, axis in enumerate("xy") for i in range(68)]

Column = tuple[str, pa.Array]


def write_openface(job: Job, out: BinaryIO) -> None:
    """A CSV as OpenFace 2 writes it (Baltrušaitis et al., 2018), with the columns that vidfer knows.

    `frame` starts at 1; `success` is 1 where the face was measured, 0 in frames without a face and where a face is only
    predicted. Rotations are in radians, R = Rx Ry Rz with x to the right, y down and z away from the camera: positive
    Rx looks down, Ry turns to the subject's right, Rz tilts to the subject's left shoulder.
    """
    wanted = ["frame", "face_id", "timestamp", "confidence", "face_status", *_POSE]
    _write(job.reader, out, wanted, _openface)


def _openface(batch: pa.RecordBatch) -> Iterator[Column]:
    status = batch["face_status"].cast(pa.string())
    measured = pc.fill_null(pc.not_equal(status, "predicted"), False)
    yield "frame", pc.add(batch["frame"], 1)
    yield "face_id", batch["face_id"]
    yield "timestamp", batch["timestamp"]
    yield "confidence", batch["confidence"]
    yield "success", measured.cast(pa.int8())
    turns = turns_of(batch)
    for i, axis in enumerate("xyz"):
        yield f"pose_R{axis}", _numbers(turns[:, i])
    yield from _points(batch)


def write_pyfeat(job: Job, out: BinaryIO) -> None:
    """A CSV for the class ``Fex`` of py-feat (Cheong et al., 2023).

    Emotions, valence and arousal are the raw ones. Poses are in radians, with the signs by which py-feat draws them:
    positive Pitch looks up, Yaw turns to the subject's right, Roll tilts to the subject's left shoulder.
    """
    reader = job.reader
    emotions = [f"emotion_{name}" for name in _PYFEAT_EMOTIONS]
    identity = ["identity"] if "identity" in reader.schema.names else []
    wanted = ["source", "frame", "timestamp", "face_id", *identity, *_BOX, "confidence", *_POSE, *emotions]
    _write(reader, out, [*wanted, "valence", "arousal"], _pyfeat)


def _pyfeat(batch: pa.RecordBatch) -> Iterator[Column]:
    for name, column in zip(("X", "Y", "Width", "Height"), _BOX, strict=True):
        yield f"FaceRect{name}", batch[column]
    yield "FaceScore", batch["confidence"]
    yield from _points(batch)
    turns = turns_of(batch)
    for name, values in (("Pitch", -turns[:, 0]), ("Roll", turns[:, 2]), ("Yaw", turns[:, 1])):
        yield name, _numbers(values)
    for name in _PYFEAT_EMOTIONS:
        yield name, batch[f"emotion_{name}"]
    yield "valence", batch["valence"]
    yield "arousal", batch["arousal"]
    yield "input", batch["source"].cast(pa.string())
    yield "frame", batch["frame"]
    yield "approx_time", _minutes(batch["timestamp"])
    person = batch["identity"] if "identity" in batch.schema.names else batch["face_id"]
    yield "Identity", pc.binary_join_element_wise("Person_", person.cast(pa.string()), "")


def write_mot(job: Job, out: BinaryIO) -> None:
    """Text as MOTChallenge has it: frame, id, left, top, width, height, confidence, and -1 for what is not known.

    Frames, ids and pixels start at 1. Predicted boxes are left out: nobody saw a face there.
    """
    for batch in job.reader.batches(["frame", "face_id", *_BOX, "confidence"]):
        seen = batch.filter(batch["confidence"].is_valid())
        one, none = np.float32(1), pa.array(np.full(seen.num_rows, -1, np.int8))
        left, top = pc.add(seen["face_x"], one), pc.add(seen["face_y"], one)
        ids = [pc.add(seen["frame"], 1), pc.add(seen["face_id"], 1)]
        columns = [*ids, left, top, seen["face_w"], seen["face_h"], seen["confidence"], none, none, none]
        out.write("".join(csv_lines(columns)).encode())


def _write(reader: Reader, out: BinaryIO, wanted: list[str], columns: Any) -> None:
    if has_68_points(reader):
        wanted = [*wanted, "landmarks"]
    elif reader.points:
        _log.warning("%s has %d points for each face: x_0 to y_67 are left out", reader.path, reader.points)
    header = False
    for batch in reader.batches(wanted):
        named = list(columns(batch))
        if not header:
            out.write(csv_line([name for name, _ in named]).encode())
            header = True
        out.write("".join(csv_lines(values for _, values in named)).encode())


def _points(batch: pa.RecordBatch) -> Iterator[Column]:
    if "landmarks" in batch.schema.names:
        for name, element in _POINTS:
            yield name, pc.list_element(batch["landmarks"], element)


def turns_of(batch: pa.RecordBatch) -> F64:
    """Rx, Ry and Rz f64[N,3] of OpenFace in radians; NaN where there is no pose.

    Ours are turns about other axes in another order (pitch, then yaw, then roll in the picture), so the matrix is made
    and taken apart again: at 40° of yaw and of pitch the angles differ by 10°.
    """
    degrees = [batch[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _POSE]
    pitch, yaw, roll = (-np.deg2rad(values) for values in degrees)
    sp, cp, sy, cy, sr, cr = np.sin(pitch), np.cos(pitch), np.sin(yaw), np.cos(yaw), np.sin(roll), np.cos(roll)
    # Elements of Rz(roll) Ry(yaw) Rx(pitch), by row and column.
    r00, r01 = cr * cy, cr * sy * sp - sr * cp
    r02, r12, r22 = cr * sy * cp + sr * sp, sr * sy * cp - cr * sp, cy * cp
    return np.stack([np.arctan2(-r12, r22), np.arcsin(np.clip(r02, -1, 1)), np.arctan2(-r01, r00)], axis=1)


def _numbers(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _minutes(seconds: pa.Array) -> pa.Array:
    """Whole minutes and seconds as py-feat writes them, 01:05."""
    whole = pc.floor(seconds).cast(pa.int64())
    minutes = pc.divide(whole, 60)
    rest = pc.subtract(whole, pc.multiply(minutes, 60))
    two = [pc.utf8_lpad(part.cast(pa.string()), 2, "0") for part in (minutes, rest)]
    return pc.binary_join_element_wise(*two, ":")
