"""What one camera leaves on the disk, whatever breaks: a video that cannot be made costs no row of the table."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from vidfer.errors import OutputError
from vidfer.output.archive import Archive
from vidfer.output.parquet import read_footer
from vidfer.pipeline import rolling
from vidfer.pipeline.follow import Followed
from vidfer.pipeline.looks import Look
from vidfer.pipeline.rolling import Rolling, RollingOptions
from vidfer.types import Frame

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOBODY = np.zeros((0, 4), np.float32)


def followed(index, colours="bt709", at_s=None):
    utc = NOON + timedelta(seconds=index / 25 if at_s is None else at_s)
    picture = SimpleNamespace(width=8, height=8, colours=colours)
    frame = Frame(source_id="x", index=index, pts=index, time_s=index / 25, captured_utc=utc, picture=picture)
    return Followed(frame=frame, result=Look(frame, NOBODY, np.zeros(0, np.float32), 0).result(0), hide_px=NOBODY)


class Recording:
    """A video that takes pictures of one kind, and none at all where `error` is set."""

    error, error_at_end, ended = None, None, []

    def __init__(self, path, first, **options):
        self._colours = first.frame.picture.colours

    def add(self, one):
        if self.error is not None:
            raise self.error
        if one.frame.picture.colours != self._colours:
            raise ValueError("other colours")

    def close(self):
        self.ended.append("closed")
        if self.error_at_end is not None:
            raise self.error_at_end

    def discard(self, error):
        self.ended.append("discarded")


@pytest.fixture
def recording(monkeypatch):
    """The class of recordings, without errors."""
    made = type("Made", (Recording,), {"ended": []})
    monkeypatch.setattr(rolling, "Recording", made)
    return made


class Written:
    """A `Rolling` and what it did."""

    def __init__(self, folder, archive, *, record):
        self.folder, self.happened = folder, []
        self.rolling = Rolling(
            archive,
            "x",
            RollingOptions(record=record),
            describe=lambda frames, faces, lost: {"frames": frames, "not_written": lost},
            happened=lambda event, reason: self.happened.append((event, reason)),
        )

    def pieces(self):
        """(frames, frames not written before) of each piece."""
        footers = [read_footer(path) for path in sorted(self.folder.rglob("part-*.parquet"))]
        return [(footer["frames"], footer["not_written"]) for footer in footers]


@pytest.fixture
def written(tmp_path, request):
    with Archive(tmp_path) as archive:
        yield Written(tmp_path, archive, record=getattr(request, "param", True))


def test_a_video_that_breaks_is_noted_once_and_the_table_is_kept(written, recording):
    for index in range(30):
        recording.error = ValueError("odd picture") if index >= 10 else None
        written.rolling.add(followed(index))
    written.rolling.close()
    assert written.pieces() == [(30, 0)]
    assert written.happened == [("video lost", "ValueError: odd picture")]
    assert recording.ended == ["discarded"]


def test_the_next_piece_has_a_video_again(written, recording):
    recording.error = ValueError("odd picture")
    written.rolling.add(followed(0))
    recording.error = None
    written.rolling.add(followed(1, at_s=61))
    written.rolling.close()
    assert written.pieces() == [(1, 0), (1, 0)]
    assert recording.ended == ["discarded", "closed"]


def test_a_video_that_cannot_be_ended_costs_no_row(written, recording):
    recording.error_at_end = ValueError("odd end")
    written.rolling.add(followed(0))
    written.rolling.close()
    assert written.pieces() == [(1, 0)]
    assert written.happened == [("video lost", "ValueError: odd end")]


@pytest.mark.parametrize("written", [True, False], indirect=True)
def test_other_colours_begin_a_piece_where_there_is_a_video(written, recording):
    for index in range(20):
        written.rolling.add(followed(index, "bt709" if index < 12 else "bt601"))
    written.rolling.close()
    assert written.pieces() == ([(12, 0), (8, 0)] if recording.ended else [(20, 0)])
    assert written.happened == []


def test_a_disk_that_was_full_is_told_with_what_was_not_written(written, recording):
    written.rolling.add(followed(0))
    recording.error = OutputError("no space")
    for index in range(1, 5):
        written.rolling.add(followed(index))
    assert written.rolling.state == "paused: no space"
    written.rolling._retry_at = 0.0
    written.rolling.tick(NOON)
    assert written.happened == [("writing paused", "no space"), ("writing resumed", "3 frames were not written")]
    assert written.pieces() == [(2, 3)]


def test_what_was_abandoned_is_counted_in_the_next_piece(written, recording):
    for index in range(4):
        written.rolling.add(followed(index))
    written.rolling.abandon(ValueError("odd rows"))
    assert recording.ended == ["discarded"]
    assert written.happened == [("piece lost", "ValueError: odd rows: 4 frames")]
    written.rolling.abandon(ValueError("there is no piece"))
    assert len(written.happened) == 1
    written.rolling.add(followed(4))
    written.rolling.close()
    assert written.pieces() == [(1, 4)]


def test_no_frame_goes_uncounted_where_pieces_cannot_be_written(written, recording, monkeypatch):
    """Not the one that ends such a piece, and not those that such a piece was to tell."""
    write, failures = Archive.write, [ValueError("odd rows")] * 2

    def fail_twice(self, *args):
        if failures:
            raise failures.pop()
        write(self, *args)

    monkeypatch.setattr(Archive, "write", fail_twice)
    for index in range(3):
        written.rolling.add(followed(index, at_s=61 * index))
    written.rolling.close()
    assert written.pieces() == [(1, 2)]
    assert [event for event, _ in written.happened] == ["piece lost"] * 2


def test_a_clock_that_is_set_back_begins_a_piece(written, recording):
    for index, at_s in enumerate([0, 1, 2, -3600, -3599]):
        written.rolling.add(followed(index, at_s=at_s))
    written.rolling.close()
    assert sorted(written.pieces()) == [(2, 0), (3, 0)]
