"""How long each face shows the same emotion, by the smoothed label and on true time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vidfer.errors import InputError
from vidfer.output.export.reader import Reader

# A face that is not seen for so long (an occlusion, a predicted box) shows what it showed before, if it does so after.
_BRIDGED_S = 0.5
# The last frame before a gap is shown no longer than so many usual steps.
_STEPS_SHOWN = 3
_USUAL_STEP_S = 0.04
_COLUMNS = ("frame", "timestamp", "epoch", "shot", "face_id", "emotion_smooth")

_Row = tuple[int, float | None, int, int, int | None, str | None]


@dataclass(slots=True, kw_only=True)
class Stretch:
    """One face with one label, from the first frame of it to the moment when its last one is no longer shown.

    It ends at cuts, as smoothing does.
    """

    face_id: int
    label: str
    start_s: float
    end_s: float
    place: tuple[int, int]  # epoch and shot

    @property
    def start_ms(self) -> int:
        """Its beginning in whole milliseconds."""
        return round(self.start_s * 1000)

    @property
    def end_ms(self) -> int:
        """Its end in whole milliseconds."""
        return round(self.end_s * 1000)


def find_stretches(reader: Reader) -> list[Stretch]:
    """The stretches of a table by their beginning; they take memory, the rows do not.

    Raises:
        InputError: The table has no times.
    """
    found: list[Stretch] = []
    current: dict[int, Stretch] = {}
    usual_s = _usual_step(reader.about)
    timed = False
    for rows, next_s in _frames(reader):
        time_s, epoch, shot = rows[0][1:4]
        if time_s is None:
            continue
        timed = True
        is_next = next_s is not None and 0 < next_s - time_s <= _STEPS_SHOWN * usual_s + _BRIDGED_S
        end_s = next_s if is_next and next_s is not None else time_s + usual_s
        for _, _, _, _, face_id, label in rows:
            if face_id is None or label is None:
                continue
            last = current.get(face_id)
            if last is not None and _goes_on(last, label, (epoch, shot), time_s):
                last.end_s = max(last.end_s, end_s)
            else:
                # Where time steps back, a stretch still begins after the one before: tiers have no overlaps.
                start_s = time_s if last is None else max(time_s, last.end_s)
                made = Stretch(face_id=face_id, label=label, start_s=start_s, end_s=end_s, place=(epoch, shot))
                if made.end_ms > made.start_ms >= 0:
                    current[face_id] = made
                    found.append(made)
    if not timed:
        raise InputError(f"{reader.path} has no times, as of photos: export it with --to csv")
    return sorted(found, key=lambda one: (one.start_ms, one.face_id))


def _goes_on(last: Stretch, label: str, place: tuple[int, int], time_s: float) -> bool:
    return last.label == label and last.place == place and last.start_s <= time_s <= last.end_s + _BRIDGED_S


def _frames(reader: Reader) -> Iterator[tuple[list[_Row], float | None]]:
    """The rows of each frame and when the next frame comes; rows that are not kept have no face."""
    frame: list[_Row] = []
    for row in _rows(reader):
        if frame and (row[0], row[2]) != (frame[0][0], frame[0][2]):
            yield frame, row[1] if row[2] == frame[0][2] else None
            frame = []
        frame.append(row)
    if frame:
        yield frame, None


def _rows(reader: Reader) -> Iterator[_Row]:
    for batch, keep in reader.marked_batches(_COLUMNS):
        columns = [batch[name].to_pylist() for name in _COLUMNS]
        if keep is not None:  # all frames are needed: they say how long those before them are shown
            kept = keep.to_pylist()
            columns[4] = [face if one else None for face, one in zip(columns[4], kept, strict=True)]
        yield from zip(*columns, strict=True)


def _usual_step(about: dict[str, Any]) -> float:
    """Seconds from one analysed frame to the next, as far as the footer tells."""
    sampling = about.get("sampling") or {}
    if sampling.get("fps"):
        return 1 / float(sampling["fps"])
    rate = (about.get("source") or {}).get("average_frame_rate")
    if not rate:
        return _USUAL_STEP_S
    above, _, below = str(rate).partition("/")
    return float(sampling.get("stride") or 1) * float(below or 1) / float(above) if float(above) else _USUAL_STEP_S
