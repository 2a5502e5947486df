"""Forty damaged files (`damage.py`): no hang, no crash, every frame that FFmpeg gets out, the loss in the counts."""

import json
import subprocess
import sys

import clips
import damage
import numpy as np
import pytest

from vidfer.errors import InputError
from vidfer.media.file import VideoFile
from vidfer.media.probe import probe

# In a process of its own: a decoder may crash or hang.
READER = """
import json, logging, sys
from dataclasses import asdict
from vidfer.errors import InputError
from vidfer.media.file import VideoFile

logging.disable()
for path in sys.argv[1:]:
    try:
        with VideoFile(path) as video:
            frames = [(frame.index, frame.pts, frame.time_s, frame.corrupt) for frame in video]
    except InputError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
    else:
        counts = {**asdict(video.counts), "analysed": video.counts.analysed}
        about = {"counts": counts, "frames": frames, "truncated": video.truncated, "warnings": video.warnings}
        print(json.dumps(about), flush=True)
"""
TIME_LIMIT_S = 300

# What can be known: the header of an MP4 or WebM is needed, and lies at the beginning.
REFUSED = {
    *[("b_frames", way) for way in ("header", "beheaded")],
    *[("open_gop", way) for way in ("header", "beheaded")],
    *[("vp9", way) for way in ("header", "beheaded")],
}
# The damage of these leaves no trace: bytes that nobody reads, or pictures that a decoder takes for good.
NO_LOSS = {("mpeg2", "header"), ("h264_avi", "header"), ("h264_avi", "beheaded")}


def read(paths):
    done = subprocess.run(
        [sys.executable, "-c", READER, *map(str, paths)], capture_output=True, text=True, timeout=TIME_LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    sources = {kind: clips.write_clip(folder, kind, count=100) for kind in damage.SOURCES}
    paths = {case: damage.damage(sources[case[0]], case[1]) for case in damage.CASES}
    return {case: (path, outcome) for (case, path), outcome in zip(paths.items(), read(paths.values()), strict=True)}


def test_there_are_forty_and_they_differ(outcomes):
    assert len(outcomes) == 40
    assert len({path.read_bytes() for path, _ in outcomes.values()}) == 40


def test_few_are_refused_in_one_line(outcomes):
    refused = {case: outcome["refused"] for case, (_, outcome) in outcomes.items() if "refused" in outcome}
    assert refused.keys() == REFUSED
    for (_, way), message in refused.items():
        assert "\n" not in message
        assert way in message
        assert "cannot be read" in message or "no frame that can be decoded" in message


def test_accounting_adds_up_and_the_loss_is_told(outcomes):
    for case, (_, outcome) in outcomes.items():
        if "refused" in outcome:
            continue
        counts = outcome["counts"]
        assert counts["packets"] == counts["decoded"] + counts["undecodable"] + counts["discarded"], case
        assert counts["decoded"] == counts["analysed"] == len(outcome["frames"]), case
        assert counts["corrupt"] == sum(corrupt for *_, corrupt in outcome["frames"]), case
        lost = counts["decoded"] < 100 or counts["corrupt"] > 0
        assert bool(outcome["warnings"]) == (case not in NO_LOSS), case
        assert not lost or outcome["warnings"], case
        if case[1] in ("half", "tail"):
            assert outcome["truncated"], case
            assert "is cut off" in outcome["warnings"][0], case
        if case[1] in ("burst", "hole", "header"):
            # An AVI without its index ends where a chunk cannot be found.
            assert not outcome["truncated"] or case == ("h264_avi", "hole"), case


def test_every_frame_that_ffmpeg_gets_out(outcomes, ffprobe):
    for case, (path, outcome) in outcomes.items():
        if "refused" in outcome:
            continue
        options = ("-err_detect", "ignore_err", "-count_frames", "-select_streams", "v:0")
        found = ffprobe.ask(path, *options, "-show_entries", "stream=nb_read_frames", "-v", "quiet")
        assert len(outcome["frames"]) >= int(found["streams"][0]["nb_read_frames"]), case


def test_no_damage_leaves_nothing_to_tell(tmp_path):
    for kind, outcome in zip(
        clips.KINDS, read([clips.write_clip(tmp_path, kind) for kind in clips.KINDS]), strict=True
    ):
        assert (outcome["warnings"], outcome["truncated"]) == ([], False), kind
        assert outcome["counts"]["undecodable"] == outcome["counts"]["corrupt"] == 0


def test_many_more(tmp_path):
    """Other damage to other clips, 250 times: nothing but a refusal comes out of it, and reading goes on."""
    paths = [clips.write_clip(tmp_path, kind) for kind in clips.KINDS if kind != "cinepak"]
    refused = 0
    for seed in range(250):
        rng = np.random.default_rng([damage.SEED, seed])
        source, way = paths[seed % len(paths)], damage.WAYS[int(rng.integers(len(damage.WAYS)))]
        copy = tmp_path / f"copy{source.suffix}"
        copy.write_bytes(way(np.frombuffer(source.read_bytes(), np.uint8).copy(), rng).tobytes())
        try:
            video = VideoFile(copy)
        except InputError:
            refused += 1
            continue
        with video:
            marks = [frame.bookmark() for frame in video]
        counts = video.counts
        assert counts.packets == counts.decoded + counts.undecodable + counts.discarded, seed
        at = int(rng.integers(len(marks)))
        with VideoFile(copy, bookmark=marks[at]) as again:
            assert [frame.index for frame in again] == list(range(at + 1, len(marks))), seed
        assert (again.counts, again.truncated, again.info) == (counts, video.truncated, video.info), seed
        probe(copy)
    assert 10 <= refused <= 80
