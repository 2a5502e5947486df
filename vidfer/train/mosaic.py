"""Training pictures for the detector: crops and mosaics of whole scenes, with faces pasted on them.

A sample is a square crop of a train scene (zoomed, turned, mirrored) or four of them, on which single faces are pasted
at all sizes through soft masks. Patches of scenery are pasted through the same masks, so that a soft edge alone says
nothing. Everything is a function of a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from vidfer.errors import DataError
from vidfer.train.hard import Place, cut_patch
from vidfer.train.paste import FaceCut, blend, paste, placement
from vidfer.train.scenes import Sample, Scene, as_f32, clip_boxes, cover_boxes, covered_share, move_boxes
from vidfer.types import F32, U8, Bool

_LETTERS = "0123456789ABCDEGIOQRSUabcdegijopqsu%.:-"


class SceneMixer:
    """Makes training pictures out of scenes and faces.

    Args:
        scenes: With and without faces.
        faces: To paste.
        places: Hard negatives in the scenes.
    """

    def __init__(self, scenes: list[Scene], faces: list[FaceCut], places: Sequence[Place] = ()) -> None:
        self._scenes = scenes
        self._halves = [_half(s.image) for s in scenes]
        self._faces = faces
        self._negative = np.flatnonzero([s.negative for s in scenes])
        self._peopled = np.flatnonzero([not s.negative for s in scenes])
        if not len(self._negative) or not len(self._peopled):
            raise DataError("the scenes need pictures with and without faces")
        self._places = {negative: [p for p in places if scenes[p.scene].negative == negative] for negative in (0, 1)}

    def sample(self, size: int, rng: np.random.Generator, *, calm: bool = False) -> Sample:
        """One augmented training picture of `size` x `size` px; calm ones are nearer to what the detector will see."""
        kind = rng.random()
        if calm:
            sample = self._crop(size, rng, negative=kind < 0.3, calm=True)
        else:
            sample = self._mosaic(size, rng) if kind < 0.22 else self._crop(size, rng, negative=kind < 0.48)
        image = sample.image if calm and rng.random() < 0.5 else _photometric(sample.image, rng)
        image = np.ascontiguousarray(image)
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
            boxes.append(part.box_px + as_f32([x, y, x, y]))
            valids.append(part.valid)
        image = np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])
        return Sample(image=image, box_px=np.concatenate(boxes), valid=np.concatenate(valids))

    def _crop(self, size: int, rng: np.random.Generator, *, negative: bool, calm: bool = False) -> Sample:
        places = self._places[negative]
        place = (
            places[int(rng.integers(len(places)))] if places and rng.random() < (0.5 if negative else 0.15) else None
        )
        index = place.scene if place else int(rng.choice(self._negative if negative else self._peopled))
        scene = self._scenes[index]
        if place and not calm:
            scale, centre = _around(place.box_px, scene, size, rng)
        else:
            scale, centre = _natural(scene, place, size, rng) if calm else _zoom(scene, size, rng)
        turn = np.deg2rad(rng.normal(0, 12)) if rng.random() < 0.25 else 0.0
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        matrix = as_f32([[cos, -sin, 0], [sin, cos, 0]])
        matrix[:, 2] = as_f32([size / 2, size / 2]) - matrix[:, :2] @ centre
        border = cv2.BORDER_CONSTANT if rng.random() < 0.7 else cv2.BORDER_REFLECT_101
        if border != cv2.BORDER_CONSTANT and not negative:
            border = cv2.BORDER_REPLICATE  # reflected faces would have no box
        image = _warp(scene.image, self._halves[index], matrix, size, border, rng)
        box, valid = clip_boxes(move_boxes(scene.box_px, matrix), scene.valid, size)
        if negative and rng.random() < 0.3:
            _write_text(image, rng)
        if rng.random() < (0.6 if negative else 0.4) * (0.5 if calm else 1):
            image, box, valid = self._paste_some(image, box, valid, rng)
        return Sample(image=image, box_px=box, valid=valid)

    def _paste_some(self, image: U8, box: F32, valid: Bool, rng: np.random.Generator) -> tuple[U8, F32, Bool]:
        size = len(image)
        for _ in range(int(rng.integers(1, 4))):
            kind = rng.random()
            if kind < 0.2:
                image, cover = self._paste_scenery(image, rng)
                box, valid = cover_boxes(box, valid, cover)
                continue
            face = self._faces[int(rng.integers(len(self._faces)))]
            natural = float((face.box_px[2:] - face.box_px[:2]).min())
            wanted = float(np.exp(rng.uniform(np.log(11), np.log(min(2.2 * natural, 0.85 * size)))))
            matrix = placement(face.box_px, wanted / natural, size, rng)
            moved = move_boxes(face.box_px[None], matrix)
            overlap = len(box) > 0 and float(covered_share(box, moved[0]).max()) > 0.1
            if overlap and rng.random() < 0.6:
                continue
            # Without heads that have no face, hair and shoulders pass for one (seen on people from behind).
            faceless = kind < 0.45
            image = paste(image, face, matrix, wanted / natural, rng, faceless=faceless)
            box, valid = cover_boxes(box, valid, moved[0])
            if faceless:
                continue
            new_box, new_valid = clip_boxes(moved, np.ones(1, bool), size)
            box, valid = np.concatenate([box, new_box]), np.concatenate([valid, new_valid])
        return image, box, valid

    def _paste_scenery(self, image: U8, rng: np.random.Generator) -> tuple[U8, F32]:
        """A patch without a face through the same kind of mask; returns the box it covers."""
        size = len(image)
        hard = self._places[rng.random() < 0.5]
        if hard and rng.random() < 0.7:
            place = hard[int(rng.integers(len(hard)))]
            side = int(np.exp(rng.uniform(np.log(16), np.log(size * 0.5))))
            patch = cut_patch(self._scenes[place.scene].image, place, side, rng)
        else:
            source = self._halves[int(rng.choice(self._negative))]
            height, width = source.shape[:2]
            side = int(np.exp(rng.uniform(np.log(12), np.log(min(size * 0.7, height, width)))))
            x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            patch = source[y : y + side, x : x + side]
        at_x, at_y = rng.integers(0, size - side + 1, 2)
        v, u = np.mgrid[:side, :side].astype(np.float32) * (2 / side) - 1
        alpha = np.clip((1 - np.sqrt(u * u * rng.uniform(1, 2) + v * v)) * rng.uniform(2, 12), 0, 1)
        image = image.copy()
        blend(image[at_y : at_y + side, at_x : at_x + side], patch, alpha)
        return image, as_f32([at_x, at_y, at_x + side, at_y + side])


def _half(image: U8) -> U8:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


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
        return _around(scene.box_px[int(rng.choice(valid))], scene, size, rng)
    scale = float(np.exp(rng.uniform(np.log(0.8 * fit), np.log(max(2.0, 2 * fit)))))
    slack = np.maximum(0, as_f32([width, height]) - size / scale) / 2
    return scale, (as_f32([width, height]) / 2 + rng.uniform(-1, 1, 2) * slack).astype(np.float32)


def _around(box: F32, scene: Scene, size: int, rng: np.random.Generator) -> tuple[float, F32]:
    """Scale and centre of a crop with a box in it that gets a size drawn evenly on a log scale."""
    height, width = scene.image.shape[:2]
    side = box[2:] - box[:2]
    wanted = np.exp(rng.uniform(np.log(12), np.log(0.9 * size)))
    scale = float(np.clip(wanted / side.min(), 0.7 * size / max(height, width), 3.0))
    return scale, _beside(box, scene, size / scale, rng)


def _natural(scene: Scene, place: Place | None, size: int, rng: np.random.Generator) -> tuple[float, F32]:
    """Scale and centre of a crop of a scene as large as it is, mostly, with a face or the place in it."""
    height, width = scene.image.shape[:2]
    wide = rng.random() < 0.3
    scale = float(np.exp(rng.uniform(np.log(0.5 if wide else 0.8), np.log(1.6 if wide else 1.1))))
    valid = np.flatnonzero(scene.valid)
    if place:
        box = place.box_px
    elif len(valid):
        box = scene.box_px[int(rng.choice(valid))]
    else:
        box = as_f32([0, 0, width, height])
    return min(scale, 0.95 * size / float((box[2:] - box[:2]).min())), _beside(box, scene, size / scale, rng)


def _beside(box: F32, scene: Scene, reach: float, rng: np.random.Generator) -> F32:
    """Centre of a crop of that many px of the scene, with a box anywhere in it."""
    height, width = scene.image.shape[:2]
    free = max(0.0, reach / 2 - float((box[2:] - box[:2]).max()) / 2)
    centre = (box[:2] + box[2:]) / 2 + rng.uniform(-free, free, 2)
    # At most a quarter of the crop lies outside the scene on either side: padding teaches nothing.
    margin = np.minimum(reach / 4, as_f32([width, height]) / 2)
    return as_f32(np.clip(centre, margin, as_f32([width, height]) - margin))


def _warp(image: U8, half: U8, matrix: F32, size: int, border: int, rng: np.random.Generator) -> U8:
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    fill = (0, 0, 0) if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
    if scale < 0.6:
        # Pixel k of the half picture covers 2k and 2k + 1.
        matrix = np.concatenate([matrix[:, :2] * 2, matrix[:, 2:] + matrix[:, :2] @ np.full((2, 1), 0.5)], 1)
        image = half
    warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill)
    return np.asarray(warped, np.uint8)


def _write_text(image: U8, rng: np.random.Generator) -> None:
    """Lettering, some of it on a plain ground: round letters and table cells pass for small faces otherwise."""
    size = len(image)
    for _ in range(int(rng.integers(1, 6))):
        scale, bold = float(np.exp(rng.uniform(np.log(0.3), np.log(4)))), int(rng.integers(1, 4))
        letters = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 9))))
        font = int(rng.integers(0, 8))
        (width, height), _ = cv2.getTextSize(letters, font, scale, bold)
        x, y = int(rng.integers(-width // 2, size)), int(rng.integers(0, size + height))
        ink, paper = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        if rng.random() < 0.5:
            cv2.rectangle(image, (x - 4, y - height - 4), (x + width + 4, y + 6), [int(c) for c in paper], -1)
        thickness = bold * max(1, round(scale * 2)) if scale > 1 else bold
        cv2.putText(image, letters, (x, y), font, scale, [int(c) for c in ink], thickness, cv2.LINE_AA)


def _photometric(image: U8, rng: np.random.Generator) -> U8:
    """Light, colour, grey; then blur, noise, coarse pixels and compression."""
    ramp = np.arange(256, dtype=np.float32) / 255
    dark = rng.random() < 0.15
    gamma = np.exp(rng.normal(0, 0.25)) * (rng.uniform(1.3, 2.2) if dark else 1)
    gain, bias = rng.uniform(0.3, 0.7) if dark else rng.uniform(0.75, 1.25), rng.normal(0, 0.05)
    tint = 1 + rng.normal(0, 0.07, 3)
    curves = np.stack(
        [np.clip((ramp**gamma - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + bias, 0, 1) * gain * t for t in tint], 1
    )
    curved: Any = cv2.LUT(image, np.clip(curves * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.18:
        curved = cv2.cvtColor(cv2.cvtColor(curved, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _degraded(curved, rng)


def _degraded(image: Any, rng: np.random.Generator) -> U8:
    kind = rng.random()
    if kind < 0.10:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.6)))
    elif kind < 0.16:
        length = int(rng.integers(3, 8))
        image = cv2.blur(image, (length, 1) if rng.random() < 0.6 else (1, length))
    elif kind < 0.22:
        image = cv2.resize(_half(image), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.08:
        noise = rng.integers(-12, 13, image.shape, np.int16)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(image, np.uint8)


def batches(
    mixer: SceneMixer, seed: int, size: int, batch_size: int, *, calm: bool = False
) -> Iterator[tuple[U8, list[Sample]]]:
    """Endless batches: images uint8[B,S,S,3] and their samples; the size of a batch varies around `size`."""
    rng = np.random.default_rng(seed)
    sizes = {size: 0.7, size - 64: 0.15, size + 64: 0.15}
    while True:
        side = int(rng.choice(list(sizes), p=list(sizes.values())))
        count = max(1, round(batch_size * (size / side) ** 2))
        samples = [mixer.sample(side, rng, calm=calm) for _ in range(count)]
        yield np.stack([s.image for s in samples]), samples
