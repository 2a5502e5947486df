"""A scripted world for the analyzer: a detector that sees true boxes, a network that confirms them or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np

from vidfer.media.picture import ArrayPicture
from vidfer.pipeline.analyze import Analyzer
from vidfer.types import Detections, Frame, FrameResult, Picture

RATE = 25.0
Boxes = list[list[tuple[float, float, float, float]]]


class World:
    """Faces with known boxes per frame; the picture's first pixels carry the frame number.

    Args:
        boxes: Of the faces in every frame.
        scenes: What the picture shows besides, a number per frame; a cut is where it changes.
        times: Of the frames, in seconds; None where unknown.
        epochs: Of the frames.
    """

    def __init__(
        self,
        boxes: Boxes,
        scenes: Sequence[int] | None = None,
        times: Sequence[float | None] | None = None,
        epochs: Sequence[int] | None = None,
    ) -> None:
        self.boxes = [np.array(b, np.float32).reshape(-1, 4) for b in boxes]
        self.scenes = scenes or [0] * len(boxes)
        self.times = times or [i / RATE for i in range(len(boxes))]
        self.epochs = epochs or [0] * len(boxes)
        self.detected: list[int] = []

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for i in range(start, len(self.boxes)):
            image = scene(self.scenes[i])
            image[0, 0] = (i // 256, i % 256, 0)
            yield Frame(
                source_id="world",
                index=i,
                epoch=self.epochs[i],
                pts=i,
                time_s=self.times[i],
                picture=ArrayPicture(image),
            )

    def number(self, picture: Picture) -> int:
        high, low, _ = picture.rgb()[0, 0].tolist()
        return high * 256 + low

    def detect(self, picture: Picture) -> Detections:
        i = self.number(picture)
        self.detected.append(i)
        return Detections(box_px=self.boxes[i], score=np.full(len(self.boxes[i]), 0.9, np.float32))

    def analyse(self, pictures: Sequence[Picture], boxes_px: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        return [self.look(self.number(p), b) for p, b in zip(pictures, boxes_px, strict=True)]

    def look(self, number: int, asked: np.ndarray) -> dict[str, np.ndarray]:
        """The nearest true face, present where it lies near the asked box; a face's look changes with every frame."""
        true = self.boxes[number]
        box, presence = asked.copy(), np.zeros((len(asked), 1), np.float32)
        for k, b in enumerate(asked):
            if len(true):
                distance = np.abs(true - b).max(1)
                nearest = distance.argmin()
                if distance[nearest] < 0.5 * (b[2] - b[0]):
                    box[k], presence[k] = true[nearest], 1
        embedding = np.random.default_rng(number).standard_normal((len(asked), 128)).astype(np.float32)
        return {"box": box, "presence": presence, "embedding": embedding}

    def update(self, time_s: float, shot: int, detections: Detections, embedding: np.ndarray) -> np.ndarray:
        return np.arange(len(detections), dtype=np.int64)


def scene(number: int) -> np.ndarray:
    coarse = np.random.default_rng(number).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))


def moving(n: int, start: float = 20, speed: float = 1) -> Boxes:
    return [[(start + speed * i, 40, start + 40 + speed * i, 90)] for i in range(n)]


def run(world: World, *, workers: int = 1, detect_every: int | None = None) -> list[FrameResult]:
    analyzer = Analyzer(world, world, world, frame_interval_s=1 / RATE, detect_every=detect_every, workers=workers)
    with closing(analyzer.intervals(world.frames())) as intervals:
        results = [result for interval in intervals for result in interval.results]
    assert analyzer.counts.frames == len(results)
    if world.detected:
        assert analyzer.counts.detector_runs == len(world.detected)
    return results
