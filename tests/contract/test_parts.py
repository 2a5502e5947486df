"""Parts of a table: numbered, closed, with a state each; whatever a crash or a power cut leaves of the last one."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from vidfer.errors import InputError, OutputError
from vidfer.output.parts import PartWriter, last_state, part_paths, read_parts

SCHEMA = pa.schema([("frame", pa.int64()), ("box", pa.list_(pa.float32(), 4))])


def made_up(number: int) -> pa.Table:
    return pa.table({"frame": [number] * 2000, "box": [[0.5 * number] * 4, None] * 1000}, schema=SCHEMA)


def three_parts(folder: Path) -> list[Path]:
    writer = PartWriter(folder)
    return [writer.write_part(made_up(number), {"state": number}) for number in range(3)]


def frames(folder: Path) -> list[int]:
    return [part["frame"][0].as_py() for part in read_parts(folder)]


def test_they_come_back_in_order_with_the_last_state(tmp_path: Path) -> None:
    folder = tmp_path / ".video.vidfer"
    assert last_state(folder) is None
    assert [path.name for path in three_parts(folder)] == [f"part-00000{n}.parquet" for n in range(3)]
    assert [part.equals(made_up(n)) for n, part in enumerate(read_parts(folder))] == [True] * 3
    assert last_state(folder) == {"state": 2}
    PartWriter(folder).write_part(made_up(3))
    assert last_state(folder) is None


def test_only_the_columns_that_are_named_are_read(tmp_path: Path) -> None:
    three_parts(tmp_path)
    assert [part.column_names for part in read_parts(tmp_path, columns=["box"])] == [["box"]] * 3
    assert next(read_parts(tmp_path, columns=["box"])).schema.field("box").type == pa.list_(pa.float32(), 4)


def test_numbers_go_on_and_half_written_ones_go(tmp_path: Path) -> None:
    three_parts(tmp_path)
    (tmp_path / "part-000003.parquet.part").write_bytes(b"killed here")
    again = PartWriter(tmp_path)
    assert not list(tmp_path.glob("*.part"))
    assert again.write_part(made_up(3)).name == "part-000003.parquet"
    assert frames(tmp_path) == [0, 1, 2, 3]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def zeroed(content: bytes) -> bytes:
    """What a file system may show after a power cut: the length is there, the blocks are not."""
    return content[:4] + bytes(min(2000, len(content) // 4)) + content[4 + min(2000, len(content) // 4) :]


@pytest.mark.parametrize("damage", [cut, emptied, zeroed])
@pytest.mark.parametrize("how_many", [1, 2, 3])
def test_damaged_parts_at_the_end_are_as_if_never_written(tmp_path: Path, damage, how_many: int) -> None:
    for path in three_parts(tmp_path)[3 - how_many :]:
        path.write_bytes(damage(path.read_bytes()))
    kept = 3 - how_many
    assert last_state(tmp_path) == ({"state": kept - 1} if kept else None)
    assert frames(tmp_path) == list(range(kept))
    assert PartWriter(tmp_path).write_part(made_up(7)).name == f"part-00000{kept}.parquet"
    assert frames(tmp_path) == [*range(kept), 7]
    assert len(list(tmp_path.iterdir())) == kept + 1


def test_a_missing_part_is_noticed(tmp_path: Path) -> None:
    three_parts(tmp_path)[1].unlink()
    with pytest.raises(InputError, match=r"part 1 of .* is missing"):
        list(read_parts(tmp_path))


def test_parts_are_synced_before_they_get_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    fsync, path = os.fsync, tmp_path / "part-000000.parquet"

    def noting(descriptor: int) -> None:
        kind = "folder" if os.fstat(descriptor).st_mode & 0o040000 else "file"
        synced.append((kind, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    PartWriter(tmp_path).write_part(made_up(0))
    assert synced[0] == ("file", False)
    assert os.name != "posix" or synced[1] == ("folder", True)


def test_a_full_disk_keeps_the_parts_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three_parts(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free the disk"):
        PartWriter(tmp_path).write_part(made_up(3))
    assert sorted(tmp_path.iterdir()) == part_paths(tmp_path)
    assert last_state(tmp_path) == {"state": 2}
