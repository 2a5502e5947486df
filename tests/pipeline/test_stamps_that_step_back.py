"""Damaged clips with faces, whose stamps step back: processed, smoothed again and drawn like any other."""

from __future__ import annotations

import shutil
import subprocess
from itertools import islice
from pathlib import Path

import av
import damage
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer.media.file import VideoFile
from vidfer.pipeline.render import render
from vidfer.pipeline.resmooth import smooth_table
from vidfer.schema import observation_schema, tracks_schema
from vidfer.types import EMOTIONS

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "two_faces.mp4"
CASES = [("ts", "burst"), ("ts", "gap"), ("mp4", "burst"), ("mkv", "swapped")]
SEED = 1


def small(target):
    """The first 40 frames of the demo clip; re-encoded, so that B-frames depend on damage."""
    options = ("-t", "1.6", "-vf", "scale=320:-2", "-c:v", "libx264", "-threads", "1", "-g", "10", "-bf", "2", "-an")
    subprocess.run(["ffmpeg", "-v", "error", "-i", CLIP, *options, target], check=True)
    return target


def swapped(source, target):
    """Undamaged, without B-frames, but the stamps of frames 20 and 23 are exchanged."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.bit_rate = 2_000_000
        packets = [p for frame in islice(reading.decode(video=0), 40) for p in stream.encode(frame.reformat(320, 180))]
        packets += stream.encode(None)
        for number, packet in enumerate(packets):
            packet.dts = number - 5  # Matroska does not keep it
        packets[20].pts, packets[23].pts = packets[23].pts, packets[20].pts
        for packet in packets:
            container.mux(packet)
    return target


def damaged(suffix, way, folder):
    if way == "swapped":
        return swapped(CLIP, folder / "clip.mkv")
    source = small(folder / f"whole.{suffix}")
    ways = {one.__name__: one for one in damage.WAYS}
    content = ways[way](np.frombuffer(source.read_bytes(), np.uint8).copy(), np.random.default_rng([SEED]))
    (target := folder / f"clip.{suffix}").write_bytes(content.tobytes())
    return target


@pytest.mark.parametrize(("suffix", "way"), CASES)
def test_they_are_processed_to_the_end(suffix, way, tmp_path):
    video = damaged(suffix, way, tmp_path)
    with VideoFile(video) as file:
        times = [frame.time_s for frame in file]
    assert (np.diff(times) < 0).any(), "that is what this is about"
    done = vidfer.process(video, output_dir=tmp_path / "medium", smooth="medium", render=True)
    assert done.report["state"] == "done"
    counts = done.report["counts"]
    assert counts["packets"] == counts["decoded"] + counts["undecodable"] + counts["discarded"]
    assert counts["decoded"] == counts["analysed"] == len(times)
    valid(done.table_path, times)
    with av.open(str(done.video_path)) as drawn:
        assert sum(1 for _ in drawn.decode(video=0)) == len(times)
    render(video, done.table_path, tmp_path / "panel.mp4", panel=True, blur=True)
    strong = vidfer.process(video, output_dir=tmp_path / "strong", smooth="strong", render=False)
    again = shutil.copy(done.table_path, tmp_path / "again.parquet")
    smooth_table(Path(again), "strong")
    assert plain(again).equals(plain(strong.table_path)), "as `process` has it, bit for bit"


def test_between_sampled_frames_too(tmp_path):
    video = damaged("ts", "gap", tmp_path)
    done = vidfer.process(video, output_dir=tmp_path / "out", stride=3, smooth="off", render=True)
    assert done.report["state"] == "done"
    render(video, done.table_path, tmp_path / "blurred.mp4", blur=True)


def valid(path, times):
    """A table as the contract has it, with faces."""
    table, tracks = pq.read_table(path), pq.read_table(path.with_name(f"{path.stem}.tracks.parquet"))
    assert table.schema.names == observation_schema(68).names
    assert tracks.schema.names == tracks_schema().names
    frames = table.to_pandas()
    assert sorted(set(frames.frame)) == list(range(len(times)))
    assert frames.drop_duplicates("frame").timestamp.tolist() == times
    assert not frames.duplicated(["frame", "face_id"]).any()
    faces = frames[frames.face_status.isin(["detected", "tracked"])]
    assert len(faces) > len(times) / 2
    assert np.allclose(faces[[f"emotion_{name}_smooth" for name in EMOTIONS]].sum(axis=1), 1, atol=1e-4)
    tracks = tracks.to_pandas().set_index("face_id")
    assert set(faces.face_id) == set(tracks.index)
    assert faces.groupby("face_id").size().to_dict() == tracks.frames.to_dict()
    assert tracks.coverage.between(0, 1).all()


def plain(path):
    """The table with texts in place of dictionaries, which may differ from row group to row group."""
    table = pq.read_table(path)
    texts = [f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(texts))
