"""The second pass: every frame with its time and sound, the rows of each frame on that frame and on no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest

from vidfer.errors import InputError, OutputError, UsageError
from vidfer.media.file import VideoFile
from vidfer.media.synthetic import write_video
from vidfer.output.parquet import TableWriter, column_array
from vidfer.pipeline.render import HOLD_S, render
from vidfer.schema import LandmarkCount, observation_schema
from vidfer.types import EMOTIONS, FACE_STATUS, PREDICTED

TIME_BASE = Fraction(1, 19200)  # fine enough for MP4 to keep it
# Uneven steps, and a start that is not 0.
PTS = [int(pts) for pts in 1536 + np.cumsum(np.tile([768, 768, 960, 576, 1536], 12))]
GROUND = 120
BOX = (60.0, 50.0, 40.0, 48.0)  # x, y, w, h


@dataclass
class Row:
    """One row of a made-up table."""

    frame: int
    face_id: int | None = 0
    status: int = 0
    box: tuple[float, float, float, float] = field(default=BOX)


def make_video(path: Path, sound: bool = True) -> Path:
    image = np.full((144, 176, 3), GROUND, np.uint8)
    tone = (0.2 * np.sin(np.arange(48000 * 3) * 0.05)).astype(np.float32) if sound else None
    write_video(path, ((image, pts) for pts in PTS), time_base=TIME_BASE, sound=tone)
    return path


def make_table(
    path: Path,
    rows: Sequence[Row],
    *,
    pts: Sequence[int | None] = PTS,
    landmarks: LandmarkCount | None = 68,
    **source: object,
) -> Path:
    schema = observation_schema(landmarks)
    found = np.array([row.face_id is not None for row in rows])
    seen = found & np.array([row.status != PREDICTED for row in rows])
    boxes = np.array([row.box for row in rows], np.float32).T
    values: dict[str, object] = {
        "source": ["v.mp4"] * len(rows),
        "frame": [row.frame for row in rows],
        "pts": [pts[row.frame] for row in rows],
        "frame_status": ["ok"] * len(rows),
        "face_id": [row.face_id if row.face_id is not None else -1 for row in rows],
        "face_status": [FACE_STATUS[row.status] for row in rows],
        "emotion": ["anger"] * len(rows),
        "emotion_smooth": ["anger"] * len(rows),
        "emotion_anger_smooth": np.full(len(rows), 0.9, np.float32),
        "face_x": boxes[0],
        "face_y": boxes[1],
        "face_w": boxes[2],
        "face_h": boxes[3],
    }
    if landmarks:
        values["landmarks"] = np.tile(np.float32([BOX[0] + 20, BOX[1] + 24]), (len(rows), landmarks))
    boxed = {"face_id", "face_status", "face_x", "face_y", "face_w", "face_h"}
    arrays = []
    for column in schema:
        valid = None if not column.nullable or column.name == "pts" else found if column.name in boxed else seen
        given = values.get(column.name, np.zeros((len(rows), 478) if column.name == "landmarks_z" else len(rows)))
        if column.name == "wallclock":
            given = np.full(len(rows), "NaT", "datetime64[us]")
        arrays.append(column_array(given, column.type, valid))  # type: ignore[arg-type]
    with TableWriter(path, schema) as writer:
        writer.write(pa.table(arrays, schema=schema))
        writer.set_metadata({"source": source, "emotion_labels": list(EMOTIONS)})
    return path


def decoded(path: Path) -> tuple[list[int | None], np.ndarray]:
    with VideoFile(path) as file:
        frames = [(frame.pts, frame.picture.rgb().astype(int)) for frame in file]
    return [pts for pts, _ in frames], np.stack([image for _, image in frames])


def has_box(images: np.ndarray) -> np.ndarray:
    """Whether the left side of BOX is drawn in each picture."""
    x, y = round(BOX[0]), round(BOX[1])
    side = images[:, y + 12 : y + 36, x - 1 : x + 1]
    return np.abs(side - GROUND).max(axis=(2, 3)).mean(axis=1) > 25


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("render") / "v.mp4")


def test_every_frame_keeps_its_time_and_gets_its_own_boxes(video: Path, tmp_path: Path) -> None:
    frames_with_face = {3, 4, 5, 20, 21, 40, 59}
    rows = [Row(frame, 0 if frame in frames_with_face else None) for frame in range(len(PTS))]
    told: list[tuple[int, float]] = []
    render(
        video,
        make_table(tmp_path / "v.parquet", rows),
        tmp_path / "out.mp4",
        progress=lambda frames, time_s: told.append((frames, time_s)),
    )
    pts, images = decoded(tmp_path / "out.mp4")
    assert pts == decoded(video)[0] == PTS
    assert set(np.flatnonzero(has_box(images)).tolist()) == frames_with_face
    assert [frames for frames, _ in told] == list(range(1, len(PTS) + 1))
    assert told[-1][1] == pytest.approx(float((PTS[-1] - PTS[0]) * TIME_BASE))


def test_sound_is_carried_over(video: Path, tmp_path: Path) -> None:
    render(video, make_table(tmp_path / "v.parquet", [Row(0)]), tmp_path / "out.mp4")
    with av.open(str(video)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        packets = [[bytes(packet) for packet in file.demux(audio=0) if packet.size] for file in (before, after)]
    assert packets[0]
    assert packets[0] == packets[1]


def test_video_without_sound(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "v.mp4", sound=False)
    render(silent, make_table(tmp_path / "v.parquet", [Row(0)]), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert not file.streams.audio


def test_frames_between_samples_hold_the_last_boxes_for_half_a_second(video: Path, tmp_path: Path) -> None:
    sampled = [10, 15, 50]
    render(video, make_table(tmp_path / "v.parquet", [Row(frame) for frame in sampled]), tmp_path / "out.mp4")
    times = np.array(PTS) * float(TIME_BASE)
    wanted = [
        any(frame <= at and times[at] - times[frame] <= HOLD_S + 1e-9 for frame in sampled) for at in range(len(PTS))
    ]
    assert 0 < sum(wanted) < len(PTS)
    assert has_box(decoded(tmp_path / "out.mp4")[1]).tolist() == wanted


def test_sampled_frame_without_a_face_ends_the_hold(video: Path, tmp_path: Path) -> None:
    rows = [Row(10), Row(12, None), Row(14)]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4")
    assert has_box(decoded(tmp_path / "out.mp4")[1])[9:16].tolist() == [False, True, True, False, False, True, True]


def test_rows_may_be_many_and_lie_across_pieces(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidfer.pipeline.render._BATCH_ROWS", 7)
    rows = [Row(frame, face, box=(4 + 40 * face, 60, 30, 36)) for frame in range(0, len(PTS), 2) for face in range(4)]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4")
    images = decoded(tmp_path / "out.mp4")[1]
    for face in range(4):
        side = images[::2, 70:90, 3 + 40 * face : 5 + 40 * face]
        assert (np.abs(side - GROUND).max(axis=(2, 3)).mean(axis=1) > 25).all()


def test_video_without_any_face(video: Path, tmp_path: Path) -> None:
    rows = [Row(frame, None) for frame in range(len(PTS))]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4", landmarks=True)
    pts, images = decoded(tmp_path / "out.mp4")
    assert pts == PTS
    assert np.abs(images - GROUND).max() < 12


@pytest.mark.parametrize("count", [68, 478])
def test_landmarks_are_drawn_by_option(video: Path, tmp_path: Path, count: LandmarkCount) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(frame) for frame in range(len(PTS))], landmarks=count)
    middle = np.s_[:, 72:77, 78:83]
    for landmarks in (False, True):
        render(video, table, tmp_path / "out.mp4", landmarks=landmarks)
        changed = np.abs(decoded(tmp_path / "out.mp4")[1][middle] - GROUND).max() > 40
        assert changed == landmarks


def test_predicted_faces_are_drawn_without_affect(video: Path, tmp_path: Path) -> None:
    rows = [Row(0), Row(1, status=PREDICTED), Row(2)]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4", landmarks=True)
    images = decoded(tmp_path / "out.mp4")[1]
    label = np.s_[30:45, 60:70]
    red = [(image[label][..., 0] - image[label][..., 2]).max() for image in images[:3]]
    assert red[0] > 80
    assert red[1] < 40
    assert red[2] > 80


def refused(video: Path, table: Path, out: Path, kind: type[Exception], match: str, landmarks: bool = False) -> None:
    with pytest.raises(kind, match=match) as caught:
        render(video, table, out, landmarks=landmarks)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_table_of_another_video_is_refused(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    rows = [Row(frame) for frame in range(len(PTS))]
    shifted = make_table(tmp_path / "a.parquet", rows, pts=[pts + 1 for pts in PTS])
    refused(video, shifted, out, InputError, "frame 0 has pts 2305 in the table and 2304 in the video")
    longer = make_table(tmp_path / "b.parquet", [*rows, Row(len(PTS))], pts=[*PTS, 99999])
    refused(video, longer, out, InputError, "it goes on with frame 60, the video ended before")
    other = make_table(tmp_path / "c.parquet", rows, size=17)
    refused(video, other, out, InputError, "it was made from 17 bytes, the video has")


def test_what_is_missing_is_named(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    table = make_table(tmp_path / "v.parquet", [Row(0)], landmarks=None)
    refused(video, table, out, UsageError, "has no landmarks to draw: process the video with", landmarks=True)
    refused(video, tmp_path / "none.parquet", out, InputError, "does not exist")
    refused(tmp_path / "none.mp4", table, out, InputError, "does not exist")
    with TableWriter(tmp_path / "d.parquet", pa.schema([pa.field("frame", pa.int64())])) as writer:
        writer.set_metadata({})
    refused(video, tmp_path / "d.parquet", out, InputError, "lacks the column pts")


def test_folder_that_does_not_exist(video: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(0)])
    refused(video, table, tmp_path / "nowhere" / "out.mp4", OutputError, "cannot be written")


def test_interruption_leaves_nothing_behind(video: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(0)])

    def interrupt(frames: int, _: float) -> None:
        if frames == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(video, table, tmp_path / "out.mp4", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]
