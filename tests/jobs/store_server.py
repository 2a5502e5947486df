"""An object store of this machine, in a process of its own: prints its port, and lasts until its standard input ends.

python tests/jobs/store_server.py s3|gs|az
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TOKEN = "ya29.nur-fuer-uns-5518"  # of gs, for whoever has a key
ACCOUNT, KEY = "archivist", "c3RyZW5nIGdlaGVpbSwgd2lya2xpY2g="  # of az


@contextmanager
def s3() -> Iterator[int]:
    """Moto's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@contextmanager
def gs() -> Iterator[int]:
    """The emulator, which believes everybody; here it wants a token, and gives one at /token."""
    from gcp_storage_emulator import server as emulator

    class Handler(emulator.RequestHandler):
        def do_POST(self) -> None:
            if self.path == "/token":
                self._answer(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
            else:
                super().do_POST()

        def do_GET(self) -> None:
            if self.headers["Authorization"] == f"Bearer {TOKEN}":
                super().do_GET()
            else:
                self._answer(403, {"error": {"code": 403, "message": "Anonymous caller may not list objects"}})

        def _answer(self, code: int, about: dict[str, Any]) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(about).encode())

    emulator.RequestHandler = Handler
    server = emulator.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield server._api._httpd.server_address[1]
    server.stop()


@contextmanager
def az() -> Iterator[int]:
    """Azurite's."""
    command = [
        "azurite-blob",
        "--blobPort",
        "0",
        "--inMemoryPersistence",
        "--disableTelemetry",
        "--skipApiVersionCheck",
    ]
    env = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield next(int(found[1]) for line in server.stdout if (found := re.search(r"listens on http://.*:(\d+)", line)))
        server.terminate()


if __name__ == "__main__":
    with {"s3": s3, "gs": gs, "az": az}[sys.argv[1]]() as port:
        print(port, flush=True)
        sys.stdin.read()
