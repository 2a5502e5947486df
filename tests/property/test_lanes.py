"""The lanes of the panel: a face keeps its lane, no lane shows two faces at once, gaps and cuts end a curve."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.output.canvas import Canvas
from vidfer.output.labels import OverlayFace
from vidfer.output.lanes import Lanes
from vidfer.output.panel import WINDOW_S, Panel
from vidfer.types import DETECTED


def face(face_id: int, valence: float = 0.0, seen: bool = True) -> OverlayFace:
    return OverlayFace(
        face_id=face_id,
        box_px=(0, 0, 10, 10),
        status=DETECTED,
        label="anger" if seen else None,
        probabilities=np.full(8, 1 / 8, np.float32) if seen else None,
        valence=valence if seen else None,
        arousal=0.0 if seen else None,
        measured=(valence, 0.0),
    )


spans = st.lists(st.tuples(st.integers(0, 80), st.integers(1, 60)), min_size=1, max_size=6)


@given(spans, st.integers(1, 4))
def test_lanes_hold_one_face_at_a_time_and_faces_keep_their_lane(tracks: list[tuple[int, int]], count: int) -> None:
    lanes = Lanes(count)
    for frame in range(150):
        lanes.add(frame / 25, 0, [face(i) for i, (at, length) in enumerate(tracks) if at <= frame < at + length])
    homes: dict[int, set[int]] = {}
    for lane in range(count):
        curves = lanes.curves(lane, 0.0, 6.0)
        ends = [(curve.time_s[0], curve.time_s[-1]) for curve in curves]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
        for curve in curves:
            homes.setdefault(curve.face_id, set()).add(lane)
            at, length = tracks[curve.face_id]
            assert curve.time_s[-1] == pytest.approx((at + length - 1) / 25)
    assert all(len(lane) == 1 for lane in homes.values())
    most = max(sum(at <= frame < at + length for at, length in tracks) for frame in range(150))
    assert len(homes) >= min(most, count)


def test_curves_end_at_gaps_and_cuts() -> None:
    lanes = Lanes(1)
    for frame in range(100):
        if not 30 <= frame < 60:  # longer than half a second
            lanes.add(frame / 25, int(frame >= 80), [face(0, seen=frame % 7 != 3)])
        else:
            lanes.add(frame / 25, 0, [])
    starts = [round(curve.time_s[0] * 25) for curve in lanes.curves(0, 0.0, 4.0)]
    assert starts == [0, 60, 81]  # frame 80 shows a face without affect


def test_a_window_is_all_that_is_kept() -> None:
    lanes = Lanes(1)
    for frame in range(50_000):
        lanes.add(frame / 25, 0, [face(0, valence=np.sin(frame))])
        if frame % 25 == 0:
            lanes.curves(0, frame / 25 - WINDOW_S, frame / 25)
    curve = lanes.curves(0, 1980.0, 2000.0)[0]
    assert len(curve.time_s) == 501
    assert curve.affect[-1, 0] == pytest.approx(np.sin(49_999), abs=1e-5)
    assert len(lanes._lanes[0].rows._rows) < 5000


def test_where_time_steps_back_the_new_replaces_the_old() -> None:
    lanes = Lanes(1)
    for frame in [*range(10), 500, *range(8, 20)]:
        lanes.add(frame / 25, 0, [face(0, 0.5)])
    times = [curve.time_s for curve in lanes.curves(0, 0.0, 30.0)]
    assert [len(one) for one in times] == [8, 12]
    assert (np.diff(np.concatenate(times)) > 0).all()


@given(
    st.sampled_from([(2, 2), (64, 48), (176, 144), (640, 360), (360, 640), (1280, 720)]),
    st.integers(0, 9),
    st.one_of(st.none(), st.floats(0, 30)),
    st.floats(0, 30),
)
def test_any_panel_can_be_drawn(size: tuple[int, int], lanes: int, duration_s: float | None, time_s: float) -> None:
    panel = Panel(*size, None, lanes=lanes, duration_s=duration_s)
    for frame in range(0, 300, 3):
        panel.add(frame / 10, frame // 100, [face(i, 0.5) for i in range(lanes)])
    panel.add(None, 0, [])
    width, height = panel.canvas
    assert width % 2 == height % 2 == 0
    assert width >= size[0]
    assert height >= size[1]
    assert (width, height) != size
    image = np.zeros((3, height, width), np.uint8)
    panel.draw(Canvas(list(image)), time_s)
    assert not image[:, : size[1], : size[0]].any()
    assert image.any()
