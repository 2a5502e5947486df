"""How near an exported network is to torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidfer.errors import ModelError
from vidfer.train.exporters.base import Predict
from vidfer.types import F32, F64, U8

BATCHES = (1, 2, 7)
_BLOCKS = 8  # of a picture's side: structures as faces have them, which pure noise has not
# Below this, what the network says is no longer what the one in float32 says.
LEAST_CORRELATION = 0.9
_SHIFT = 0.01
_STILL = 1e-6  # how much values vary, of the largest one, that are the same but for rounding


def pictures(batch: int, side: int, seed: int) -> U8:
    """Pictures uint8[B,S,S,3] to compare on: blocks of colour with noise."""
    rng = np.random.default_rng([seed, batch])
    cell = -(-side // _BLOCKS)
    blocks = rng.integers(0, 256, (batch, _BLOCKS, _BLOCKS, 3)).repeat(cell, 1).repeat(cell, 2)[:, :side, :side]
    return np.clip(blocks + rng.normal(0, 20, blocks.shape), 0, 255).astype(np.uint8)


def largest_differences(
    name: str, torch: Predict, exported: Predict, inputs: Sequence[U8], tolerance: float
) -> dict[str, float]:
    """By head the largest difference from torch / the largest value of that head (at least 1).

    Raises:
        ModelError: One is larger than `tolerance`.
    """
    found: dict[str, float] = {}
    for given in inputs:
        for head, (wanted, got) in _said(name, torch, exported, given).items():
            off = float(np.abs(wanted - got).max()) / max(1.0, float(np.abs(wanted).max()))
            if not off <= tolerance:
                raise ModelError(
                    f"{name}: {head} is off by {off:.2g} of its largest value for {len(given)} pictures, allowed is "
                    f"{tolerance:g}: it is not exported, choose another --format"
                )
            found[head] = max(found.get(head, 0.0), off)
    return {head: _short(off) for head, off in found.items()}


def agreement(name: str, torch: Predict, exported: Predict, inputs: Sequence[U8]) -> dict[str, dict[str, float]]:
    """How a network that computes in bytes agrees with torch, by head.

    `mean_difference` is that of the values as they are (logits, px), `correlation` that of how they vary from picture
    to picture, and `same_class` the share of the pictures with the same most likely emotion.

    Raises:
        ModelError: A head varies otherwise than torch's, or gives no numbers.
    """
    parts: dict[str, list[tuple[F32, F32]]] = {}
    for given in inputs:
        for head, pair in _said(name, torch, exported, given).items():
            parts.setdefault(head, []).append(pair)
    found = {}
    for head, pairs in parts.items():
        wanted, got = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
        found[head] = {
            "mean_difference": _short(float(np.abs(wanted - got).mean())),
            "largest_difference": _short(float(np.abs(wanted - got).max())),
            "correlation": round(_correlation(wanted, got), 4),
        }
        if head == "emotion":
            found[head]["same_class"] = round(float((wanted.argmax(1) == got.argmax(1)).mean()), 4)
        if not found[head]["correlation"] >= LEAST_CORRELATION:
            raise ModelError(
                f"{name}: {head} varies otherwise than in float32 (correlation {found[head]['correlation']:g}, needed "
                f"is {LEAST_CORRELATION:g}): calibrate it with other --data, or export it as onnx"
            )
        _refuse_shifted(name, head, wanted, got)
    return found


def _said(name: str, torch: Predict, exported: Predict, given: U8) -> dict[str, tuple[F32, F32]]:
    wanted, got = torch(given), exported(given)
    for head, values in wanted.items():
        if head not in got or got[head].shape != values.shape or got[head].dtype != np.float32:
            shape = f"{got[head].dtype}{list(got[head].shape)}" if head in got else f"only {', '.join(got)}"
            raise ModelError(f"{name}: {head} must be float32{list(values.shape)}, got {shape}: it is not exported")
        if not np.isfinite(got[head]).all():
            raise ModelError(f"{name}: {head} is no number for some pictures: it is not exported")
    return {head: (values, got[head]) for head, values in wanted.items()}


def _correlation(wanted: F64, got: F64) -> float:
    """Over all values less their mean over the pictures: a mean face would agree with any other face, too.

    1 where torch says the same of all pictures, but for rounding; 0 where only the other one does.
    """
    first, second = ((values - values.mean(0)).ravel() for values in (wanted, got))
    if np.abs(first).max() <= _STILL * max(1.0, float(np.abs(wanted).max())):
        return 1.0
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else 0.0


def _refuse_shifted(name: str, head: str, wanted: F64, got: F64) -> None:
    """Values that vary as they should, but around another mean or too much.

    They must be nearer than torch's mean over the pictures is, or, where little varies, than `_SHIFT` of the largest.
    """
    off = np.abs(wanted - got).mean()
    allowed = max(np.abs(wanted - wanted.mean(0)).mean(), _SHIFT * max(1.0, float(np.abs(wanted).max())))
    if not off <= allowed:
        raise ModelError(
            f"{name}: {head} is off by {off:.2g} on average, allowed is {allowed:.2g}: calibrate it with other --data, "
            "or export it as onnx"
        )


def _short(value: float) -> float:
    return float(f"{value:.2g}")
