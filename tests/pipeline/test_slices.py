"""A file analysed in slices gives what one pass gives: the same frames, times, counts and warnings, the same people."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import clips
import damage
import kill
from fields import write_fields
from mot_score import read_table, score

from vidfer.errors import InputError, UsageError
from vidfer.media.file import VideoFile
from vidfer.media.forecast import Forecast
from vidfer.media.timecode import Sampling
from vidfer.pipeline import resume, split
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.results import Outputs
from vidfer.pipeline.run import process_file
from vidfer.pipeline.slices import Slice, analyse_slice, plan_slices
from vidfer.pipeline.stitch import stitch

FACES = Path(__file__).parents[2] / "examples" / "two_faces.mp4"


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.fixture
def short_overlap(monkeypatch):
    """Clips of a few seconds can be split."""
    monkeypatch.setattr(split, "OVERLAP_S", 0.3)
    monkeypatch.setattr(split, "OVERLAP_FRAMES", 3)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Four seconds of two people with a key frame in every second and one cut."""
    path = tmp_path_factory.mktemp("clip") / "faces.mp4"
    with av.open(str(FACES)) as theirs, av.open(str(path), "w") as ours:
        stream = ours.add_stream("libx264", rate=25, options={"g": "25", "preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index, frame in enumerate(theirs.decode(video=0)):
            if index >= 100:
                break
            image = frame.to_ndarray(format="rgb24")
            if index >= 60:  # the same people, mirrored: another shot
                image = image[:, ::-1]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24").reformat(640, 360, "yuv420p")
            picture.pts = None
            ours.mux(stream.encode(picture))
        ours.mux(stream.encode(None))
    return path


class Both:
    """One pass, and slices, of one clip."""

    def __init__(self, folder, path, models, **settings):
        self.folder, self.path, self.models = folder, path, models
        settings = {"render": False, "landmarks": None, **settings}
        self.one, self.many = (ProcessOptions(output_dir=folder / name, **settings) for name in ("one", "many"))
        self.outputs = Outputs.of(folder / "many", path.stem)

    def plan(self, slice_s):
        self.slices = [Slice.from_dict(json.loads(json.dumps(part.as_dict()))) for part in self.planned(slice_s)]
        self.folders = [self.folder / part.key for part in self.slices]
        return self.slices

    def planned(self, slice_s):
        return plan_slices(self.path, self.many, slice_s)

    def analyse(self, number, progress=None):
        return analyse_slice(
            self.path, self.many, self.slices[number], self.folders[number], self.models, progress=progress
        )

    def stitch(self, **more):
        return stitch(self.path, self.many, self.slices, self.folders, self.outputs, self.models, **more)

    def run(self, slice_s, order=None):
        process_file(self.path, self.one, models=self.models)
        self.plan(slice_s)
        results = {number: self.analyse(number) for number in order or range(len(self.slices))}
        self.stitch()
        return results

    def tables(self):
        return [pq.read_table(self.folder / name / f"{self.path.stem}.parquet") for name in ("one", "many")]

    def differences(self):
        return kill.differences(self.folder / "many", self.folder / "one")


SETTINGS = [{}, {"fps": 7}, {"stride": 3}, {"start": "0.6", "end": "2.9"}, {"detect_every": 4}, {"end": "90f"}]
KINDS = {"b_frames": 0, "open_gop": 1, "intra_refresh": 3, "interlaced": 4, "vp9": 2, "mpeg2": 5}


@pytest.mark.parametrize("kind", KINDS)
def test_every_codec_and_sampling(tmp_path, short_overlap, models, kind):
    """Without faces all of the results are the same, to the last bit, count and warning."""
    both = Both(tmp_path, clips.write_clip(tmp_path, kind, count=90), models, **SETTINGS[KINDS[kind]])
    assert len(both.run(random.Random(kind).uniform(0.9, 1.3))) > 1
    assert both.differences() == []


STAMPS = np.arange(80) * clips.STEP
ODD_STAMPS = {
    "negative": STAMPS - 5000,
    "holes": STAMPS + np.where(np.arange(80) >= 33, 40 * clips.STEP, 0),
    "uneven": np.cumsum(np.random.default_rng(5).integers(100, 2000, 80)),
}


@pytest.mark.parametrize("stamps", ODD_STAMPS)
def test_odd_stamps(tmp_path, short_overlap, models, stamps):
    both = Both(tmp_path, clips.write_clip(tmp_path, "b_frames", pts=ODD_STAMPS[stamps], count=80), models)
    assert len(both.run(1.2)) > 1
    assert both.differences() == []


@pytest.mark.parametrize(("kind", "where"), [("b_frames", 0.15), ("open_gop", 0.6), ("mpeg2", 0.15)])
def test_damage_on_the_way(tmp_path, short_overlap, models, kind, where):
    """Frames that are missing move all that follow; where slices do not meet, stitching analyses the rest."""
    path = clips.write_clip(tmp_path, kind, count=90)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(int(100 * where))
    for spot in (where * len(data) + rng.integers(0, 1500, 40)).astype(int):
        data[spot] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    both = Both(tmp_path, path, models)
    both.run(1.0)
    assert both.differences() == []


def test_a_slice_whose_key_frame_is_damaged(tmp_path, short_overlap, models):
    """Nothing can be read from there on: stitching analyses the rest of the file."""
    path = clips.write_clip(tmp_path, "hevc", count=90)
    both = Both(tmp_path, path, models)
    _, _, at, size = both.plan(1.5)[1].bookmark["seek"]
    data = bytearray(path.read_bytes())
    data[at : at + size] = bytes(size)
    path.write_bytes(data)
    assert "lost" in {result.state for result in both.run(1.5).values()}
    assert both.differences() == []


@pytest.mark.parametrize("way", ["half", "beheaded"])
def test_a_part_of_a_recording(tmp_path, short_overlap, models, way):
    both = Both(tmp_path, damage.damage(clips.write_clip(tmp_path, "mpeg2", count=140), way), models)
    assert len(both.run(1.0)) > 1
    assert both.differences() == []


def test_stamps_that_step_back_are_not_split(tmp_path, models):
    path = tmp_path / "back.ts"
    whole = clips.write_clip(tmp_path, "mpeg2", count=60).read_bytes()
    path.write_bytes(whole + whole)
    assert len(Both(tmp_path, path, models).plan(1.0)) == 1


def test_what_cannot_be_split_is_one_slice(tmp_path, short_overlap, models):
    one_key = clips.write_clip(tmp_path, "av1", count=15)
    fields = tmp_path / "fields.mp4"
    write_fields(fields, count=80)
    for path in (clips.write_clip(tmp_path, "h264_avi", count=80), fields, one_key):
        (part,) = Both(tmp_path, path, models).plan(0.5)
        assert (part.begin, part.end, part.bookmark, part.count) == (None, None, None, 1)


def test_one_slice_gives_the_same_too(tmp_path, models):
    both = Both(tmp_path, clips.write_clip(tmp_path, "mpeg4", count=40), models)
    assert len(both.run(0.5)) == 1
    assert both.differences() == []


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc_ts", "vp8"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(fps=7.0)], ids=["all", "fps"])
def test_the_forecast_tells_what_reading_gives(tmp_path, kind, sampling):
    """Reading can begin at every key frame, near to it in the file, and gives what reading all would give."""
    path = clips.write_clip(tmp_path, kind, count=60)
    with VideoFile(path, sampling=sampling) as video:
        frames = [(frame.index, frame.pts, frame.time_s) for frame in video]
        counts, warnings, info = video.counts, video.warnings, video.info
        forecast = Forecast(
            path,
            stream=0,
            sampling=sampling,
            time_base=info.time_base,
            frame_rate=info.average_frame_rate,
            container=info.container,
            first_pts=video.first_pts,
            apart_s=0.5,
        )
    assert list(zip(forecast.index.tolist(), forecast.pts.tolist(), forecast.time_s.tolist(), strict=True)) == frames
    assert len(forecast.anchors) > 1
    for anchor in forecast.anchors:
        mark = json.loads(json.dumps(anchor.bookmark))
        with VideoFile(path, sampling=sampling, bookmark=mark) as video:
            assert [(f.index, f.pts, f.time_s) for f in video] == [f for f in frames if f[0] > anchor.index]
            assert (video.counts, video.warnings, video.info) == (counts, warnings, info)


def compared(both):
    one, many = both.tables()
    names = ["frame", "pts", "timestamp", "epoch", "shot", "frame_status"]
    first, second = (table.select(names).to_pandas().drop_duplicates("frame") for table in (one, many))
    assert first.reset_index(drop=True).equals(second.reset_index(drop=True))
    faces = [table.select(["frame", "n_faces"]).to_pandas().drop_duplicates("frame") for table in (one, many)]
    assert (faces[0]["n_faces"].to_numpy() == faces[1]["n_faces"].to_numpy()).mean() >= 0.99
    found = [read_table(both.folder / name / f"{both.path.stem}.parquet") for name in ("one", "many")]
    assert score(*found).idf1 >= 0.99
    reports = [json.loads((both.folder / n / f"{both.path.stem}.run.json").read_text()) for n in ("one", "many")]
    counts = [{k: v for k, v in report["counts"].items() if k != "faces"} for report in reports]
    assert counts[0] == counts[1]
    assert counts[0]["packets"] == counts[0]["decoded"] + counts[0]["undecodable"] + counts[0]["discarded"]
    return one, many


def test_the_same_people_at_the_same_moments(tmp_path, short_overlap, models, faces):
    """And a slice that begins at a cut, to the last bit what one pass gives."""
    both = Both(tmp_path, faces, models)
    results = both.run(2.2, order=[1, 0])
    assert [part.at_cut for part in both.slices] == [False, True]
    assert sum(result.frames for result in results.values()) < 120
    one, many = compared(both)
    assert one.equals(many)


def test_a_slice_begins_in_a_shot(tmp_path, short_overlap, models, faces):
    both = Both(tmp_path, faces, models, end="2.2")
    both.run(1.0)
    assert [part.at_cut for part in both.slices] == [False, False]
    compared(both)


class StopError(Exception):
    """What a test raises inside a run."""


def test_interrupted_slices_go_on_and_are_never_done_again(tmp_path, short_overlap, models, faces, monkeypatch):
    monkeypatch.setattr(resume, "_PART_S", 0.0)
    both = Both(tmp_path, faces, models, end="2.2")
    process_file(faces, both.one, models=models)

    def stop(moment):
        if moment.frames_done >= 20:
            raise StopError

    both.plan(1.0)
    for number in range(2):
        with pytest.raises(StopError):
            both.analyse(number, stop)
        assert both.analyse(number).state == "resumed"
        assert both.analyse(number, stop).state == "already done"

    def stop_finish(moment):
        raise StopError

    with pytest.raises(StopError):
        both.stitch(progress=stop_finish)
    assert both.stitch().state == "resumed"
    assert both.stitch().state == "already done"
    assert not both.outputs.parts.exists()
    compared(both)


CHILD = """
import json, os, sys
from pathlib import Path
from vidfer.pipeline import resume
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.slices import Slice, analyse_slice
resume._PART_S = 0.0
path, folder, out, part = sys.argv[1:]
def stop(moment):
    if moment.frames_done >= 15:
        os.kill(os.getpid(), 9)
options = ProcessOptions(output_dir=Path(out), render=False, landmarks=None, end="2.2")
analyse_slice(Path(path), options, Slice.from_dict(json.loads(part)), Path(folder), progress=stop)
"""


def test_a_killed_slice_goes_on(tmp_path, short_overlap, models, faces):
    both = Both(tmp_path, faces, models, end="2.2")
    both.plan(1.0)
    part = json.dumps(both.slices[1].as_dict())
    told = [sys.executable, "-c", CHILD, str(faces), str(both.folders[1]), str(both.many.output_dir), part]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(told, env=environment, timeout=400, check=False).returncode == -signal.SIGKILL
    assert both.analyse(1).state == "resumed"
    process_file(faces, both.one, models=models)
    both.analyse(0)
    both.stitch()
    compared(both)


def test_what_is_missing_or_made_otherwise_is_refused(tmp_path, short_overlap, models):
    path = clips.write_clip(tmp_path, "b_frames", count=75)
    both = Both(tmp_path, path, models)
    both.plan(1.0)
    with pytest.raises(UsageError, match=r"slice 1 of 3 is not in .*: analyse it again"):
        both.stitch()
    for number in range(3):
        both.analyse(number)
    with pytest.raises(UsageError, match="give all of them, in order"):
        stitch(path, both.many, both.slices[:2], both.folders[:2], both.outputs, models)
    other = ProcessOptions(output_dir=tmp_path / "many", render=False, landmarks=None, smooth="off")
    with pytest.raises(UsageError, match="was analysed otherwise"):
        stitch(path, other, both.slices, both.folders, both.outputs, models)
    assert not (tmp_path / "many").exists()
    with pytest.raises(InputError, match="not the file that its slices were planned for"):
        analyse_slice(FACES, both.many, both.slices[0], tmp_path / "elsewhere", models)
    with pytest.raises(UsageError, match="slice_s is 0"):
        plan_slices(path, both.many, 0)


def test_keys_tell_content_options_and_borders_apart(tmp_path, short_overlap, models):
    path = clips.write_clip(tmp_path, "b_frames", count=75)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    keys = [part.key for part in Both(tmp_path, path, models).plan(1.0)]
    assert [part.key for part in Both(tmp_path / "other", copy, models).plan(1.0)] == keys
    assert len({*keys, *(part.key for part in Both(tmp_path, path, models, smooth="off").plan(1.0))}) == 2 * len(keys)
    assert not {*keys[1:]} & {part.key for part in Both(tmp_path, path, models).plan(1.5)}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["composite_dev", "interview2", "WolfgangLanger_Pexels", "short_hamilton_clip"])
def test_real_videos(tmp_path, shared_videos, models, name):
    """A minute of each, in slices of random lengths."""
    path = kill.looped(shared_videos / f"{name}.mp4", 60, tmp_path)
    both = Both(tmp_path, path, models)
    assert len(both.run(random.Random(name).uniform(9, 25))) > 1
    compared(both)
