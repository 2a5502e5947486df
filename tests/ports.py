"""Ports for servers that go away and come back."""

import random
import socket


def free_port() -> int:
    """Below those that systems give to whoever asks for any: nobody else gets it while its server is away."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
