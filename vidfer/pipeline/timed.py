"""The expensive stages with a stopwatch around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vidfer.media.file import VideoFile
from vidfer.pipeline.report import StageTimes
from vidfer.types import F32, I64, Detections, Frame, Picture
from vidfer.vision.detect import FaceDetector
from vidfer.vision.face import FaceNetwork
from vidfer.vision.track import FaceTracker


class TimedDetector:
    """`FaceDetector`, timed."""

    def __init__(self, detector: FaceDetector, times: StageTimes) -> None:
        self._detector, self._times = detector, times

    def detect(self, picture: Picture) -> Detections:
        """See the class that is timed."""
        with self._times.measure("detect"):
            return self._detector.detect(picture)


class TimedNetwork:
    """`FaceNetwork`, timed."""

    def __init__(self, network: FaceNetwork, times: StageTimes) -> None:
        self._network, self._times = network, times

    def analyse(self, pictures: Sequence[Picture], boxes_px: Sequence[F32]) -> list[dict[str, F32]]:
        """See the class that is timed."""
        with self._times.measure("face_network"):
            return self._network.analyse(pictures, boxes_px)


class TimedTracker:
    """`FaceTracker`, timed."""

    def __init__(self, tracker: FaceTracker, times: StageTimes) -> None:
        self._tracker, self._times = tracker, times

    def update(self, time_s: float, shot: int, detections: Detections, embedding: F32) -> I64:
        """See the class that is timed."""
        with self._times.measure("track"):
            return self._tracker.update(time_s, shot, detections, embedding)


def timed_frames(video: VideoFile, times: StageTimes) -> Iterator[Frame]:
    """The frames of a video, timed."""
    frames = iter(video)
    while True:
        with times.measure("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
