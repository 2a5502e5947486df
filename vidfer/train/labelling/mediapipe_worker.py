"""Finds the face mesh in pictures that come on stdin; run by a Python that has MediaPipe and need not have vidfer.

    python mediapipe_worker.py                 # the solution of MediaPipe 0.10.21 and older
    python mediapipe_worker.py --task FILE     # the Tasks API of newer ones, with a face_landmarker.task

A message is its length (4 bytes, little endian) and that many bytes. First goes out JSON: {"mediapipe": VERSION}, or
{"error": WORDS}. Then for every picture that comes in, an .npy file uint8[H,W,3] RGB, goes out an .npy file
float32[478,3] (x, y, z in shares of the width, height and width) or float32[0,3] where no face is found.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, cast

_CONFIDENCE = 0.5


def main(args: list[str]) -> None:
    """Answer until stdin ends."""
    # Whatever libraries print must not get between the messages.
    out = cast(BinaryIO, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    try:
        import mediapipe

        find = _find_by_task(mediapipe, args[1]) if args[:1] == ["--task"] else _find_by_solution(mediapipe)
    except Exception as error:  # noqa: BLE001 (whatever goes wrong is for the other side to say)
        _send(out, json.dumps({"error": " ".join(str(error).split())}).encode())
        return
    _send(out, json.dumps({"mediapipe": mediapipe.__version__}).encode())
    import numpy as np

    while (data := _receive(sys.stdin.buffer)) is not None:
        points = find(np.load(io.BytesIO(data), allow_pickle=False))
        answer = io.BytesIO()
        np.save(answer, np.array([(p.x, p.y, p.z) for p in points], np.float32).reshape(-1, 3), allow_pickle=False)
        _send(out, answer.getvalue())


def _find_by_solution(mediapipe: Any) -> Callable[[Any], Any]:
    if not hasattr(mediapipe, "solutions"):
        raise RuntimeError(
            f"MediaPipe {mediapipe.__version__} has no face mesh of its own: "
            "take 0.10.21, or give a face_landmarker.task with --face-landmarker"
        )
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=_CONFIDENCE
    )

    def find(image: Any) -> Any:
        faces = mesh.process(image).multi_face_landmarks
        return faces[0].landmark if faces else []

    return find


def _find_by_task(mediapipe: Any, path: str) -> Callable[[Any], Any]:
    from mediapipe.tasks.python import BaseOptions, vision

    # Given as bytes: the path may hold what MediaPipe's own reading does not take.
    with open(path, "rb") as file:  # noqa: PTH123
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=file.read()),
            num_faces=1,
            min_face_detection_confidence=_CONFIDENCE,
        )
    landmarker = vision.FaceLandmarker.create_from_options(options)

    def find(image: Any) -> Any:
        faces = landmarker.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).face_landmarks
        return faces[0] if faces else []

    return find


def _send(out: BinaryIO, data: bytes) -> None:
    out.write(struct.pack("<I", len(data)) + data)
    out.flush()


def _receive(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    return stream.read(struct.unpack("<I", head)[0]) if len(head) == 4 else None


if __name__ == "__main__":
    main(sys.argv[1:])
