"""The faces that the packaged networks are trained on, `faces.parquet`, as rows of the training table.

Votes of FER+ become shares and, where more than half agree, the expression; the mesh is put together from coefficients
and frame; `soft8` and `soft_va` are the teacher. Left out are points that are too loose to learn from, meshes that are
mistakes, and five points that do not agree with the mesh. Copies of a picture are one group.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.classes import emotion_of
from vidfer.train.datasets.fer import labels_of_votes
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import Source
from vidfer.train.mesh import MeshBasis
from vidfer.train.points import box_around, reduced
from vidfer.types import F32

_LOOSE68 = "affectnet"  # its 68 points were set by a program of 2013
_UPRIGHT, _MOST_TURNED = "ferplus", np.pi / 3
_FARTHEST5 = 0.2  # of the distance of the eyes: mean distance of five points from those of the mesh


class KnownFaces:
    """Reads rows of one `faces.parquet`, which has these columns.

    Raises:
        DataError: A column is missing, or the basis of the meshes is.
    """

    COLUMNS: ClassVar = frozenset(
        ("image", "set", "split", "group", "label", "votes", "valence", "arousal", "points68", "points5")
        + ("mesh_coef", "mesh_frame", "soft8", "soft_va")
    )

    def __init__(self, path: Path, columns: Collection[str]) -> None:
        missing = sorted(self.COLUMNS.difference(columns))
        if missing:
            raise DataError(f"{path} has mesh_coef, but lacks {', '.join(missing)}: take faces.parquet as it is")
        basis = path.with_name("mesh_basis.npz")
        if not basis.is_file():
            raise DataError(f"{path} holds meshes as coefficients, and {basis.name} is not beside it: put it there")
        self._basis = MeshBasis(basis)
        self._groups: dict[bytes, str] = {}

    def group(self, values: dict[str, Any]) -> str:
        """The group of a row: that of the first row with the same picture."""
        return self._groups.setdefault(sha256(values["image"]).digest(), str(values["group"]))

    def labels(self, values: dict[str, Any], where: str, source: Source) -> Labels | None:
        """What a row says; None where it was to be left out."""
        mesh = self._mesh(values, where, source)
        emotion, votes = values["label"], None
        if source.emotion is not None:
            name = values[source.emotion]
            emotion = None if name is None else emotion_of(name, where, source.classes)
        elif values["votes"] is not None:
            told = labels_of_votes(np.array(values["votes"], np.float32))
            if isinstance(told, str):
                source.tally.drop_label(told, where)
            else:
                emotion, votes = told.emotion, told.votes
        affect = (values["valence"], values["arousal"])
        soft = None if values["soft8"] is None else np.array(values["soft8"], np.float32)
        return Labels(
            emotion=emotion,
            votes=votes,
            valence_arousal=None if None in affect else affect,
            box=None if mesh is None else box_around(mesh),
            points=self._points(values, mesh, where, source),
            teacher=None if soft is None else soft / soft.sum(),
            # float16: the sum of a few is past 1 by rounding.
            teacher_va=None if values["soft_va"] is None else tuple(np.clip(values["soft_va"], -1, 1).tolist()),
            face_found=mesh is not None,
        )

    def _mesh(self, values: dict[str, Any], where: str, source: Source) -> F32 | None:
        if values["mesh_coef"] is None:
            return None
        frame = np.array([values["mesh_frame"]], np.float32)
        if values["set"] == _UPRIGHT and abs(float(frame[0, 3])) > _MOST_TURNED:
            source.tally.drop_label("mesh of an upright face turned by more than 60 degrees", where)
            return None
        mesh: F32 = self._basis.points(np.array([values["mesh_coef"]], np.float32), frame)[0]
        return mesh

    def _points(self, values: dict[str, Any], mesh: F32 | None, where: str, source: Source) -> dict[int, F32]:
        points: dict[int, F32] = {} if mesh is None else {478: mesh}
        if values["points68"] is not None and values["set"] != _LOOSE68:
            points[68] = np.array(values["points68"], np.float32).reshape(68, 2)
        if values["points5"] is not None and mesh is not None:
            five, of_mesh = np.array(values["points5"], np.float32).reshape(5, 2), reduced(mesh, 5)
            off = np.linalg.norm(five - of_mesh, axis=1).mean() / np.linalg.norm(of_mesh[0] - of_mesh[1])
            if off <= _FARTHEST5:
                points[5] = five
            else:
                source.tally.drop_label("five points that do not agree with the mesh", where)
        return points
