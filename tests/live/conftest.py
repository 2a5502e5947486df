"""Cameras that come back soon: pauses between attempts are short here, and opening may take long."""

from functools import partial

import pytest

from vidfer.media.connect import LiveOptions


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("vidfer.pipeline.camera.LiveOptions", partial(LiveOptions, open_s=60.0, retry_s=(0.05, 0.2)))


@pytest.fixture(scope="session")
def loops(tmp_path_factory):
    """A folder for the loops that servers show; encoded once."""
    return tmp_path_factory.mktemp("loops")
