"""How the cameras are doing, for Prometheus: read from the board when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from vidfer import __version__
from vidfer.pipeline.board import CAMERA_STATES, Board, CameraStatus

_COUNTERS = (
    ("vidfer_frames", "Frames analysed.", "frames"),
    ("vidfer_faces", "Faces in them, one for each frame it is in.", "faces"),
    ("vidfer_dropped_frames", "Decoded frames that a newer one overtook.", "dropped"),
    ("vidfer_reconnects", "How often the camera was lost and came back.", "reconnects"),
)


class _Cameras:
    """Collects from the board."""

    def __init__(self, board: Board, looked_at: Callable[[], Sequence[str]]) -> None:
        self._board, self._looked_at = board, looked_at

    def collect(self) -> Iterator[Metric]:
        """All metrics of all cameras."""
        cameras = self._board.cameras()
        yield _labelled("vidfer_build_info", "Version of vidfer.", {"version": __version__})
        for name, what, attribute in _COUNTERS:
            counter = CounterMetricFamily(name, what, labels=["camera"])
            for camera in cameras:
                counter.add_metric([camera.name], getattr(camera, attribute))
            yield counter
        yield _of_each("vidfer_camera_up", "1 while frames come.", cameras, lambda one: float(one.state == "live"))
        yield _of_each("vidfer_frames_per_second", "Analysed frames a second, lately.", cameras, lambda one: one.fps)
        yield _of_each("vidfer_writing", "1 while the table is written.", cameras, lambda one: one.writing == "on")
        yield _of_each("vidfer_last_frame_timestamp_seconds", "When the newest frame came.", cameras, _last_frame_s)
        looked_at = self._looked_at()
        yield _of_each("vidfer_looked_at", "1 while a page shows it.", cameras, lambda one: one.name in looked_at)
        yield _states(cameras)
        yield _latencies(cameras)


class Metrics:
    """The text that Prometheus reads.

    Args:
        board: Of the cameras.
        looked_at: Cameras that somebody looks at.
    """

    def __init__(self, board: Board, looked_at: Callable[[], Sequence[str]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Cameras(board, looked_at))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their media type, in the format that was asked for."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


def _labelled(name: str, what: str, labels: dict[str, str]) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=list(labels))
    gauge.add_metric(list(labels.values()), 1)
    return gauge


def _of_each(
    name: str, what: str, cameras: Sequence[CameraStatus], value: Callable[[CameraStatus], float | None]
) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=["camera"])
    for camera in cameras:
        number = value(camera)
        if number is not None:
            gauge.add_metric([camera.name], float(number))
    return gauge


def _last_frame_s(camera: CameraStatus) -> float | None:
    return camera.last_frame_utc.timestamp() if camera.last_frame_utc is not None else None


def _states(cameras: Sequence[CameraStatus]) -> Metric:
    gauge = GaugeMetricFamily("vidfer_camera_state", "1 for the state it is in.", labels=["camera", "state"])
    for camera in cameras:
        for state in CAMERA_STATES:
            gauge.add_metric([camera.name, state], float(camera.state == state))
    return gauge


def _latencies(cameras: Sequence[CameraStatus]) -> Metric:
    gauge = GaugeMetricFamily(
        "vidfer_latency_seconds", "From the arrival of a frame to its result, lately.", labels=["camera", "quantile"]
    )
    for camera in cameras:
        for quantile, latency_ms in (("0.5", camera.latency_p50_ms), ("0.95", camera.latency_p95_ms)):
            if latency_ms is not None:
                gauge.add_metric([camera.name, quantile], latency_ms / 1000)
    return gauge
