"""A server with cameras that are none."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import Client
from fake_cameras import FakeCamera, analysed, looker

from vidfer.pipeline.board import Board

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def looking():
    """The networks."""
    return looker()


@pytest.fixture(scope="session")
def clip(looking):
    """A few frames of the demo clip, analysed."""
    return analysed(REPOSITORY / "examples" / "two_faces.mp4", looking, 8, step=2)


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def camera(board, clip):
    return FakeCamera(board, "front", clip)


@pytest.fixture
def serving(board):
    """`with serving(...) as (server, client)`: a server of the board."""
    from vidfer.serve.server import serve

    @contextmanager
    def start(host="127.0.0.1", **options):
        with serve(board, host, 0, **options) as server:
            yield server, Client(server.url.replace("//0.0.0.0", "//127.0.0.1"))

    return start
