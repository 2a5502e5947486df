"""Drawing: labels stay inside, off each other and in place; nothing outside of them changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vidfer.output.labels import Measures, panel_sizes
from vidfer.output.layout import Layout, Place
from vidfer.output.overlay import COLOURS, OverlayFace, draw
from vidfer.types import DETECTED, EMOTIONS, PREDICTED, TRACKED

quick = settings(deadline=None, max_examples=40)
PICTURES = [(176, 144), (640, 360), (1280, 720), (720, 1364), (3840, 2160)]


def face(
    face_id: int,
    box: tuple[float, float, float, float],
    label: str | None = "happiness",
    status: int = DETECTED,
    points: int = 0,
    seed: int = 0,
) -> OverlayFace:
    random = np.random.default_rng(seed)
    x0, y0, x1, y1 = box
    return OverlayFace(
        face_id=face_id,
        box_px=box,
        status=status,
        label=label,
        probabilities=None if label is None else random.dirichlet(np.ones(8)).astype(np.float32),
        valence=None if label is None else float(random.uniform(-1, 1)),
        arousal=None if label is None else float(random.uniform(-1, 1)),
        landmarks=(random.random((points, 2)) * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32) if points else None,
    )


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def crowd(width: int, height: int, count: int, seed: int) -> list[OverlayFace]:
    random = np.random.default_rng(seed)
    faces = []
    for number in range(count):
        size = float(np.exp(random.uniform(np.log(4), np.log(1.5 * min(width, height)))))
        x, y = random.uniform(-size, width), random.uniform(-size, height)
        label = EMOTIONS[random.integers(8)] if random.random() < 0.9 else None
        status = int(random.choice([DETECTED, TRACKED, PREDICTED]))
        faces.append(face(number * 7, (x, y, x + size, y + 1.2 * size), label, status, points=68, seed=number))
    return faces


def rectangles(faces: list[OverlayFace], places: list[Place], m: Measures) -> np.ndarray:
    found = []
    for one, place in zip(faces, places, strict=True):
        w, h = panel_sizes(one, m)[place.size]
        found.append((place.x, place.y, place.x + w, place.y + h))
    return np.array(found)


def overlaps(boxes: np.ndarray) -> int:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return int(np.triu((high > low).all(axis=2), 1).sum())


def placed(faces: list[OverlayFace], width: int, height: int, layout: Layout | None = None) -> np.ndarray:
    m = Measures.of(width, height)
    layout = layout or Layout(width, height, m.gap)
    boxes = np.array([one.box_px for one in faces], np.float32)
    places = layout.place([one.face_id for one in faces], boxes, [panel_sizes(one, m) for one in faces])
    return rectangles(faces, places, m)


@quick
@given(st.sampled_from(PICTURES[:4]), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_any_crowd_can_be_drawn_with_labels_inside_the_picture(size: tuple[int, int], count: int, seed: int) -> None:
    width, height = size
    faces = crowd(width, height, count, seed)
    image = draw(grey(width, height), faces)
    assert (image != 90).any() or all(one.status == PREDICTED for one in faces)
    labels = placed(faces, width, height)
    assert (labels[:, :2] >= 0).all()
    assert (labels[:, 2] <= width).all()
    assert (labels[:, 3] <= height).all()


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([(640, 360), (1280, 720)]))
def test_labels_of_a_spread_crowd_do_not_overlap(seed: int, size: tuple[int, int]) -> None:
    width, height = size
    random = np.random.default_rng(seed)
    faces = []
    for number in range(30):
        x = (number % 6 + 0.2) * width / 6 + random.uniform(-1, 1) * width / 40
        y = (number // 6 + 0.3) * height / 5 + random.uniform(-1, 1) * height / 40
        side = random.uniform(0.05, 0.08) * height
        faces.append(face(number, (x, y, x + side, y + 1.2 * side), EMOTIONS[random.integers(8)]))
    assert overlaps(placed(faces, width, height)) == 0


@pytest.mark.parametrize("size", PICTURES)
def test_one_face_has_its_whole_label_above_it_everywhere(size: tuple[int, int]) -> None:
    width, height = size
    m = Measures.of(width, height)
    one = face(3, (0.4 * width, 0.4 * height, 0.65 * width, 0.8 * height), "happiness")
    x0, _, x1, y1 = placed([one], width, height)[0]
    assert (x1 - x0) == panel_sizes(one, m)[0][0]
    assert y1 <= 0.4 * height
    assert m.text >= 6


def test_label_stays_on_its_side_while_the_face_trembles() -> None:
    random = np.random.default_rng(0)
    layout = Layout(1280, 720, Measures.of(1280, 720).gap)
    sides = set()
    for _ in range(100):
        # Where there is room above only half of the time.
        box = np.array([600, 34, 700, 160]) + random.uniform(-6, 6, 4)
        one = face(1, tuple(box))
        x0, y0, *_ = placed([one], 1280, 720, layout)[0] - np.array([box[0], box[1], 0, 0])
        sides.add((bool(x0 > 50), bool(y0 < 0)))
    assert len(sides) == 1


@quick
@example(9778, 5)  # a face below the picture
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_labels_that_stay_are_where_a_full_search_puts_them(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    gap = Measures.of(640, 360).gap
    quick, full = Layout(640, 360, gap), Layout(640, 360, gap)
    full._still_free = lambda *_: None  # type: ignore[method-assign]
    faces = crowd(640, 360, count, seed)
    for _ in range(5):
        moved = [face(f.face_id, tuple(np.add(f.box_px, random.uniform(-3, 3, 4)))) for f in faces]
        assert (placed(moved, 640, 360, quick) == placed(moved, 640, 360, full)).all()


def test_predicted_face_is_dashed_and_has_no_label() -> None:
    box = (500.0, 300.0, 600.0, 420.0)
    image = draw(grey(1280, 720), [face(1, box, status=PREDICTED)])
    changed = (image != 90).any(axis=2)
    assert not changed[:295].any()
    assert not changed[310:410, 510:590].any()
    top = (np.abs(image[300, 510:590].astype(int) - 90) > 20).any(axis=1)
    assert 0.3 < top.mean() < 0.9, "a dashed line"
    assert image.max() < 200, "dimmed"


def test_only_the_surroundings_of_a_face_change() -> None:
    image = draw(grey(1280, 720), [face(1, (500, 300, 600, 420), points=478)])
    changed = np.argwhere((image != 90).any(axis=2))
    assert changed[:, 0].min() > 250
    assert changed[:, 0].max() < 425
    assert changed[:, 1].min() > 490
    assert changed[:, 1].max() < 720


def test_nothing_to_draw_changes_nothing() -> None:
    assert (draw(grey(640, 360), []) == 90).all()


def test_draw_leaves_the_given_picture_alone() -> None:
    image = grey(640, 360)
    image.flags.writeable = False
    assert (draw(image, [face(1, (100, 100, 200, 220))]) != image).any()


def test_bar_shows_the_probability_of_the_label() -> None:
    lengths = []
    for probability in (0.1, 0.5, 0.9):
        one = face(1, (500, 300, 640, 460), "anger")
        assert one.probabilities is not None
        one.probabilities[:] = 0
        one.probabilities[EMOTIONS.index("anger")] = probability
        image = draw(grey(1280, 720), [one])
        x0, _, x1, y1 = placed([one], 1280, 720)[0]
        m = Measures.of(1280, 720)
        bar = image[y1 - m.bar - max(1, m.pad // 2), x0 + 30 : x1 - m.panel_height]
        lengths.append(int((np.abs(bar.astype(int) - COLOURS["anger"]).max(axis=1) < 40).sum()))
    assert lengths[0] < lengths[1] < lengths[2]
    assert lengths[1] / lengths[2] == pytest.approx(5 / 9, abs=0.08)


@pytest.mark.parametrize(("valence", "arousal"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (0, 0)])
def test_disc_shows_valence_to_the_right_and_arousal_up(valence: float, arousal: float) -> None:
    box = (500.0, 300.0, 640.0, 460.0)
    one = OverlayFace(
        face_id=1,
        box_px=box,
        status=DETECTED,
        label="anger",
        probabilities=np.full(8, 0.01, np.float32),
        valence=valence,
        arousal=arousal,
    )
    image = draw(grey(1280, 720), [one])
    _, y0, x1, y1 = placed([one], 1280, 720)[0]
    size = y1 - y0
    disc = image[y0:y1, x1 - size : x1].astype(int)
    y, x = np.argwhere(np.abs(disc - COLOURS["anger"]).max(axis=2) < 40).mean(axis=0) - (size - 1) / 2
    length = max(1.0, np.hypot(valence, arousal))
    radius = size / 2 - 2
    assert x == pytest.approx(valence / length * radius, abs=2.0)
    assert -y == pytest.approx(arousal / length * radius, abs=2.0)
