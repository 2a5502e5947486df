"""What `watch` leaves on the disk and says, whatever the disk does and however it is ended; cameras are files here."""

import errno
import json
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import av
import duckdb
import numpy as np
import pandas as pd
import pytest
from patience import PATIENCE_S, until
from streams import clip
from watching import OneFace, Watching, events, footers, start, table

from vidfer.output import archive as archive_module
from vidfer.output.files import put_in_place
from vidfer.pipeline import rolling
from vidfer.pipeline.board import EMOTION_SMOOTH
from vidfer.schema import observation_schema


class Disk:
    """A disk that can be full, for tables."""

    def __init__(self, monkeypatch):
        self.full = False
        monkeypatch.setattr(archive_module, "put_in_place", self.put)
        monkeypatch.setattr("vidfer.pipeline.rolling._RETRY_S", 0.05)

    def put(self, part, path):
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put_in_place(part, path)


def test_a_full_disk_pauses_writing_loudly_and_watching_goes_on(tmp_path, loops, monkeypatch, caplog):
    disk = Disk(monkeypatch)
    with Watching(tmp_path, str(clip(loops))) as watching:
        watching.until_pieces(1)
        disk.full = True
        paused = watching.until(lambda c: c.writing.startswith("paused: cannot write"))
        assert "No space left on device" in paused.writing
        watching.until_frames(20)
        disk.full = False
        watching.until(lambda c: c.writing == "on")
        watching.until_frames(20)
    said = [event for event, _ in events(tmp_path)]
    assert said.count("writing paused") == said.count("writing resumed") == 1
    assert any(record.levelname == "ERROR" and "writing paused" in record.message for record in caplog.records)
    lost = sum(footer["counts"]["not_written"] for footer in footers(tmp_path))
    rows = table(tmp_path)
    assert lost > 0
    assert len(rows) + lost == watching.result[0].frames
    assert (np.diff(rows["frame"]) > 0).all()


def test_a_disk_that_stays_full_is_an_error_at_the_end(tmp_path, loops, monkeypatch):
    disk = Disk(monkeypatch)
    watching = Watching(tmp_path, str(clip(loops, seconds=1)))
    disk.full = True
    with pytest.raises(Exception, match="frames could not be written: cannot write"), watching:
        watching.join()
    assert watching.parts() == []


class FaceOfNobody(OneFace):
    """Sees nothing but nonsense in large pictures."""

    def detect(self, picture):
        found = super().detect(picture)
        return replace(found, box_px=found.box_px * np.float32("nan")) if picture.width > 320 else found


def test_a_camera_that_breaks_the_analysis_takes_nothing_from_the_other(tmp_path, loops):
    urls = [str(clip(loops, seconds=1)), str(clip(loops, size=(480, 270), seconds=1))]
    with Watching(tmp_path, *urls, models=FaceOfNobody()) as watching:
        watching.join()
    good, bad = watching.result
    assert good.frames == 25 - good.dropped == len(table(tmp_path)) > 0
    assert bad.frames == 0
    assert bad.dropped == 25


def test_a_piece_that_cannot_be_made_costs_itself_only(tmp_path, loops, monkeypatch):
    make, names = rolling._rows, []

    def fail_once(results, camera, landmarks):
        if "480x270" in camera:
            names.append(camera)
            if len(names) == 1:
                raise ValueError("column valence holds a NaN")
        return make(results, camera, landmarks)

    monkeypatch.setattr(rolling, "_rows", fail_once)
    urls = [str(clip(loops, seconds=2)), str(clip(loops, size=(480, 270), seconds=2))]
    with Watching(tmp_path, *urls, record=True) as watching:
        watching.join()
    rows = table(tmp_path).groupby("source").size()
    lost = sum(footer["counts"]["not_written"] for footer in footers(tmp_path, names[0]))
    assert lost > 0
    assert rows[names[0]] + lost == watching.result[1].frames
    assert rows["h264-320x180-2"] == watching.result[0].frames
    assert ("piece lost", f"ValueError: column valence holds a NaN: {lost} frames") in events(tmp_path, names[0])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_at_the_very_end_leaves_what_is_there_written(tmp_path, loops, monkeypatch, error):
    """A fault of one camera costs the others nothing; and whatever happens, the writer is closed."""

    def fail(follower):
        raise error("the end")

    monkeypatch.setattr("vidfer.pipeline.follow.CameraFollower.flush", fail)
    urls = [str(clip(loops, seconds=1)), str(clip(loops, size=(480, 270), seconds=1))]
    watching = Watching(tmp_path, *urls, segment=60.0)
    with pytest.raises(error) if error is KeyboardInterrupt else nullcontext(), watching:
        watching.join()
    assert set(table(tmp_path)["source"]) == {"h264-320x180-1", "h264-480x270-1"}
    assert len(table(tmp_path)) == sum(footer["counts"]["analysed"] for footer in footers(tmp_path))


