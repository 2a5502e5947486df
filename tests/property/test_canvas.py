"""Drawing on YUV planes: what is not drawn on stays to the bit, what is drawn looks as on RGB; all sources."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yuv import yuv_of

from vidfer.media.file import VideoFile
from vidfer.media.picture import VideoPicture
from vidfer.output.canvas import Canvas, painted
from vidfer.output.overlay import Overlay, OverlayFace, draw
from vidfer.output.sprites import Sprite
from vidfer.types import DETECTED, PREDICTED, ColourSpace

SPACES = [
    ColourSpace(matrix=matrix, full_range=full, primaries=1, transfer=1) for matrix in (1, 6, 9) for full in (0, 1)
]


def planes(width: int, height: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    return tuple(random.integers(0, 256, shape, np.uint8) for shape in shapes)


@given(st.integers(-40, 80), st.integers(-40, 60), st.floats(0.4, 6), st.integers(0, 99))
def test_only_what_is_drawn_on_changes_even_across_the_border(x: int, y: int, size: float, seed: int) -> None:
    before = planes(64, 48, seed)
    after = tuple(plane.copy() for plane in before)
    canvas, reach = Canvas(after), 2 * size + 8
    canvas.paste(Sprite.of([((90, 120, 130), np.ones((7, 9), np.float32))]).stamp(2), x, y)
    canvas.circle(x, y, size, (90, 120, 130))
    canvas.dots([(np.array([(x, y)], np.float32), size, (90, 120, 130))])
    canvas.lines([np.array([(x, y), (x + 5.5, y)])], (90, 120, 130), 3, closed=False)
    for step, old, new in zip((1, 2, 2), before, after, strict=True):
        rows, columns = np.nonzero(old != new)
        assert (rows * step >= y - reach).all()
        assert (rows * step <= y + reach + 9).all()
        assert (columns * step >= x - reach).all()
        assert (columns * step <= x + reach + 9).all()


def test_what_is_put_is_there_at_the_size_of_each_plane() -> None:
    drawn = planes(64, 48)
    canvas = Canvas(drawn)
    canvas.put(np.full((6, 10, 3), (1, 2, 3), np.uint8), 4, 8)
    canvas.fill(20, 10, 30, 16, (4, 5, 6))
    for number, (step, plane) in enumerate(zip((1, 2, 2), drawn, strict=True), start=1):
        assert (plane[8 // step : 14 // step, 4 // step : 14 // step] == number).all()
        assert (plane[10 // step : 16 // step, 20 // step : 30 // step] == number + 3).all()


@pytest.mark.parametrize("space", SPACES, ids=str)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_painted_colours_are_those_of_the_encoder(space: ColourSpace, colour: tuple[int, int, int]) -> None:
    wanted = yuv_of(np.full((16, 16, 3), colour, np.uint8), space).planes()
    assert np.abs(np.subtract(painted(colour, space), [int(plane[8 // 2, 4]) for plane in wanted])).max() <= 2


def faces() -> list[OverlayFace]:
    points = np.random.default_rng(1).uniform((80, 90), (150, 170), (68, 2)).astype(np.float32)
    sure = np.full(8, 0.05, np.float32)
    return [
        OverlayFace(face_id=1, box_px=(70.3, 80.9, 160.2, 180.4), status=DETECTED, label="happiness",
                    probabilities=sure, valence=0.5, arousal=-0.3, landmarks=points),
        OverlayFace(face_id=2, box_px=(250.0, -20.0, 340.0, 60.0), status=PREDICTED),
    ]  # fmt: skip


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_drawing_on_planes_looks_like_drawing_on_rgb(space: ColourSpace) -> None:
    image = cv2.resize(np.random.default_rng(0).integers(40, 200, (9, 16, 3), np.uint8), (320, 240))
    yuv, before = yuv_of(image, space), yuv_of(image, space)
    Overlay(320, 240, space).draw(Canvas(yuv.writable()), faces())
    image = draw(image, faces())
    assert 2000 < (yuv.planes()[0] != before.planes()[0]).sum() < 20000
    # Luma has all the detail; a line is at least one pixel of chroma wide.
    limits = ((0.1, 0.001), (1.0, 0.03), (1.0, 0.03))
    for got, wanted, (mean, far) in zip(yuv.planes(), yuv_of(image, space).planes(), limits, strict=True):
        assert np.abs(got.astype(int) - wanted).mean() < mean
        assert (np.abs(got.astype(int) - wanted) > 12).mean() < far


# --- sources


def make(
    path: Path, pixels: str, codec: str, size: tuple[int, int] = (64, 48), full: bool = False, **options: str
) -> Path:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (200, 60, 30)
    image[height // 2 :, width // 2 :] = (30, 90, 220)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix", "size"),
    [
        ("yuv420p", "libx264", ".mp4", (64, 48)),
        ("yuvj420p", "libx264", ".mp4", (64, 48)),
        ("yuvj420p", "mjpeg", ".avi", (64, 48)),
        ("yuv444p", "libx264", ".mp4", (64, 48)),
        ("yuv420p10le", "libx264", ".mkv", (64, 48)),
        ("yuv420p", "ffv1", ".mkv", (63, 47)),
        ("bgr0", "ffv1", ".mkv", (64, 48)),
        ("gray", "ffv1", ".mkv", (64, 48)),
    ],
)
def test_sources_of_every_kind_keep_their_colours(
    tmp_path: Path, pixels: str, codec: str, suffix: str, size: tuple[int, int]
) -> None:
    with VideoFile(make(tmp_path / f"v{suffix}", pixels, codec, size)) as file:
        for frame in file:
            yuv = cast(VideoPicture, frame.picture).yuv()
            assert yuv.colours == file.colours
            assert yuv.frame.format.name == ("yuvj420p" if file.colours.full_range else "yuv420p")
            assert (yuv.frame.width, yuv.frame.height) == (file.info.width, file.info.height)
            shown = VideoPicture(yuv.frame, file._layout.__class__.of_frame(yuv.frame, Fraction(1))).rgb()
            y, x = np.mgrid[6 : file.info.height : 12, 8 : file.info.width : 16]
            assert np.abs(shown[y, x].astype(int) - frame.picture.rgb()[y, x]).max() <= 6


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_sources_stand_upright(tmp_path: Path, rotation: int) -> None:
    from vidfer.media.synthetic import write_video

    image = cv2.resize(np.random.default_rng(3).integers(0, 255, (3, 4, 3), np.uint8), (96, 64))
    path = tmp_path / "v.mp4"
    write_video(path, [(image, 0), (image, 1)], time_base=Fraction(1, 25), rotation_deg=rotation)
    with VideoFile(path) as file:
        for frame in file:
            picture = cast(VideoPicture, frame.picture)
            luma = picture.yuv().planes()[0]
            assert luma.shape == (file.info.height, file.info.width)
            assert np.abs(luma.astype(int) - picture.gray(file.info.width, file.info.height)).max() <= 1


def test_a_frame_is_handed_on_as_it_is_and_never_drawn_on_while_the_decoder_needs_it(tmp_path: Path) -> None:
    def read(draw: bool) -> list[np.ndarray]:
        lumas = []
        with VideoFile(path) as file:
            for frame in file:
                yuv = cast(VideoPicture, frame.picture).yuv()
                lumas.append(yuv.planes()[0].copy())
                if draw:
                    for plane in yuv.writable():
                        plane[:] = 77
        return lumas

    path = make(tmp_path / "v.mp4", "yuv420p", "libx264")
    with VideoFile(path) as file:
        picture = cast(VideoPicture, next(iter(file)).picture)
        assert picture.yuv().frame is picture.yuv().frame
    assert all((a == b).all() for a, b in zip(read(False), read(True), strict=True))
