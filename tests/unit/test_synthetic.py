"""Drawn videos tell the truth about themselves."""

import csv
import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.media.file import VideoFile
from vidfer.media.synthetic import Placement, Sprite, SyntheticVideo, solid_sprite, write_video

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
RED, BLUE = (200, 20, 20), (20, 20, 200)
BLACK = np.zeros((90, 160, 3), np.uint8)


def video(*sprites, pts=(0, 512, 1024)):
    return SyntheticVideo(background=BLACK, sprites=sprites, pts=list(pts), time_base=Fraction(1, 12800))


def still(**where):
    return lambda _: Placement(**where)


@settings(max_examples=50)
@given(x=st.floats(40, 120), y=st.floats(30, 60), scale=st.floats(0.5, 1.5), turn=st.sampled_from([0.0, 90.0, 180.0]))
def test_the_box_is_where_the_pixels_are(x, y, scale, turn):
    sprite = solid_sprite(1, RED, 30, 20, still(x=x, y=y, scale=scale, turn_deg=turn))
    image, (truth,) = video(sprite).draw(0)
    ys, xs = np.nonzero(image[:, :, 0] > 100)
    assert np.allclose(truth.box_px, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.6)
    width, height = (20, 30) if turn == 90 else (30, 20)
    assert np.allclose(truth.box_px[2:] - truth.box_px[:2], [width * scale, height * scale], atol=0.05)
    assert truth.visibility > 0.85


def test_visibility_counts_what_covers_and_what_is_outside():
    behind = solid_sprite(1, RED, 40, 40, still(x=60, y=45))
    before = solid_sprite(2, BLUE, 40, 40, still(x=80, y=45))
    outside = solid_sprite(3, BLUE, 40, 40, still(x=160, y=45))
    gone = solid_sprite(4, BLUE, 40, 40, still(x=300, y=45))
    absent = solid_sprite(5, BLUE, 40, 40, lambda _: None)
    _, truth = video(behind, before, outside, gone, absent).draw(0)
    seen = {box.identity: box.visibility for box in truth}
    assert seen == {1: pytest.approx(0.5, abs=0.03), 2: pytest.approx(1, abs=0.01), 3: pytest.approx(0.5, abs=0.03)}


def test_transparent_corners_are_not_hidden():
    image = np.zeros((40, 40, 4), np.uint8)
    image[10:30, 10:30] = (200, 20, 20, 255)
    sprite = Sprite(identity=1, image=image, box=(0, 0, 40, 40), path=still(x=80, y=45))
    _, (truth,) = video(sprite).draw(0)
    assert truth.visibility == pytest.approx(1)


def test_frames_have_their_times_and_survive_a_file(tmp_path):
    def path(time_s):
        return Placement(x=40 + 400 * time_s, y=45)

    drawn = video(solid_sprite(1, RED, 30, 20, path), pts=[0, 512, 700, 2048])
    assert [frame.time_s for frame in drawn] == [0, 0.04, 700 / 12800, 0.16]
    write_video(
        tmp_path / "a.mp4", [(drawn.draw(i)[0], pts) for i, pts in enumerate(drawn.pts)], time_base=drawn.time_base
    )
    with VideoFile(tmp_path / "a.mp4") as file:
        for frame, original in zip(file, drawn, strict=True):
            assert (frame.index, frame.pts, frame.time_s) == (original.index, original.pts, original.time_s)
            assert np.abs(frame.picture.rgb().astype(int) - original.picture.rgb()).mean() < 3


def test_the_demo_clip_is_what_its_readme_says():
    with VideoFile(EXAMPLES / "two_faces.mp4") as clip:
        count = sum(1 for _ in clip)
        info = clip.info
    assert (info.width, info.height, count, info.codec, info.has_audio) == (854, 480, 250, "h264", True)
    assert (info.average_frame_rate, info.variable_frame_rate) == (25, False)
    assert info.size_bytes < 1_500_000
    with (EXAMPLES / "two_faces.gt.txt").open() as file:
        rows = [[float(value) for value in row] for row in csv.reader(file)]
    assert {len(row) for row in rows} == {9}
    assert {int(row[0]) for row in rows} == set(range(1, 251))
    assert {int(row[1]) for row in rows} == {1, 2}
    assert max(Counter((row[0], row[1]) for row in rows).values()) == 1
    assert all(row[6] == (row[8] >= 0.4) for row in rows if abs(row[8] - 0.4) > 0.005)
    present = sorted(int(row[0]) for row in rows if row[1] == 2 and row[6])
    gaps = [b - a for a, b in itertools.pairwise(present) if b - a > 1]
    assert len(gaps) == 2, "hidden behind the other one once, out of the picture once"
    assert max(gaps) > 25