def test_the_next_run_goes_on_where_this_one_ended(tmp_path, loops):
    for _ in range(2):
        with Watching(tmp_path, str(clip(loops, seconds=1))) as watching:
            watching.join()
    rows = table(tmp_path)
    assert (np.diff(rows["frame"]) > 0).all()
    assert (np.diff(rows["timestamp"]) >= 0).all()
    first, second = rows[rows["epoch"] == 0], rows[rows["epoch"] == 1]
    assert len(first) + len(second) == len(rows)
    assert set(first["face_id"]).isdisjoint(second["face_id"])
    assert first["face_id"].max() < second["face_id"].min()


def test_the_table_is_that_of_the_schema_and_says_what_made_it(tmp_path, loops):
    with Watching(tmp_path, str(clip(loops, seconds=1)), lag=0.2, landmarks="478") as watching:
        watching.join()
    rows = table(tmp_path)
    assert list(rows)[:-2] == observation_schema(478).names
    assert set(rows["camera"].astype(str)) == set(rows["source"]) == {"h264-320x180-1"}
    assert rows["wallclock"].notna().all()
    footer = footers(tmp_path)[-1]
    assert footer["smoothing"]["lag_s"] == 0.2
    assert footer["source"] == {
        "name": "h264-320x180-1",
        "url": str(clip(loops, seconds=1)),
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "width": 320,
        "height": 180,
    }
    counts = [footer["counts"] for footer in footers(tmp_path)]
    total = {name: sum(count[name] for count in counts) for name in counts[0]}
    assert total["analysed"] == len(rows) == watching.result[0].frames
    assert total["faces"] == watching.result[0].faces
    assert total["decoded"] == 25 == total["analysed"] + total["dropped"]


@pytest.mark.parametrize("blur", [False, True])
def test_recordings_lie_beside_the_pieces_and_show_the_same_frames(tmp_path, loops, blur):
    path = clip(loops, seconds=1)
    with Watching(tmp_path, str(path), record=True, blur=blur) as watching:
        watching.join()
    tables = [str(part.relative_to(tmp_path))[: -len(".parquet")] for part in watching.parts()]
    videos = sorted((tmp_path / "_video").rglob("*.mp4"))
    assert [str(video.relative_to(tmp_path / "_video"))[: -len(".mp4")] for video in videos] == tables
    rows = table(tmp_path)
    times, shown = [], []
    for video in videos:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                times.append(frame.time)
                shown.append(frame.to_ndarray(format="gray"))
    assert len(shown) == len(rows)
    for video, part in zip(videos, watching.parts(), strict=True):
        stamps = table(part)["timestamp"].to_numpy()
        with av.open(str(video)) as container:
            assert [f.time for f in container.decode(video=0)] == pytest.approx(stamps - stamps[0], abs=1e-3)
    with av.open(str(path)) as container:
        originals = {i: f.to_ndarray(format="gray") for i, f in enumerate(container.decode(video=0))}
    at = rows["frame"].to_numpy()
    inside = [
        np.abs(s[70:110, 100:140].astype(int) - originals[i][70:110, 100:140]).mean()
        for s, i in zip(shown, at, strict=True)
    ]
    assert (min(inside) > 5) if blur else (max(inside) < 3)
    dots = [
        np.abs(s[18:23, 18:23].astype(int) - originals[i][18:23, 18:23]).mean() for s, i in zip(shown, at, strict=True)
    ]
    assert (max(dots) < 3) == blur, "landmarks show the shape of a face"


