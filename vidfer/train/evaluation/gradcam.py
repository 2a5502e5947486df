"""Grad-CAM (Selvaraju et al., 2017): which places of a picture speak for a class."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vidfer.train.networks.registry import MultiTaskNet
from vidfer.types import F32, I64, U8


def grad_cam(net: MultiTaskNet, crops: U8, classes: I64, head: str = "emotion") -> F32:
    """Maps f32[B,S,S] from 0 to 1, each stretched to its own largest value; all 0 where nothing speaks for the class.

    Args:
        net: In eval mode; read at its `features_layer`.
        crops: uint8[B,S,S,3].
        classes: Which logit of each picture.
        head: Whose logits.
    """
    kept: list[Tensor] = []

    def keep(_module: object, _given: object, features: Tensor) -> None:
        features.requires_grad_()  # where no weight asks for a gradient
        kept.append(features)

    hook = net.features_layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = net(torch.from_numpy(crops))[head]
            chosen = logits[torch.arange(len(crops)), torch.from_numpy(classes)].sum()
            (gradient,) = torch.autograd.grad(chosen, kept[0])
    finally:
        hook.remove()
    weight = gradient.float().mean((2, 3), keepdim=True)
    found = torch.relu((weight * kept[0].detach().float()).sum(1)).numpy()
    side = crops.shape[1]
    large = np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in found])
    highest = large.max((1, 2), keepdims=True)
    return np.asarray(np.divide(large, highest, out=np.zeros_like(large), where=highest > 0), np.float32)
