"""`export --to pyfeat` in py-feat itself.

py-feat brings torch, torchvision and much else, so it lives in an environment of its own (`pip install py-feat`), whose
Python is named by VIDFER_PYFEAT. The columns by themselves are checked in test_export_formats.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from observed import face, nobody, write_observed

from vidfer.output.export.formats import ExportOptions, export_table

OPEN = """
import json, sys
import pandas
from feat import Fex
from feat.utils import FEAT_EMOTION_COLUMNS, FEAT_FACEBOX_COLUMNS, FEAT_FACEPOSE_COLUMNS_3D
from feat.utils import openface_2d_landmark_columns
from feat.utils.io import read_feat

groups = dict(
    emotion_columns=FEAT_EMOTION_COLUMNS,
    facebox_columns=FEAT_FACEBOX_COLUMNS,
    facepose_columns=FEAT_FACEPOSE_COLUMNS_3D,
    landmark_columns=openface_2d_landmark_columns,
    time_columns=["frame", "approx_time"],
)
fex = Fex(pandas.read_csv(sys.argv[1]), detector="Feat", **groups)
parts = ("emotions", "faceboxes", "poses", "landmarks", "landmarks_x", "time")
found = {name: list(getattr(fex, name).shape) for name in parts}
found |= {"people": list(fex.identities.dropna().unique()), "inputs": list(fex.inputs.unique())}
found |= {"happiest": float(fex.emotions["happiness"].max()), "read": list(read_feat(sys.argv[1]).faceboxes.shape)}
x, y = fex.landmarks_dlib68_xy()
found |= {"first_point": [float(x[0, 0]), float(y[0, 0])]}
print(json.dumps(found))
"""


@pytest.mark.slow
def test_fex_opens_it(tmp_path: Path) -> None:
    python = os.environ.get("VIDFER_PYFEAT")
    if python is None:
        pytest.skip("PY-FEAT NOT TRIED: name the Python of an environment with py-feat by VIDFER_PYFEAT")
    rows = [face(0, 0, emotion_happiness=0.75), nobody(1), face(2, 1)]
    out = tmp_path / "t.pyfeat.csv"
    export_table(write_observed(tmp_path / "t.parquet", rows), out, ExportOptions(to="pyfeat"))
    done = subprocess.run([python, "-c", OPEN, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "emotions": [3, 7],
        "faceboxes": [3, 5],
        "poses": [3, 3],
        "landmarks": [3, 136],
        "landmarks_x": [3, 68],
        "time": [3, 2],
        "people": ["Person_0", "Person_1"],
        "inputs": ["talk.mp4"],
        "happiest": 0.75,
        "read": [3, 5],
        "first_point": [0.0, 0.125],
    }
