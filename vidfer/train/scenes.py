"""Training pictures for the detector: crops and mosaics of whole scenes, with faces pasted on them.

A sample is a square crop of a train scene (zoomed, turned, mirrored) or four of them, on which single faces from
`faces.parquet` are pasted at all sizes through soft masks, with drawn face masks, occluders, blur and foreign light; patches
of scenery are pasted through the same masks, so that a soft edge alone says nothing. Everything is a function of a seed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidfer.errors import DataError
from vidfer.types import F32, U8, Bool

HELD_OUT_ONE_IN = 10
MIN_FACE_PX = 9.0  # shorter side; smaller faces are neither face nor background
MIN_VISIBLE = 0.55  # visible share of the area of a face; less is neither face nor background
_FACE_SETS = ("ferplus", "affectnet", "diffusionfer", "lfpw", "ytf", "web", "colour")  # not `video`: it is for tests
_GREY_FACES_LIMIT = 5000  # of the 48 px grey ones; more of them teach nothing new here
# Jaw line from ear to ear, then the bridge of the nose: the outline of a medical mask on the 478-point mesh.
_MASK_POINTS = [454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 197]
_PYRAMID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A labelled picture: image uint8[H,W,3] RGB, box_px f32[N,4] (xyxy), valid bool[N] (else an ignore region)."""

    name: str
    image: U8
    box_px: F32
    valid: Bool
    masked: Bool
    negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A training picture: image uint8[S,S,3] RGB, box_px f32[N,4], valid bool[N]."""

    image: U8
    box_px: F32
    valid: Bool


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


def held_out(name: str) -> bool:
    """Whether a train scene belongs to the tenth that chooses models."""
    return crc32(name.encode()) % HELD_OUT_ONE_IN == 0


def _decode(data: bytes) -> U8:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"a picture of {len(data)} bytes cannot be decoded: is the data set complete?")
    return np.asarray(image, np.uint8)


def load_scenes(path: Path, split: str) -> list[Scene]:
    """Read the scenes of a split (`train` or `val`)."""
    if not path.exists():
        raise DataError(f"{path} is missing: give the folder that holds scenes.parquet and faces.parquet")
    scenes = []
    for row in pq.read_table(path, filters=[("split", "=", split)]).to_pylist():
        box = np.asarray(row["boxes"], np.float32).reshape(-1, 4).copy()
        box[:, 2:] += box[:, :2]
        scenes.append(
            Scene(
                name=row["name"],
                image=_decode(row["image"]),
                box_px=box,
                valid=np.asarray(row["valid"], bool).reshape(-1),
                masked=np.asarray(row["masked"], bool).reshape(-1),
                negative=bool(row["negative"]),
            )
        )
    return scenes


def load_faces(folder: Path, limit: int | None = None) -> list[FaceCut]:
    """Read the train faces that have a credible mesh, ready to paste."""
    basis = np.load(folder / "mesh_basis.npz")
    mean, modes = basis["mean"].astype(np.float32).reshape(-1), basis["basis"].astype(np.float32).reshape(-1, 478 * 3)
    columns = ["image", "set", "mesh_coef", "mesh_frame"]
    rows = [("split", "=", "train"), ("set", "in", list(_FACE_SETS))]
    table = pq.read_table(folder / "faces.parquet", columns=columns, filters=rows)
    table = table.filter(pc.is_valid(table["mesh_coef"]))
    faces: list[FaceCut] = []
    grey = 0
    for row in table.to_pylist():
        if row["set"] == "ferplus":
            grey += 1
            if grey > _GREY_FACES_LIMIT:
                continue
        cx, cy, scale, angle = row["mesh_frame"]
        if abs(angle) > 0.8:  # turned by more than 45 degrees: a wrong mesh far more often than a lying head
            continue
        mesh = (mean + np.asarray(row["mesh_coef"], np.float32) @ modes).reshape(478, 3)[:, :2] * scale
        cos, sin = np.cos(angle), np.sin(angle)
        points = np.stack([mesh[:, 0] * cos - mesh[:, 1] * sin + cx, mesh[:, 0] * sin + mesh[:, 1] * cos + cy], 1)
        faces.append(_face_cut(_decode(row["image"]), points.astype(np.float32), float(angle)))
        if limit is not None and len(faces) >= limit:
            break
    if not faces:
        raise DataError(f"{folder / 'faces.parquet'} has no train row with a mesh: is it complete?")
    return faces


def _face_cut(image: U8, points: F32, angle: float) -> FaceCut:
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
    return FaceCut(levels=tuple(levels), box_px=np.concatenate([low, high]).astype(np.float32), mask_px=points[_MASK_POINTS])


def move_boxes(box_px: F32, matrix: F32) -> F32:
    """Boxes f32[N,4] after a similarity f32[2,3]: a face is taken for the ellipse in its box, so turns don't inflate it."""
    centre = (box_px[:, :2] + box_px[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (box_px[:, 2:] - box_px[:, :2]) / 2
    moved = np.sqrt(half**2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([centre - moved, centre + moved], 1).astype(np.float32)


def clip_boxes(box_px: F32, valid: Bool, size: int) -> tuple[F32, Bool]:
    """Boxes cut at the border of a square picture; those hardly visible or too small become ignore regions."""
    clipped = np.clip(box_px, 0, size).astype(np.float32)
    side = clipped[:, 2:] - clipped[:, :2]
    visible = side.prod(1) / np.maximum((box_px[:, 2:] - box_px[:, :2]).prod(1), 1e-3)
    keep = side.min(1) > 1
    valid = valid & (visible >= MIN_VISIBLE) & (side.min(1) >= MIN_FACE_PX)
    return clipped[keep], valid[keep]


class SceneMixer:
    """Makes training pictures out of scenes and faces."""

    def __init__(self, scenes: list[Scene], faces: list[FaceCut]) -> None:
        self._scenes = scenes
        self._halves = [cv2.resize(s.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for s in scenes]
        self._faces = faces
        self._negative = np.flatnonzero([s.negative for s in scenes])
        self._peopled = np.flatnonzero([not s.negative for s in scenes])
        if not len(self._negative) or not len(self._peopled):
            raise DataError("the scenes need pictures with and without faces")

    def sample(self, size: int, rng: np.random.Generator) -> Sample:
        """One augmented training picture of `size` x `size` px."""
        kind = rng.random()
        if kind < 0.22:
            sample = self._mosaic(size, rng)
        else:
            sample = self._crop(size, rng, negative=kind < 0.48)
        image = np.ascontiguousarray(_photometric(sample.image, rng))
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            box = sample.box_px[:, [2, 1, 0, 3]].copy()
            box[:, [0, 2]] = size - box[:, [0, 2]]
            return Sample(image=image, box_px=box, valid=sample.valid)
        return Sample(image=image, box_px=sample.box_px, valid=sample.valid)

    def _mosaic(self, size: int, rng: np.random.Generator) -> Sample:
        half = size // 2
        parts, boxes, valids = [], [], []
        for x, y in ((0, 0), (half, 0), (0, half), (half, half)):
            part = self._crop(half, rng, negative=rng.random() < 0.2)
            parts.append(part.image)
            boxes.append(part.box_px + np.float32([x, y, x, y]))
            valids.append(part.valid)
        image = np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])
        return Sample(image=image, box_px=np.concatenate(boxes), valid=np.concatenate(valids))

    def _crop(self, size: int, rng: np.random.Generator, *, negative: bool) -> Sample:
        index = int(rng.choice(self._negative if negative else self._peopled))
        scene = self._scenes[index]
        scale, centre = _zoom(scene, size, rng)
        turn = np.deg2rad(rng.normal(0, 12)) if rng.random() < 0.25 else 0.0
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        matrix = np.float32([[cos, -sin, 0], [sin, cos, 0]])
        matrix[:, 2] = np.float32([size / 2, size / 2]) - matrix[:, :2] @ centre
        border = cv2.BORDER_CONSTANT if rng.random() < 0.7 else cv2.BORDER_REFLECT_101
        if border != cv2.BORDER_CONSTANT and not negative:
            border = cv2.BORDER_REPLICATE  # reflected faces would have no box
        image = _warp(scene.image, self._halves[index], matrix, size, border, rng)
        box, valid = clip_boxes(move_boxes(scene.box_px, matrix), scene.valid, size)
        if rng.random() < (0.6 if negative else 0.4):
            image, box, valid = self._paste_some(image, box, valid, rng)
        return Sample(image=image, box_px=box, valid=valid)

    def _paste_some(self, image: U8, box: F32, valid: Bool, rng: np.random.Generator) -> tuple[U8, F32, Bool]:
        size = len(image)
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < 0.3:
                image, cover = self._paste_scenery(image, rng)
                box, valid = _cover(box, valid, cover)
                continue
            face = self._faces[int(rng.integers(len(self._faces)))]
            natural = float((face.box_px[2:] - face.box_px[:2]).min())
            wanted = float(np.exp(rng.uniform(np.log(11), np.log(min(2.2 * natural, 0.85 * size)))))
            matrix = _placement(face.box_px, wanted / natural, size, rng)
            moved = move_boxes(face.box_px[None], matrix)
            overlap = len(box) > 0 and float(_share(box, moved[0]).max()) > 0.1
            if overlap and rng.random() < 0.8:
                continue
            image = _paste(image, face, matrix, wanted / natural, rng)
            box, valid = _cover(box, valid, moved[0])
            new_box, new_valid = clip_boxes(moved, np.ones(1, bool), size)
            box, valid = np.concatenate([box, new_box]), np.concatenate([valid, new_valid])
        return image, box, valid

    def _paste_scenery(self, image: U8, rng: np.random.Generator) -> tuple[U8, F32]:
        """A patch without a face through the same kind of mask; returns the box it covers."""
        size = len(image)
        source = self._halves[int(rng.choice(self._negative))]
        height, width = source.shape[:2]
        side = int(np.exp(rng.uniform(np.log(12), np.log(min(size * 0.7, height, width)))))
        x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        patch = source[y : y + side, x : x + side]
        at_x, at_y = rng.integers(0, size - side + 1, 2)
        v, u = np.mgrid[:side, :side].astype(np.float32) * (2 / side) - 1
        alpha = np.clip((1 - np.sqrt(u * u * rng.uniform(1, 2) + v * v)) * rng.uniform(2, 12), 0, 1)
        image = image.copy()
        _blend(image[at_y : at_y + side, at_x : at_x + side], patch, alpha)
        return image, np.float32([at_x, at_y, at_x + side, at_y + side])


def _zoom(scene: Scene, size: int, rng: np.random.Generator) -> tuple[float, F32]:
    """Scale and centre of a crop: mostly around a face that is given a size drawn evenly on a log scale."""
    height, width = scene.image.shape[:2]
    fit = size / max(height, width)
    valid = np.flatnonzero(scene.valid)
    if len(valid) and rng.random() < 0.75:
        # A masked face is taken as often as one without, whichever is rarer in the scene.
        masked = scene.masked[valid]
        if masked.any() and not masked.all():
            valid = valid[masked == (rng.random() < 0.5)]
        box = scene.box_px[int(rng.choice(valid))]
        side = box[2:] - box[:2]
        wanted = np.exp(rng.uniform(np.log(12), np.log(0.9 * size)))
        scale = float(np.clip(wanted / side.min(), 0.7 * fit, 3.0))
        reach = max(0.0, size / 2 / scale - side.max() / 2)
        return scale, ((box[:2] + box[2:]) / 2 + rng.uniform(-reach, reach, 2)).astype(np.float32)
    scale = float(np.exp(rng.uniform(np.log(0.8 * fit), np.log(max(2.0, 2 * fit)))))
    slack = np.maximum(0, np.float32([width, height]) - size / scale) / 2
    return scale, (np.float32([width, height]) / 2 + rng.uniform(-1, 1, 2) * slack).astype(np.float32)


def _warp(image: U8, half: U8, matrix: F32, size: int, border: int, rng: np.random.Generator) -> U8:
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    flags = cv2.INTER_LINEAR
    fill = (0, 0, 0) if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
    if scale < 0.6:
        # Pixel k of the half picture covers 2k and 2k + 1.
        matrix = np.concatenate([matrix[:, :2] * 2, matrix[:, 2:] + matrix[:, :2] @ np.full((2, 1), 0.5)], 1)
        image = half
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border, borderValue=fill)


def _placement(box: F32, scale: float, size: int, rng: np.random.Generator) -> F32:
    spread = 45 if rng.random() < 0.15 else 14
    turn = np.deg2rad(rng.normal(0, spread))
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    matrix = np.float32([[cos, -sin, 0], [sin, cos, 0]])
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    half = (box[2:] - box[:2]) * scale / 2 * 0.8
    target = rng.uniform(np.minimum(half, size / 2), np.maximum(size - half, size / 2))
    matrix[:, 2] = target - matrix[:, :2] @ ((box[:2] + box[2:]) / 2)
    return matrix


def _paste(image: U8, face: FaceCut, matrix: F32, scale: float, rng: np.random.Generator) -> U8:
    level = min(len(face.levels) - 1, max(0, int(np.floor(-np.log2(scale) + 0.4))))
    source = face.levels[level]
    if rng.random() < 0.1:
        source = _with_mask(source, face.mask_px / 2**level, rng)
    shrunk = matrix.copy()
    shrunk[:, :2] *= 2**level
    shrunk[:, 2] += matrix[:, :2] @ np.full(2, (2**level - 1) / 2)
    height, width = source.shape[:2]
    corners = np.float32([[0, 0], [width, 0], [0, height], [width, height]]) @ shrunk[:, :2].T + shrunk[:, 2]
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int), 0, len(image) - 1)
    x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int) + 1, (x0 + 1, y0 + 1), len(image))
    shrunk[:, 2] -= (x0, y0)
    patch = cv2.warpAffine(source, shrunk, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    # The mask ends between just inside the outline and far outside it (hair, neck, background of the portrait).
    cut, soft = rng.uniform(80, 150) if rng.random() < 0.6 else rng.uniform(5, 80), rng.uniform(15, 90)
    alpha = np.clip((patch[:, :, 3].astype(np.float32) - cut) / soft + 0.5, 0, 1) * (patch[:, :, 3] > 0)
    rgb = patch[:, :, :3]
    region = image[y0:y1, x0:x1]
    gain = rng.uniform(0.6, 1.3)
    if rng.random() < 0.5:
        gain = np.clip((region.mean() + 12) / (rgb.mean() + 12), 0.35, 1.8)
    tint = np.full(3, gain) * rng.uniform(0.9, 1.1, 3)
    rgb = np.clip(rgb * tint.astype(np.float32) + np.float32(rng.uniform(-15, 15)), 0, 255)
    if rng.random() < 0.15 and min(rgb.shape[:2]) > 8:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.5, 0.02 * min(rgb.shape[:2]) + 0.8)))
    image = image.copy()
    _blend(image[y0:y1, x0:x1], rgb, alpha)
    if rng.random() < 0.12:
        _occlude(image, move_boxes(face.box_px[None], matrix)[0], rng)
    return image


