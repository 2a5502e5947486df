"""What reads training data works without torch, which CI has but a fresh machine has not."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "copies",
        "data",
        "datasets.build",
        "labelling.label",
        "hard",
        "loop_config",
        "paste",
        "points",
        "scenes",
        "targets",
    ],
)
def test_training_data_is_read_without_torch(module):
    code = f"import sys; sys.modules['torch'] = None; import vidfer.train.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
