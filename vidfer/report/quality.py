"""When a face is hard to judge, and from where on the page says so."""

from __future__ import annotations

import numpy as np

from vidfer.types import F64, Bool
from vidfer.vision.geometry import CROP_PX, CROP_SCALE

SMALL_PX = 40  # longer side; the smallest of the groups that `vidfer train evaluate` tells apart
BLURRED = 0.6  # sharpness, the part of `quality` that is neither size nor turn
PROFILE_DEG = 45  # half-way to a profile
UNSURE = 0.7  # the detector takes nothing below 0.66

FLAGS = {
    "small": f"longer side of the face under {SMALL_PX} px",
    "blurred": f"sharpness under {BLURRED}: quality without its parts for size and turn",
    "profile": f"head turned by more than {PROFILE_DEG}° to the side",
    "unsure": f"confidence under {UNSURE}",
}
# From which share of its frames on a face is warned of.
WARN_SHARE = 0.2


def flags(box: F64, quality: F64, confidence: F64, pitch: F64, yaw: F64) -> dict[str, Bool]:
    """Which rows are hard to judge, bool[R] by the names of `FLAGS`; what is missing is not flagged.

    Args:
        box: f64[R,4], x, y, width, height in px.
        quality: f64[R], size x sharpness x cosine of pitch x cosine of yaw (`vision.face`).
        confidence: f64[R].
        pitch: f64[R], degrees.
        yaw: f64[R], degrees.
    """
    side = np.maximum(box[:, 2], box[:, 3])
    frontal = np.cos(np.deg2rad(pitch)) * np.cos(np.deg2rad(yaw))
    with np.errstate(invalid="ignore", divide="ignore"):
        sharpness = quality / (np.minimum(side * CROP_SCALE / CROP_PX, 1) * frontal)
        return {
            "small": side < SMALL_PX,
            "blurred": sharpness < BLURRED,
            "profile": np.abs(yaw) > PROFILE_DEG,
            "unsure": confidence < UNSURE,
        }