def _with_mask(source: U8, outline: F32, rng: np.random.Generator) -> U8:
    """A medical mask drawn over mouth and nose."""
    colour = rng.integers(0, 256, 3) if rng.random() < 0.4 else (rng.integers(120, 250) + rng.integers(-10, 40) * np.array([0, 0.4, 1]))
    drawn = np.ascontiguousarray(source[:, :, :3])
    cv2.fillPoly(drawn, [np.round(outline * 16).astype(np.int32)], [float(c) for c in np.clip(colour, 0, 255)], cv2.LINE_AA, 4)
    strength = rng.uniform(0.75, 1.0)
    return np.dstack([cv2.addWeighted(drawn, strength, source[:, :, :3], 1 - strength, 0), source[:, :, 3]])


def _occlude(image: U8, box: F32, rng: np.random.Generator) -> None:
    """A bar of one colour over a part of a face; less than half of it is hidden."""
    side = box[2:] - box[:2]
    if rng.random() < 0.5:
        part = side * np.float32([rng.uniform(0.2, 0.45), 1.1])
    else:
        part = side * np.float32([1.1, rng.uniform(0.15, 0.4)])
    corner = np.where(rng.random(2) < 0.5, box[:2] - 0.05 * side, box[2:] + 0.05 * side - part)
    x0, y0 = np.clip(corner, 0, len(image)).astype(int)
    x1, y1 = np.clip(corner + part, 0, len(image)).astype(int)
    image[y0:y1, x0:x1] = rng.integers(0, 256, 3) if rng.random() < 0.6 else image[y0:y1, x0:x1] // 4


