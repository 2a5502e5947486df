"""Rendering that fails: one error, no thread, no half-made file, and never a hang."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from columns import column_array
from patience import PATIENCE_S, until

from vidfer.errors import InputError, OutputError
from vidfer.media.audio import AudioCarrier
from vidfer.media.encode import VideoWriter
from vidfer.media.file import VideoFile
from vidfer.media.synthetic import write_video
from vidfer.output.overlay import Overlay
from vidfer.output.parquet import TableWriter
from vidfer.pipeline import render as module
from vidfer.pipeline.render import render
from vidfer.pipeline.results import Progress
from vidfer.schema import SCHEMA_VERSION, observation_schema

FRAMES = 90
SLOW = """
import time, vidfer.output.panel as panel
draw = panel.Panel.draw
panel.Panel.draw = lambda *args: (time.sleep(0.2), draw(*args))[1]
"""
RUN = "import sys; from vidfer.cli.app import run; sys.exit(run(sys.argv[1:]))"
LIMITED = "import resource, sys; n = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); " + RUN


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, which cannot be made small, with sound."""
    path = tmp_path_factory.mktemp("faults") / "v.mp4"
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (144, 176, 3), np.uint8) for _ in range(10)]
    tone = (0.2 * np.sin(np.arange(48000 * 4) * 0.05)).astype(np.float32)
    write_video(path, ((images[at % 10], at) for at in range(FRAMES)), time_base=Fraction(1, 25), sound=tone)
    return path


@pytest.fixture
def table(video: Path, tmp_path: Path) -> Path:
    with VideoFile(video) as file:
        pts = [frame.pts for frame in file]
    texts = {"source": "v.mp4", "frame_status": "ok", "face_status": "detected"}
    numbers = {"frame": range(FRAMES), "pts": pts, "timestamp": np.arange(FRAMES) / 25, "face_id": 0}
    numbers |= {"face_x": 40, "face_y": 40, "face_w": 60, "face_h": 70}
    arrays = []
    for column in observation_schema(None):
        if column.name in texts:
            arrays.append(column_array([texts[column.name]] * FRAMES, column.type))
            continue
        known = not column.nullable or column.name in numbers
        values = np.broadcast_to(np.asarray(numbers.get(column.name, 0)), FRAMES)
        if pa.types.is_dictionary(column.type):
            values = np.full(FRAMES, "anger")
        elif pa.types.is_timestamp(column.type):
            values = np.full(FRAMES, "NaT", "datetime64[us]")
        arrays.append(column_array(values, column.type, np.full(FRAMES, known)))
    path = tmp_path / "v.parquet"
    with TableWriter(path, observation_schema(None)) as writer:
        writer.write(pa.table(arrays, schema=observation_schema(None)))
        about = {"schema_version": SCHEMA_VERSION, "source": {"name": "v.mp4", "size": video.stat().st_size}}
        writer.set_metadata(about)
    return path


def at_call(number: int, error: BaseException, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which fails when it is called for the nth time."""
    calls = [0]

    def failing(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise error
        return function(*args, **options)

    return failing


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [1, 2, 40, FRAMES, FRAMES + 1])
def test_a_full_disk_while_writing(
    number: int, video: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AudioCarrier, "carry_until", at_call(number, FULL, AudioCarrier.carry_until))
    with pytest.raises(OutputError, match="No space left") as caught:
        render(video, table, tmp_path / "out.mp4")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]


@pytest.mark.parametrize(
    ("owner", "name", "error", "kind"),
    [
        (VideoWriter, "write", MemoryError("no more"), MemoryError),
        (VideoWriter, "_finish", RuntimeError("killed"), RuntimeError),
        (Overlay, "draw", RuntimeError("a fault of ours"), RuntimeError),
        (module.YuvPicture, "writable", MemoryError("no more"), MemoryError),
        (module.VideoPicture, "yuv", RuntimeError("in the decoding thread"), RuntimeError),
    ],
    ids=str,
)
def test_a_stage_that_fails(
    owner: Any, name: str, error: Exception, kind: type[Exception], video: Path, table: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first = 1 if name == "_finish" else 20
    monkeypatch.setattr(owner, name, at_call(first, error, getattr(owner, name)))
    with pytest.raises(kind, match=str(error)):
        render(video, table, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]


def test_an_earlier_result_stays_when_a_new_one_fails(video: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_text("earlier")

    def interrupt(moment: Progress) -> None:
        if moment.frames_done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(video, table, out, progress=interrupt)
    assert out.read_text() == "earlier"


def test_decoding_waits_for_a_slow_encoder(
    video: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, ahead = [0], []
    pictures = module._pictures

    def counted(file: VideoFile) -> Iterator[Any]:
        for pair in pictures(file):
            decoded[0] += 1
            yield pair

    def slow(moment: Progress) -> None:
        time.sleep(0.002)
        ahead.append(decoded[0] - moment.frames_done)

    monkeypatch.setattr(module, "_pictures", counted)
    render(video, table, tmp_path / "out.mp4", progress=slow)
    assert decoded[0] == FRAMES
    assert max(ahead) <= module._FRAMES_AHEAD + module._DRAWN_AHEAD + 2  # and one with each thread


def test_a_video_that_ends_early_is_refused(video: Path, table: Path, tmp_path: Path, monkeypatch: Any) -> None:
    frames = VideoFile.__iter__
    monkeypatch.setattr(VideoFile, "__iter__", lambda self: (frame for frame in frames(self) if frame.index < 50))
    with pytest.raises(InputError, match="goes on with frame 50"):
        render(video, table, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_no_room_for_the_file(share: float, video: Path, table: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writes fail in the middle, or while the file is closed."""
    out = tmp_path / "out.mp4"
    render(video, table, out)
    limit = int(out.stat().st_size * share)
    out.unlink()
    args = ["render", str(table), "--video", str(video), "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *args], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert [line for line in done.stderr.splitlines() if "vidfer: error:" in line] == done.stderr.splitlines()
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_leaves_nothing(number: int, code: int, video: Path, table: Path, tmp_path: Path) -> None:
    args = ["render", str(table), "--video", str(video), "-o", str(tmp_path / "out.mp4"), "--panel"]
    run = subprocess.Popen([sys.executable, "-c", SLOW + RUN, *args], stderr=subprocess.PIPE, text=True)
    until((tmp_path / "out.mp4.part").exists)
    time.sleep(0.3)
    run.send_signal(number)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == code, err
    assert err.splitlines()[-1] == "vidfer: interrupted: no video was made"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]
