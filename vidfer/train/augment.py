"""Degrade crops as cameras and codecs do: low resolution, blur, compression, grey, dark, colour cast, occlusion."""

from __future__ import annotations

import cv2
import numpy as np

from vidfer.types import U8
from vidfer.vision.geometry import CROP_PX

_CLAHE_CELLS = 8


def degrade(image: U8, rng: np.random.Generator, *, small: bool = False, plain: float = 0.3) -> U8:
    """A random mixture of video conditions applied to a crop uint8[S,S,3].

    Args:
        image: The crop.
        rng: Decides what happens.
        small: The crop is an enlarged small face: what destroys detail is left out.
        plain: Share of crops that stay as they are.
    """
    if rng.random() < plain:
        return image
    if rng.random() < 0.6:
        image = recolour(grey(image) if rng.random() < 0.25 else image, rng)
    if not small:
        image = _lose_detail(image, rng)
    if rng.random() < 0.2:
        image = erase(image, rng)
    return image


def _lose_detail(image: U8, rng: np.random.Generator) -> U8:
    if rng.random() < 0.3:
        image = low_resolution(image, rng)
    elif rng.random() < 0.25:
        image = blur(image, rng)
    if rng.random() < 0.15:
        image = _noise(image, rng)
    return compress(image, rng) if rng.random() < 0.3 else image


def grey(image: U8) -> U8:
    """Luma in all three channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def recolour(image: U8, rng: np.random.Generator) -> U8:
    """Exposure, contrast, gamma and colour cast in one table per channel."""
    gamma = np.exp(rng.normal(0, 0.3))
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    offset = rng.normal(0, 0.06)
    levels = (np.arange(256) / 255.0)[:, None] ** gamma * gain + offset
    table = np.clip(levels * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), np.uint8)


def equalise(image: U8, rng: np.random.Generator) -> U8:
    """Contrast equalised place by place (CLAHE, Zuiderveld, 1994), in the lightness alone."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    clahe = cv2.createCLAHE(rng.uniform(1, 4), (_CLAHE_CELLS, _CLAHE_CELLS))
    lab[..., 0] = clahe.apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def low_resolution(image: U8, rng: np.random.Generator) -> U8:
    """Enlarged from 16 to 64 of 112 px; sometimes compressed before."""
    size = image.shape[0]
    small = int(rng.uniform(size / 7, size * 4 / 7))
    down = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        down = compress(np.asarray(down, np.uint8), rng)
    return np.asarray(cv2.resize(down, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def blur(image: U8, rng: np.random.Generator) -> U8:
    """Out of focus, or moved in a straight line; as far for any size as it is for 112 px."""
    unit = image.shape[0] / CROP_PX
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0) * unit), np.uint8)
    length = max(2, round(int(rng.integers(3, 10)) * unit))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle, reach = (length - 1) / 2, length / 2
    start = (round(middle - reach * np.cos(angle)), round(middle - reach * np.sin(angle)))
    end = (round(middle + reach * np.cos(angle)), round(middle + reach * np.sin(angle)))
    cv2.line(kernel, start, end, (1.0,))
    return np.asarray(cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6)), np.uint8)


def _noise(image: U8, rng: np.random.Generator) -> U8:
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 12)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def compress(image: U8, rng: np.random.Generator) -> U8:
    """Through a JPEG of quality 15 to 70."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(15, 70))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def erase(image: U8, rng: np.random.Generator) -> U8:
    """Random erasing (Zhong et al., 2020): a rectangle of one colour or of noise."""
    size = image.shape[0]
    w, h = (rng.uniform(0.1, 0.45, 2) * size).astype(int)
    x, y = int(rng.integers(0, size - w)), int(rng.integers(0, size - h))
    image = image.copy()
    if rng.random() < 0.5:
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    else:
        image[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3))
    return image
