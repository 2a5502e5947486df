"""A million sources: nothing of the driver grows with them but a few bytes each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("million.py")


@pytest.mark.slow
def test_a_million_sources_do_not_sit_in_memory(tmp_path):
    ran = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=True)
    print(ran.stdout)
    peak = {name: mark["peak_mb"] for name, mark in json.loads(ran.stdout).items()}
    assert peak["planned"] - peak["begun"] < 50
    assert peak["rerun that does nothing"] - peak["begun"] < 300, "the manifest is sorted by some 40 bytes a source"
