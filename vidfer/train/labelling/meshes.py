"""MediaPipe in a process and an environment of its own.

Its packages bring OpenCV under another name, which overwrites ours: so it is not installed beside vidfer.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from vidfer.errors import DataError, UsageError
from vidfer.types import F32, U8

_WORKER = Path(__file__).with_name("mediapipe_worker.py")
_LONGEST_ANSWER = 1 << 20
_PATIENCE_S = 10.0  # for the worker to end after its stdin did


class MediaPipe:
    """Asks the worker for meshes; a context manager.

    Args:
        python: A Python that has MediaPipe; None takes this one.
        task: `face_landmarker.task` for the Tasks API; None uses the face mesh that MediaPipe 0.10.21 has of its own.

    Raises:
        UsageError: The Python cannot be run, or its MediaPipe does not do.
    """

    def __init__(self, python: Path | None, task: Path | None = None) -> None:
        if task is not None and not task.is_file():
            raise UsageError(f"--face-landmarker: there is no file {task}")
        command = [str(python or sys.executable), str(_WORKER), *(["--task", str(task)] if task else [])]
        # Packages of this environment are not for that one.
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        try:
            self._worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment
            )
        except OSError as error:
            self._said.close()
            raise UsageError(f"--mediapipe-python {python}: {error.strerror}; give a Python that has it") from error
        try:
            self.version = self._greet()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def find(self, image: U8) -> F32 | None:
        """The mesh f32[478,3] of the face in a picture uint8[H,W,3] RGB, px (pixel centres), z in the scale of x.

        Returns:
            None where no face is found.

        Raises:
            DataError: The worker ended, or does not answer as it should.
        """
        request = io.BytesIO()
        np.save(request, np.ascontiguousarray(image), allow_pickle=False)
        data = request.getvalue()
        stdin = self._worker.stdin
        assert stdin is not None
        try:
            stdin.write(struct.pack("<I", len(data)) + data)
            stdin.flush()
        except OSError as error:
            raise DataError(self._why()) from error
        try:
            points = np.load(io.BytesIO(self._receive()), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"MediaPipe's worker gave no points: {error}") from error
        if points.shape == (0, 3):
            return None
        if points.shape != (478, 3):
            raise DataError(
                f"MediaPipe found {len(points)} points, 478 are needed: take a model that has the irises, too"
            )
        height, width = image.shape[:2]
        # MediaPipe counts from the edge of the first pixel.
        return np.asarray(points * (width, height, width) - (0.5, 0.5, 0), np.float32)

    def close(self) -> None:
        """End the worker."""
        for stream in (self._worker.stdin, self._worker.stdout):
            if stream is not None:
                with suppress(OSError):  # it ended before it read all
                    stream.close()
        try:
            self._worker.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        self._said.close()

    def _greet(self) -> str:
        try:
            hello = json.loads(self._receive())
        except (DataError, ValueError) as error:
            raise UsageError(f"--mediapipe-python: {error}") from error
        if "error" in hello:
            raise UsageError(
                f"MediaPipe cannot be used: {hello['error']}; name a Python that has it with --mediapipe-python "
                "(python3 -m venv mp && mp/bin/pip install mediapipe==0.10.21)"
            )
        return str(hello["mediapipe"])

    def _receive(self) -> bytes:
        stdout = self._worker.stdout
        assert stdout is not None
        head = stdout.read(4)
        length = struct.unpack("<I", head)[0] if len(head) == 4 else -1
        if not 0 <= length <= _LONGEST_ANSWER:
            raise DataError(self._why())
        data = stdout.read(length)
        if len(data) < length:
            raise DataError(self._why())
        return data

    def _why(self) -> str:
        """The last that the worker said before it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._worker.wait(1)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return f"MediaPipe's worker ended ({said[-1] if said else 'it said nothing'})"