@pytest.mark.parametrize("blur", [False, True])
def test_pictures_are_made_for_those_who_look_only(tmp_path, loops, blur):
    """And nobody gets to see a face that recordings hide."""
    path = clip(loops)
    with Watching(tmp_path, str(path), blur=blur) as watching:
        watching.until_frames(5)
        name = watching.camera().name
        assert watching.board.latest(name).image is None
        with watching.board.look(name):
            watching.until(lambda c: watching.board.latest(name).image is not None)
            frame = watching.board.latest(name)
        watching.until(lambda c: watching.board.latest(name).image is None)
    assert frame.image.shape == (180, 320, 3)
    assert not frame.image.flags.writeable
    assert frame.result.faces.heads[EMOTION_SMOOTH].shape == (len(frame.result.faces), 8)
    assert frame.blurred == blur
    with av.open(str(path)) as container:
        original = next(islice(container.decode(video=0), frame.index, None)).to_ndarray(format="rgb24")
    changed = np.abs(frame.image.astype(int) - original)
    assert changed[:15].max() < 8
    assert (changed[70:110, 100:140].mean() > 5) == blur


class Doubtful(OneFace):
    """Finds what may be no face."""

    def analyse(self, pictures, boxes_px):
        return [{**heads, "presence": heads["presence"] * 0.1} for heads in super().analyse(pictures, boxes_px)]


def test_what_may_be_no_face_is_not_told_but_hidden(tmp_path, loops):
    path = clip(loops)
    with Watching(tmp_path, str(path), models=Doubtful(), blur=True) as watching:
        watching.until_frames(1)
        name = watching.camera().name
        with watching.board.look(name):
            watching.until(lambda c: watching.board.latest(name).image is not None)
            frame = watching.board.latest(name)
    assert len(frame.result.faces) == watching.result[0].faces == 0
    assert table(tmp_path)["face_id"].isna().all()
    box = frame.image[70:110, 100:140]
    assert ((np.diff(box.astype(int), axis=0) != 0).any(axis=(1, 2)).sum()) < 10, "a few squares"


def test_old_pieces_go_while_it_runs(tmp_path, loops, monkeypatch):
    monkeypatch.setattr("vidfer.pipeline.watch._RETAIN_S", 0.0)
    with Watching(tmp_path, str(clip(loops)), keep_gb=60e-6, record=True) as watching:
        watching.until(lambda c: len(footers(tmp_path)) >= 1)
        first = watching.parts()[0]
        watching.until(lambda c: not first.exists(), what="the first piece is removed")
    assert sum(f.stat().st_size for f in tmp_path.rglob("part-*")) < 300_000


def test_sigterm_ends_it_in_good_order(tmp_path, loops):
    process = start(str(clip(loops)), "-o", str(tmp_path / "out"), "--segment", "0.5", "--log-json", "--record")
    try:
        until(lambda: list(tmp_path.glob("out/camera=*/date=*/part-*.parquet")))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    log = [json.loads(line) for line in err.splitlines()]
    assert {entry["event"] for entry in log} == {"live"}
    assert out.startswith("h264-320x180-120: live: ")
    frames = int(out.split(" frames")[0].rsplit(" ", 1)[1])
    assert len(table(tmp_path / "out")) == frames
    assert list((tmp_path / "out" / ".vidfer").iterdir()) == [tmp_path / "out" / ".vidfer" / "lock"]


def test_others_read_the_table_while_it_grows(tmp_path, loops):
    query = f"SELECT count(*) FROM read_parquet('{tmp_path}/camera=*/*/*.parquet', hive_partitioning=true)"
    with Watching(tmp_path, str(clip(loops)), segment=0.2) as watching:
        watching.until_pieces(1)
        seen = []

        def has_grown():
            seen.extend([duckdb.sql(query).fetchall()[0][0], len(table(tmp_path)), len(pd.read_parquet(tmp_path))])
            return len(watching.parts()) >= 6 and seen[0] < seen[-1]

        until(has_grown)
    assert seen == sorted(seen)
    assert seen[0] > 0
    assert duckdb.sql(query).fetchall()[0][0] == watching.result[0].frames


def test_killed_it_loses_no_more_than_the_last_piece(tmp_path, loops):
    process = start(str(clip(loops)), "-o", str(tmp_path / "out"), "--segment", "0.5", "--record")
    try:
        until(lambda: len(list(tmp_path.glob("out/camera=*/date=*/part-*.parquet"))) >= 2)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    assert len(table(tmp_path / "out")) > 0
    for video in (tmp_path / "out").rglob("*.mp4"):
        if video.stat().st_size > 4096:  # the last one may hold nothing yet
            with av.open(str(video)) as container:
                assert next(container.decode(video=0), None) is not None
    with Watching(tmp_path / "out", str(clip(loops, seconds=1))) as watching:
        watching.join()
    assert watching.result[0].frames > 0
