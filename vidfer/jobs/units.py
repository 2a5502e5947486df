"""What a job is made of: sources, the tasks that workers get, and the records of what became of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DONE, FAILED, REJECTED = "done", "failed", "rejected"
STATES = (DONE, FAILED, REJECTED)
SPLIT = "split"  # so long that it is analysed in parts; never stands in the ledger
ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One video that a job names.

    Attributes:
        name: Absolute path, or URL in an object store.
        identity: What tells its content from an earlier one without reading it: size and time of change, or the
            store's tag; "absent" where there is none.
        size: Bytes.
    """

    name: str
    identity: str
    size: int = 0

    @property
    def key(self) -> int:
        """64 bits that stand for name and identity: millions of them are kept in memory."""
        return number_of(self.name, self.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker gets.

    Attributes:
        source: What to analyse.
        attempt: 1 for the first.
        unit: For parts of a long file: what it is a part of.
        part: Which part, from 0; `parts` for stitching all of them; None for the whole file.
        parts: How many there are.
    """

    source: Source
    attempt: int = 1
    unit: str | None = None
    part: int | None = None
    parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of a task: a line in the ledger.

    Attributes:
        source: Name of the source.
        identity: Its identity.
        state: "done"; "failed": worth another attempt; "rejected": no video that can be read.
        attempt: Which one it was.
        host: Where.
        ended: When, in seconds since 1970.
        seconds: How long it took.
        bytes: Size of the source.
        unit: By what is in the file, not by its name; None where it could not be read.
        reason: Why not done, in one line.
        sha256: Of the file.
        frames: Analysed ones.
        faces: Faces in them.
        tracks: Face tracks.
        duration_s: Of the video.
        resumed_frames: Frames that a worker had done which was stopped.
        parts: In how many parts it was analysed, or is to be; 0 for a whole file.
    """

    source: str
    identity: str
    state: str
    attempt: int
    host: str
    ended: float
    seconds: float = 0.0
    bytes: int = 0
    unit: str | None = None
    reason: str | None = None
    sha256: str | None = None
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    duration_s: float | None = None
    resumed_frames: int = 0
    parts: int = 0


def unit_of(sha256: str, config_sha256: str) -> str:
    """What is made of one content in one way. The letter keeps readers from taking a name of digits for a number."""
    return "u" + hashlib.sha256(f"{sha256} {config_sha256}".encode()).hexdigest()[:24]


def number_of(*texts: str) -> int:
    """64 bits that stand for some texts."""
    return int.from_bytes(hashlib.blake2b("\0".join(texts).encode(errors="surrogateescape"), digest_size=8).digest())
