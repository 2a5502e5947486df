"""Single faces cut out along their mesh and pasted on scenes: at any size, turned, masked, half hidden, relit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidfer.errors import DataError
from vidfer.train.data import as_rgb, read_faces
from vidfer.train.mesh import MeshBasis
from vidfer.train.scenes import as_f32, move_boxes
from vidfer.types import F32, U8

_FACE_SETS = ("ferplus", "affectnet", "diffusionfer", "lfpw", "ytf", "web", "colour")  # not `video`: it is for tests
_GREY_FACES_LIMIT = 5000  # of the 48 px grey ones; more of them teach nothing new here
_MOST_TURN = 0.8  # radians
# Jaw line from ear to ear, then the bridge of the nose: the outline of a medical mask on the 478-point mesh.
_MASK_POINTS = [
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    197,
]
_PYRAMID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceCut:
    """A single face to paste.

    Attributes:
        levels: Picture halved again and again, uint8[H,W,4]: RGB and a mask field, 255 in the middle of the face,
            127 on its outline, falling outwards.
        box_px: Mesh box in the first level, f32[4].
        mask_px: Outline of a medical mask in the first level, f32[22,2].
    """

    levels: tuple[U8, ...]
    box_px: F32
    mask_px: F32


def load_faces(folder: Path) -> list[FaceCut]:
    """Read the train faces that have a credible mesh, ready to paste."""
    basis = MeshBasis(folder / "mesh_basis.npz")
    rows = read_faces(folder, "train", basis, _FACE_SETS)
    angle = rows.mesh_frame[:, 3]
    # A mesh turned by more than 45 degrees is wrong far more often than it is that of a lying head.
    credible = np.abs(angle) <= _MOST_TURN
    grey = rows.set_name == "ferplus"
    credible &= ~grey | (np.cumsum(grey & credible) <= _GREY_FACES_LIMIT)
    chosen = np.flatnonzero(credible)
    if not len(chosen):
        raise DataError(f"{folder / 'faces.parquet'} has no train row with a mesh: is it complete?")
    faces: list[FaceCut] = []
    for i in chosen:
        points = basis.points(rows.mesh_coef[i, None], rows.mesh_frame[i, None])[0, :, :2]
        faces.append(face_cut(as_rgb(rows.images[i]), as_f32(points), float(angle[i])))
    return faces


def face_cut(image: U8, points: F32, angle: float) -> FaceCut:
    """A portrait made ready for pasting from its mesh points f32[478,2] and its turn in radians."""
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    level = (points - middle) @ np.array([[cos, -sin], [sin, cos]], np.float32)
    half = np.abs(level).max(0)
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = ((x - middle[0]) * cos + (y - middle[1]) * sin) / half[0]
    v = (-(x - middle[0]) * sin + (y - middle[1]) * cos) / half[1]
    field = 1 - np.sqrt(u * u + v * v) / 2
    edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y)) / 4
    field = np.clip(np.minimum(field, edge), 0, 1) * 255
    levels = [np.dstack([image, field.astype(np.uint8)])]
    while len(levels) < _PYRAMID and min(levels[-1].shape[:2]) >= 16:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return FaceCut(
        levels=tuple(levels), box_px=np.concatenate([low, high]).astype(np.float32), mask_px=points[_MASK_POINTS]
    )


def placement(box: F32, scale: float, size: int, rng: np.random.Generator) -> F32:
    """A random similarity f32[2,3] that puts a box of a portrait somewhere into a square picture."""
    spread = 45 if rng.random() < 0.15 else 14
    turn = np.deg2rad(rng.normal(0, spread))
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    matrix = as_f32([[cos, -sin, 0], [sin, cos, 0]])
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    half = (box[2:] - box[:2]) * scale / 2 * 0.8
    target = rng.uniform(np.minimum(half, size / 2), np.maximum(size - half, size / 2))
    matrix[:, 2] = target - matrix[:, :2] @ ((box[:2] + box[2:]) / 2)
    return matrix


def paste(
    image: U8, face: FaceCut, matrix: F32, scale: float, rng: np.random.Generator, *, faceless: bool = False
) -> U8:
    """A copy of a square picture with a face, or a head without one, pasted on it by a similarity of that scale."""
    level = min(len(face.levels) - 1, max(0, int(np.floor(-np.log2(scale) + 0.4))))
    source = face.levels[level]
    if faceless:
        source = _without_face(source, face.box_px / 2**level, rng)
    elif rng.random() < 0.1:
        source = _with_mask(source, face.mask_px / 2**level, rng)
    shrunk = matrix.copy()
    shrunk[:, :2] *= 2**level
    shrunk[:, 2] += matrix[:, :2] @ np.full(2, (2**level - 1) / 2)
    height, width = source.shape[:2]
    corners = as_f32([[0, 0], [width, 0], [0, height], [width, height]]) @ shrunk[:, :2].T + shrunk[:, 2]
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int), 0, len(image) - 1)
    x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int) + 1, (x0 + 1, y0 + 1), len(image))
    shrunk[:, 2] -= (x0, y0)
    patch = cv2.warpAffine(source, shrunk, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    # The mask ends between just inside the outline and far outside it (hair, neck, background of the portrait).
    tight = rng.random() < (0.15 if faceless else 0.6)
    cut, soft = rng.uniform(80, 150) if tight else rng.uniform(5, 80), rng.uniform(15, 90)
    alpha = np.clip((patch[:, :, 3].astype(np.float32) - cut) / soft + 0.5, 0, 1) * (patch[:, :, 3] > 0)
    rgb = patch[:, :, :3]
    region = image[y0:y1, x0:x1]
    gain = rng.uniform(0.6, 1.3)
    if rng.random() < 0.5:
        gain = np.clip((region.mean() + 12) / (rgb.mean() + 12), 0.35, 1.8)
    tint = np.full(3, gain) * rng.uniform(0.9, 1.1, 3)
    rgb = np.clip(rgb * tint.astype(np.float32) + float(rng.uniform(-15, 15)), 0, 255)
    if rng.random() < 0.15 and min(rgb.shape[:2]) > 8:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.5, 0.02 * min(rgb.shape[:2]) + 0.8)))
    image = image.copy()
    blend(image[y0:y1, x0:x1], rgb, alpha)
    if not faceless and rng.random() < 0.12:
        _occlude(image, move_boxes(face.box_px[None], matrix)[0], rng)
    return image


def _without_face(source: U8, box: F32, rng: np.random.Generator) -> U8:
    """A head as from behind: the hair above the forehead drawn down over the face, or a plain blotchy skin."""
    x0, y0, x1, y1 = np.clip(box, 0, source.shape[1::-1] * 2).astype(int)
    above = source[max(0, y0 - (y1 - y0) // 3) : y0 + 1, x0:x1, :3]
    target = (max(2, x1 - x0), max(2, y1 - y0))
    if min(above.shape[:2]) < 2 or rng.random() < 0.25:
        middle = source[y0:y1, x0:x1, :3].reshape(-1, 3).mean(0) if x1 > x0 and y1 > y0 else np.full(3, 90.0)
        above = np.clip(middle * rng.uniform(0.2, 1.0) + rng.normal(0, 18, (5, 4, 1)), 0, 255).astype(np.uint8)
    elif rng.random() < 0.5:
        above = above[::-1]
    hair = np.asarray(cv2.resize(above, target, interpolation=cv2.INTER_CUBIC), np.uint8)
    covered = source.copy()
    high, wide = covered[y0:y1, x0:x1].shape[:2]
    alpha = as_f32(np.clip((covered[y0:y1, x0:x1, 3].astype(np.float32) - 110) / 25, 0, 1))
    blend(covered[y0:y1, x0:x1, :3], hair[:high, :wide], alpha)
    return covered


def _with_mask(source: U8, outline: F32, rng: np.random.Generator) -> U8:
    """A medical mask drawn over mouth and nose."""
    colour = (
        rng.integers(0, 256, 3)
        if rng.random() < 0.4
        else (rng.integers(120, 250) + rng.integers(-10, 40) * np.array([0, 0.4, 1]))
    )
    drawn = np.ascontiguousarray(source[:, :, :3])
    cv2.fillPoly(
        drawn, [np.round(outline * 16).astype(np.int32)], [float(c) for c in np.clip(colour, 0, 255)], cv2.LINE_AA, 4
    )
    strength = rng.uniform(0.75, 1.0)
    return np.dstack([cv2.addWeighted(drawn, strength, source[:, :, :3], 1 - strength, 0), source[:, :, 3]])


def _occlude(image: U8, box: F32, rng: np.random.Generator) -> None:
    """A bar of one colour over a part of a face; less than half of it is hidden."""
    side = box[2:] - box[:2]
    if rng.random() < 0.5:
        part = side * as_f32([rng.uniform(0.2, 0.45), 1.1])
    else:
        part = side * as_f32([1.1, rng.uniform(0.15, 0.4)])
    corner = np.where(rng.random(2) < 0.5, box[:2] - 0.05 * side, box[2:] + 0.05 * side - part)
    x0, y0 = np.clip(corner, 0, len(image)).astype(int)
    x1, y1 = np.clip(corner + part, 0, len(image)).astype(int)
    image[y0:y1, x0:x1] = rng.integers(0, 256, 3) if rng.random() < 0.6 else image[y0:y1, x0:x1] // 4


def blend(region: U8, rgb: U8 | F32, alpha: F32) -> None:
    """Mix uint8[h,w,3] or float32 with alpha f32[h,w] into a region, in place."""
    mixed = region + (rgb - region.astype(np.float32)) * alpha[:, :, None]
    region[:] = mixed.astype(np.uint8)