def _blend(region: U8, rgb: U8 | F32, alpha: F32) -> None:
    mixed = region + (rgb - region.astype(np.float32)) * alpha[:, :, None]
    region[:] = mixed.astype(np.uint8)


def _share(box: F32, cover: F32) -> F32:
    """How much of each box is covered by another one."""
    low, high = np.maximum(box[:, :2], cover[:2]), np.minimum(box[:, 2:], cover[2:])
    area = np.maximum((box[:, 2:] - box[:, :2]).prod(1), 1e-3)
    return np.asarray(np.clip(high - low, 0, None).prod(1) / area, np.float32)


def _cover(box: F32, valid: Bool, cover: F32) -> tuple[F32, Bool]:
    """Faces that something was pasted over: mostly hidden ones are gone, half hidden ones are neither face nor background."""
    if not len(box):
        return box, valid
    share = _share(box, cover)
    keep = share < 0.8
    return box[keep], (valid & (share < 0.4))[keep]


def _photometric(image: U8, rng: np.random.Generator) -> U8:
    """Light, colour, grey, blur, noise, coarse pixels and compression."""
    ramp = np.arange(256, dtype=np.float32) / 255
    dark = rng.random() < 0.15
    gamma = np.exp(rng.normal(0, 0.25)) * (rng.uniform(1.3, 2.2) if dark else 1)
    gain, bias = rng.uniform(0.3, 0.7) if dark else rng.uniform(0.75, 1.25), rng.normal(0, 0.05)
    tint = 1 + rng.normal(0, 0.07, 3)
    curves = np.stack([np.clip((ramp**gamma - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + bias, 0, 1) * gain * t for t in tint], 1)
    image = cv2.LUT(image, np.clip(curves * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.18:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    degrade = rng.random()
    if degrade < 0.10:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.6)))
    elif degrade < 0.16:
        length = int(rng.integers(3, 8))
        image = cv2.blur(image, (length, 1) if rng.random() < 0.6 else (1, length))
    elif degrade < 0.22:
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.08:
        noise = rng.integers(-12, 13, image.shape, np.int16)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


def batches(
    mixer: SceneMixer, seed: int, size: int, batch_size: int
) -> Iterator[tuple[U8, list[Sample]]]:
    """Endless batches: images uint8[B,S,S,3] and their samples; the size of a batch varies around `size`."""
    rng = np.random.default_rng(seed)
    sizes = {size: 0.7, size - 64: 0.15, size + 64: 0.15}
    while True:
        side = int(rng.choice(list(sizes), p=list(sizes.values())))
        count = max(1, round(batch_size * (size / side) ** 2))
        samples = [mixer.sample(side, rng) for _ in range(count)]
        yield np.stack([s.image for s in samples]), samples
