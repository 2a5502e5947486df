"""Schemathesis asks everything that the description allows, and what it does not allow."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="REST IS NOT TESTED: pip install 'vidfer[serve]'")

from fake_cameras import FakeCamera

from vidfer.pipeline.still import still_analysis

ROOT = Path(__file__).parents[2]
TOKEN = "correct-horse-battery"
# That a body which is any bytes may be no picture is what the description cannot say.
NOT_CHECKED = "positive_data_acceptance"


@pytest.fixture(scope="module")
def schemathesis():
    """The program, or a loud skip."""
    tools = ROOT / ".venv-tools" / "bin"
    found = shutil.which("schemathesis", path=tools) or shutil.which("schemathesis")
    if found is None:
        pytest.skip("REST IS NOT FUZZED: schemathesis is missing (make .venv-tools/.stamp installs it)")
    return found


def test_every_answer_is_one_that_the_description_promises(serving, board, clip, looking, schemathesis, tmp_path):
    """Also: no fault of ours, nothing without the token, other methods refused."""
    camera = FakeCamera(board, "front", clip)
    with serving(token=TOKEN, analyze=still_analysis(looking)) as (server, _), board.look("front"):
        camera.step()  # its picture stays, though the camera is paused and stopped in between
        options = {
            "--header": f"Authorization: Bearer {TOKEN}",
            "--checks": "all",
            "--exclude-checks": NOT_CHECKED,
            "--phases": "coverage,fuzzing",
            "--max-examples": "10",
            "--seed": "1",
            "--generation-database": "none",
            "--request-timeout": "60",
        }
        words = [word for option in options.items() for word in option]
        command = [schemathesis, "run", f"{server.url}openapi.json", *words, "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "9 selected / 9 total" in done.stdout
    assert board.stop_requested.is_set()  # it was asked for, too
