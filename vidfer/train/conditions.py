"""The same faces under worse conditions: since nothing else differs, the condition alone makes the difference.

Groups of different pictures (`groups.py`) differ in everything at once; here colour, light, size, compression or what
covers the face are changed in pictures that are good in all of these, and the labels stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from vidfer.train.data import as_rgb
from vidfer.train.evaluate import Yardstick, identity_figures, measures, run_network
from vidfer.train.metrics import Figure
from vidfer.types import F32, U8
from vidfer.vision.session import Session

SETS = ("affectnet", "lfpw", "ytf")
FIGURES = (
    "affectnet_accuracy",
    "affectnet_ccc_valence",
    "affectnet_ccc_arousal",
    "mesh_error_affectnet",
    "points68_error_lfpw",
    "points68_error_ytf",
)
_NOSE_TIP = 1
_SMALL_PX = 24
_DARK = 0.3
_QUALITY = 15
_MASK = (150, 170, 190)

Change = Callable[[U8, F32], U8]  # picture uint8[H,W,3] and mesh f32[478,2] in its px


def figures_under_conditions(session: Session, yardstick: Yardstick) -> dict[str, dict[str, Figure]]:
    """Figures of AffectNet, LFPW and YouTube Faces with pictures as they are, and changed."""
    rows = yardstick.rows
    chosen = np.isin(rows.set_name, SETS) & ~np.isnan(rows.mesh_frame[:, 0])
    part = replace(yardstick, rows=rows.take(chosen), box_px=yardstick.box_px[chosen])
    mesh = part.basis.points(part.rows.mesh_coef, part.rows.mesh_frame)[..., :2]
    found = {}
    for name, change in CONDITIONS.items():
        images = [change(as_rgb(image), points) for image, points in zip(part.rows.images, mesh, strict=True)]
        changed = replace(part, rows=replace(part.rows, images=images))
        heads = run_network(session, changed)
        of_rows = {m.name: m.figure() for m in measures(changed, heads) if m.name in FIGURES}
        found[name] = of_rows | identity_figures(changed.rows, heads)
    return found


def as_it_is(image: U8, _: F32) -> U8:
    """Nothing changed."""
    return image


def grey(image: U8, _: F32) -> U8:
    """Luma alone."""
    return as_rgb(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))


def dark(image: U8, _: F32) -> U8:
    """A third of the brightness, and rounded, as a dark room leaves it."""
    return np.asarray(image * _DARK, np.uint8)


def small(image: U8, mesh: F32) -> U8:
    """As little detail as a face of 24 px has."""
    height, width = image.shape[:2]
    scale = min(1.0, _SMALL_PX / float((mesh.max(0) - mesh.min(0)).max()))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunken = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunken, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def compressed(image: U8, _: F32) -> U8:
    """JPEG of quality 15."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def covered(image: U8, mesh: F32) -> U8:
    """All below the tip of the nose under one flat colour, as a mask covers it."""
    below = mesh[mesh[:, 1] >= mesh[_NOSE_TIP, 1]]
    hull = cv2.convexHull(np.rint(below).astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(image.copy(), hull, _MASK), np.uint8)


CONDITIONS: dict[str, Change] = {
    "as they are": as_it_is,
    "grey": grey,
    "dark": dark,
    f"{_SMALL_PX} px": small,
    "compressed": compressed,
    "masked": covered,
}
