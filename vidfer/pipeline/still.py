"""One picture by itself: a photo that somebody sends while cameras are watched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vidfer.media.picture import ArrayPicture
from vidfer.pipeline.looks import Looker
from vidfer.pipeline.tracks import SURE_FACE
from vidfer.types import U8, Faces, Frame


def still_analysis(looker: Looker) -> Callable[[U8], Faces]:
    """How to find the faces of one picture, RGB uint8[H,W,3], from left to right, without ids.

    It may be called by any thread. A face is what is sure by itself: a track of one frame in `process`.
    """

    def analyze(image: U8) -> Faces:
        frame = Frame(source_id="", index=0, pts=None, time_s=None, picture=ArrayPicture(image))
        look = looker.detect([frame])[0]
        if len(look.box_px):
            look.keep(np.flatnonzero(look.score + look.heads["presence"][:, 0] >= SURE_FACE))
            look.keep(np.argsort(look.box_px[:, 0], kind="stable"))
        return look.result(shot=0).faces

    return analyze
