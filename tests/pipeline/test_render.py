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
from columns import column_array

from vidfer.errors import InputError, OutputError, UsageError
from vidfer.media.file import VideoFile
from vidfer.media.inputs import sha256_of
from vidfer.media.synthetic import write_video
from vidfer.output.parquet import TableWriter
from vidfer.pipeline.render import render
from vidfer.pipeline.results import Progress
from vidfer.pipeline.rows import HOLD_S
from vidfer.schema import SCHEMA_VERSION, LandmarkCount, observation_schema
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
    shot: int = 0


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
    version: int = SCHEMA_VERSION,
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
        "timestamp": [float(((pts[row.frame] or 0) - PTS[0]) * TIME_BASE) for row in rows],
        "shot": [row.shot for row in rows],
        "n_faces": [2] * len(rows),
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
        writer.set_metadata({"schema_version": version, "source": source, "emotion_labels": list(EMOTIONS)})
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
    told: list[Progress] = []
    render(
        video,
        make_table(tmp_path / "v.parquet", rows),
        tmp_path / "out.mp4",
        progress=told.append,
    )
    pts, images = decoded(tmp_path / "out.mp4")
    assert pts == decoded(video)[0] == PTS
    assert set(np.flatnonzero(has_box(images)).tolist()) == frames_with_face
    assert [moment.frames_done for moment in told] == list(range(1, len(PTS) + 1))
    assert {moment.frames_total for moment in told} == {len(PTS)}
    assert told[-1].time_s == pytest.approx(float((PTS[-1] - PTS[0]) * TIME_BASE))


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
    monkeypatch.setattr("vidfer.pipeline.rows._BATCH_ROWS", 7)
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
    later = make_table(tmp_path / "d.parquet", rows, version=2)
    refused(video, later, out, InputError, "has schema version 2, this vidfer reads version 1: use the vidfer")


def test_what_is_missing_is_named(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    table = make_table(tmp_path / "v.parquet", [Row(0)], landmarks=None)
    refused(video, table, out, UsageError, "has no landmarks to draw: process the video with", landmarks=True)
    refused(video, tmp_path / "none.parquet", out, InputError, "does not exist")
    refused(tmp_path / "none.mp4", table, out, InputError, "does not exist")
    with TableWriter(tmp_path / "d.parquet", pa.schema([pa.field("frame", pa.int64())])) as writer:
        writer.set_metadata({"schema_version": SCHEMA_VERSION})
    refused(video, tmp_path / "d.parquet", out, InputError, "lacks the column pts")


def test_folder_that_does_not_exist(video: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(0)])
    refused(video, table, tmp_path / "nowhere" / "out.mp4", OutputError, "cannot be written")


