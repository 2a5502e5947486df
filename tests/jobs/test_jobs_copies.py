"""Copies of objects of a store, and where they go."""

import errno
import os
from types import SimpleNamespace

import pytest

from vidfer.errors import OutputError, VidferError
from vidfer.jobs import remote
from vidfer.jobs.redact import without_secrets
from vidfer.jobs.scratch import Scratch, make_own


class Store:
    def __init__(self, error=None):
        self._error = error

    def get_file(self, place, path, callback):
        with open(path, "wb") as file:  # noqa: PTH123 (as fsspec does)
            file.write(place.encode())
        if self._error is not None:
            raise self._error


def test_a_name_that_no_disk_takes_is_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_store", lambda scheme: Store())
    name = "\N{OGHAM LETTER BEITH}" * 300 + ".mp4"
    copy = remote.fetch(f"s3://bucket/folder/{name}", tmp_path)
    assert copy.suffix == ".mp4"
    assert copy.read_text() == f"bucket/folder/{name}"
    assert remote.fetch("s3://bucket/../../a.mp4", tmp_path) == tmp_path / "a.mp4"


def test_a_hidden_folder_that_is_named_is_looked_into_and_no_other_one(monkeypatch):
    listed = [("archive/.old", [], ["a.mp4", ".b.mp4"]), ("archive/.old/.c", [], ["d.mp4"])]
    store = SimpleNamespace(walk=lambda top, **_: ((f, d, {key: {} for key in names}) for f, d, names in listed))
    monkeypatch.setattr(remote, "_store", lambda scheme: store)
    assert [source.name for source in remote.find("s3://archive/.old/")] == ["s3://archive/.old/a.mp4"]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, OutputError), (errno.EROFS, OutputError), (errno.ECONNRESET, VidferError)]
)
def test_a_full_disk_is_not_the_fault_of_the_object(number, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_store", lambda scheme: Store(OSError(number, os.strerror(number))))
    with pytest.raises(VidferError) as raised:
        remote.fetch("s3://bucket/a.mp4", tmp_path)
    assert type(raised.value) is kind


def test_a_folder_for_copies_that_is_somebody_elses_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = Scratch()
    folder = scratch.empty()
    (folder / "a.mp4").touch()
    scratch.remove()
    assert not list(folder.parent.iterdir())
    folder.parent.rmdir()
    (tmp_path / "else").mkdir()
    folder.parent.symlink_to(tmp_path / "else")
    with pytest.raises(OutputError, match="Permission denied"):
        Scratch().empty()
    if os.getuid() == 0:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 1, 1)
        with pytest.raises(PermissionError):
            make_own(tmp_path / "theirs")


def test_no_credential_is_left_in_what_a_store_says(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "streng-geheim")
    said = (
        'Could not connect to "http://me:Geheim1@minio:9000/b/a.mp4?X-Amz-Signature=Geheim2&x=1" by way of '
        "proxy https://you:Geh@im3@proxy:3128 with streng-geheim: s3://archive/a@b.mp4"
    )
    assert without_secrets(said) == (
        'Could not connect to "http://***@minio:9000/b/a.mp4?X-Amz-Signature=***&x=1" by way of '
        "proxy https://***@proxy:3128 with ***: s3://archive/a@b.mp4"
    )
