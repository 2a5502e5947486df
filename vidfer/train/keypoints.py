"""4 and 15 points out of iBUG-68, measured as systems measure that know no more points.

They see the whole of small pictures and say where a point is in shares or px of these, so how tight the pictures are
cut decides about the figure. Here the picture is a square around the face, as large as theirs usually are.

* 4 points, eye centres and lip corners, on FER2013: mean distance in shares of a picture's side. Its pictures are 1.10
  times as large as the longer side of the face's mesh (median of the val rows).
* 15 points of the facial keypoints set (Kaggle, 2013), 96x96 px: root of the mean squared difference of all
  coordinates, px. The eye centres of its faces are 36 px apart in the mean, as those of lfpw are (median) in squares of
  1.00 times the longer side of the mesh.

An eye's centre is the mean of its six points; the set's own is the pupil, which iBUG-68 does not have.
"""

from __future__ import annotations

import numpy as np

from vidfer.train import metrics
from vidfer.train.metrics import Array, Measure
from vidfer.train.points import reduced
from vidfer.types import I64

_FER2013_SIDE, _KEYPOINTS_SIDE = 1.10, 1.00
_KEYPOINTS_PX = 96


def keypoint_measures(rows: I64, points68: Array, target68: Array, side: Array) -> list[Measure]:
    """Figures of 4 and 15 points of lfpw rows.

    Args:
        rows: Which rows of the yardstick they are.
        points68: Points f[N,68,2] as the network sees them.
        target68: As they were set by hand, in the same unit.
        side: Longer side f[N] of the face's mesh in that unit.
    """
    off4 = np.linalg.norm(reduced(points68, 4) - reduced(target68, 4), axis=2).mean(1) / (side * _FER2013_SIDE)
    scale = _KEYPOINTS_PX / (side * _KEYPOINTS_SIDE)
    off15 = (reduced(points68, 15) - reduced(target68, 15)) * scale[:, None, None]
    squares = (off15**2).mean((1, 2))
    return [
        Measure(name="points4_error_lfpw", metric=metrics.mean, rows=rows, columns=(off4,)),
        Measure(name="points15_rmse_px_lfpw", metric=metrics.root_mean, rows=rows, columns=(squares,)),
    ]