def test_interruption_leaves_nothing_behind(video: Path, tmp_path: Path) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(0)])

    def interrupt(moment: Progress) -> None:
        if moment.frames_done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(video, table, tmp_path / "out.mp4", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.parquet"]


def left_edges(images: np.ndarray) -> list[int | None]:
    """Where the left side of the box is in each picture, at the height of its middle."""
    found = []
    for image in images:
        row = np.abs(image[70:78] - GROUND).max(axis=(0, 2))
        found.append(int(np.flatnonzero(row > 25)[0]) if (row > 25).any() else None)
    return found


def test_boxes_move_on_between_samples_of_one_shot(video: Path, tmp_path: Path) -> None:
    rows = [Row(10, box=(40.0, 50, 40, 48)), Row(14, box=(80.0, 50, 40, 48))]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4")
    edges = left_edges(decoded(tmp_path / "out.mp4")[1])[10:15]
    times = np.array(PTS[10:15])
    wanted = 40 + 40 * (times - times[0]) / (times[-1] - times[0])
    assert np.abs(np.array(edges, float) - wanted).max() <= 2


def test_boxes_are_not_held_over_a_cut(video: Path, tmp_path: Path) -> None:
    rows = [Row(10), Row(14, shot=1), Row(16, shot=1)]
    render(video, make_table(tmp_path / "v.parquet", rows), tmp_path / "out.mp4")
    drawn = has_box(decoded(tmp_path / "out.mp4")[1])[10:18].tolist()
    assert drawn == [True, False, False, False, True, True, True, True]


# --- blur


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of small black and white squares: what is hidden loses them."""
    path = tmp_path_factory.mktemp("blur") / "checks.mp4"
    y, x = np.mgrid[0:144, 0:176] // 4
    image = np.repeat(((x + y) % 2 * 200 + 28).astype(np.uint8)[..., None], 3, axis=2)
    write_video(path, ((image, pts) for pts in PTS), time_base=TIME_BASE)
    return path


def hidden(checks: Path, rows: Sequence[Row], out: Path, **options: bool) -> np.ndarray:
    """Which parts of the picture are hidden in each frame: bool[frames, 144/8, 176/8]."""
    table = make_table(out.with_suffix(".parquet"), rows)
    render(checks, table, out, blur=True, labels=False, **options)
    pts, images = decoded(out)
    assert pts == PTS
    luma = images[:, :144, :176, 1].reshape(len(PTS), 18, 8, 22, 8)
    return np.asarray(luma.std(axis=(2, 4)) < 40)


def of_box(box: tuple[float, float, float, float]) -> tuple[slice, slice, slice]:
    x, y, w, h = (round(value) for value in box)
    return np.s_[:, -(-y // 8) : (y + h) // 8, -(-x // 8) : (x + w) // 8]


def test_blurred_faces_are_squares_and_the_rest_is_as_it_was(checks: Path, tmp_path: Path) -> None:
    statuses = [0, 1, PREDICTED]
    found = hidden(checks, [Row(at, status=statuses[at % 3]) for at in range(len(PTS))], tmp_path / "out.mp4")
    assert found[of_box(BOX)].all()
    assert not found[:, :, :3].any()
    assert not found[:, :, 16:].any()
    _, images = decoded(tmp_path / "out.mp4")
    face = images[30, 50:98, 60:100].mean(axis=2)
    assert len(np.unique(np.round(face / 6))) < 8


def test_everything_in_either_sample_is_hidden_between_them(checks: Path, tmp_path: Path) -> None:
    left, right = (8.0, 60.0, 24.0, 32.0), (136.0, 60.0, 24.0, 32.0)
    rows = [Row(at, 0, box=left) for at in range(0, 41, 4)] + [Row(44, 1, box=right)]
    rows += [Row(at, 1, box=right, shot=1) for at in range(48, 60, 4)]
    found = hidden(checks, sorted(rows, key=lambda row: row.frame), tmp_path / "out.mp4")
    assert found[of_box(left)][:44].all(axis=(1, 2)).all(), "held until the next sample"
    assert found[of_box(right)][41:].all(axis=(1, 2)).all(), "from the sample before"
    assert not found[:, :, 10:12].any()


def test_frames_of_which_nothing_is_known_are_hidden_as_a_whole(checks: Path, tmp_path: Path) -> None:
    rows = [Row(at, None) for at in (*range(10, 20), 40, 41)]  # --start, a gap of more than half a second, --end
    whole = hidden(checks, rows, tmp_path / "out.mp4").all(axis=(1, 2))
    times = np.array(PTS) * float(TIME_BASE)
    assert whole[:10].all()
    assert not whole[10:20].any()
    assert whole[20:40].all()
    assert not whole[40:42].any()
    assert whole[times > times[41] + HOLD_S].all()


# --- panel


@pytest.mark.parametrize("blur", [False, True])
def test_panel_lies_beside_the_picture_and_moves(checks: Path, tmp_path: Path, blur: bool) -> None:
    table = make_table(tmp_path / "v.parquet", [Row(at) for at in range(len(PTS))])
    render(checks, table, tmp_path / "out.mp4", labels=False, panel=True, blur=blur)
    pts, images = decoded(tmp_path / "out.mp4")
    assert pts == PTS
    assert images.shape[2] == 176
    assert images.shape[1] > 180
    before = decoded(checks)[1]
    assert np.abs(images[:, :144, :40] - before[:, :, :40]).mean() < 12, "the picture keeps its size"
    bright = images[:, 150:170, 60:140].min(axis=3).sum(axis=1).argmax(axis=1)  # the playhead
    assert (np.diff(bright[5:]) >= 0).mean() > 0.95
    assert bright[-1] - bright[5] > 30
    red = images[-1, 144:, :, 0] - images[-1, 144:, :, 2]
    assert (red > 80).mean() > 0.03, "anger"


def test_a_video_is_known_by_its_contents_whatever_its_name(video: Path, tmp_path: Path) -> None:
    rows = [Row(0)]
    out = tmp_path / "out.mp4"
    size = video.stat().st_size
    good = make_table(tmp_path / "a.parquet", rows, name="other.mp4", size=size, sha256=sha256_of(video))
    render(video, good, out)
    out.unlink()
    for name in ("other.mp4", video.name):
        bad = make_table(tmp_path / "b.parquet", rows, name=name, size=size, sha256="0" * 64)
        refused(video, bad, out, InputError, "sha256")
    other = make_table(tmp_path / "c.parquet", rows, name=video.name, size=size, width=640, height=360)
    refused(video, other, out, InputError, "its frames are 640x360, those of the video 176x144")
