"""Asks a server, and takes its answers apart."""

import http.client
import json
from urllib.parse import urlsplit

from patience import PATIENCE_S


class Client:
    """Asks a server, as programs do."""

    def __init__(self, url, **headers):
        self._place = urlsplit(url)
        self._headers = headers

    def ask(self, method, path, body=None, **headers):
        """(status, headers, body) of an answer; underscores in the names of headers are hyphens."""
        connection = http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=PATIENCE_S)
        named = {name.replace("_", "-"): value for name, value in {**self._headers, **headers}.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, **headers):
        """(status, what JSON says)."""
        status, _, text = self.ask(method, path, body, **headers)
        return status, json.loads(text)

    def refused(self, method, path, body=None, **headers):
        """(status, line) of an answer that is an error: one line and nothing else."""
        status, said = self.json(method, path, body, **headers)
        assert status >= 400
        assert list(said) == ["error"]
        assert "\n" not in said["error"]
        return status, said["error"]


def parts_of(body):
    """What an answer to the page holds: JSON and pictures."""
    length = int.from_bytes(body[:4], "little")
    said, at = json.loads(body[4 : 4 + length]), 4 + length
    pictures = {}
    for camera in said["cameras"]:
        if camera["picture_bytes"]:
            pictures[camera["name"]] = body[at : at + camera["picture_bytes"]]
            at += camera["picture_bytes"]
    assert at == len(body)
    return said, pictures


def box_of(face):
    """x, y, width and height of a face, or of a row of the table."""
    return [face[f"face_{side}"] for side in "xywh"]
