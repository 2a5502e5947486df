"""The networks of a run."""

from __future__ import annotations

from vidfer.pipeline.report import model_entries
from vidfer.vision import session
from vidfer.vision.detect import FaceDetector
from vidfer.vision.face import FaceNetwork

# Below the threshold in the detector's card, which is for single pictures: here a whole track decides
# (`tracks.SURE_FACE`).
_POSSIBLE_FACE = 0.55


class Models:
    """Both networks, loaded once for all sources of a run."""

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self.sessions = [session.load(name, device=device, precision=precision) for name in session.MODELS]
        self.entries = model_entries(self.sessions)
        detector, analyzer = self.sessions
        self.detector = FaceDetector(detector, threshold=_POSSIBLE_FACE)
        self.network = FaceNetwork(analyzer)

    @property
    def hashes(self) -> dict[str, str]:
        """Name -> sha256."""
        return {entry["name"]: entry["sha256"] for entry in self.entries}
