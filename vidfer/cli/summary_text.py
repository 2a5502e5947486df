"""What `vidfer summary` says on the terminal: the most important, in lines that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vidfer.stats.affect import AffectSummary, Moments
from vidfer.stats.summary import FaceSummary, SourceSummary, VideoSummary
from vidfer.stats.synchrony import Synchrony
from vidfer.types import EMOTIONS

_MOST_FACES, _MOST_PEAKS, _MOST_CHANGES, _MOST_PAIRS = 12, 5, 4, 6
_LEAST_SHARE = 0.05
_HEAD = (
    "face",
    "on screen",
    "from",
    "to",
    "emotions, share of the time",
    "valence",
    "arousal",
    "expressivity",
    "changes/min",
)
_LEFT = 4  # the column that starts at the left
_LEAST_NEUTRAL = 0.5


def of_source(one: SourceSummary, *, first: bool) -> Iterator[str]:
    """One source; `first`: nothing stands before it."""
    if not first:
        yield ""
    yield f"{one.table}: {_video(one.video)}"
    longest = sorted(one.faces, key=lambda face: -face.on_screen_s)[:_MOST_FACES]
    longest.sort(key=lambda face: face.face_id)
    if not longest:
        return
    baseline = any(face.baseline for face in one.faces)
    rows = [_HEAD + (("from own neutral",) if baseline else ())]
    rows += [_face(face) + ((_own(face),) if baseline else ()) for face in longest]
    if len(one.faces) > 1:
        all_of_them = ("all", _clock(one.video.face_s), "", "", *_shown(one.video))
        rows.append(all_of_them + (("",) if baseline else ()))
    yield from _aligned(rows)
    if len(one.faces) > len(longest):
        yield f"  {len(one.faces) - len(longest)} more faces, each shorter on screen: --to csv has all"
    yield from _listed("changes", _changes(one.faces), _MOST_CHANGES)
    yield from _listed("peaks", _peaks(one.faces), _MOST_PEAKS)
    yield from _listed("together", [_pair(pair) for pair in one.synchrony], _MOST_PAIRS)


def warnings(done: Sequence[SourceSummary], baseline: bool) -> Iterator[str]:
    """Faces whose baseline is unknown or hardly neutral."""
    for one in done if baseline else ():
        unknown = [face.face_id for face in one.faces if face.baseline is None]
        doubtful = [f.face_id for f in one.faces if f.baseline and 1 - f.baseline.expressivity < _LEAST_NEUTRAL]
        if unknown:
            yield f"{one.table}: no baseline of {_faces(unknown)}, seen for too short or not in that span: null"
        if doubtful:
            yield f"{one.table}: {_faces(doubtful)} hardly neutral in the baseline: look at emotion_neutral_baseline"


def _faces(ids: Sequence[int]) -> str:
    some = ", ".join(str(face_id) for face_id in ids[:_MOST_FACES])
    return f"{len(ids)} of its faces ({some}{', ...' if len(ids) > _MOST_FACES else ''})"


def _video(video: VideoSummary) -> str:
    share = video.with_faces_s / video.seconds if video.seconds else 0
    faces = f"{video.faces} face track{'s' * (video.faces != 1)}, at most {video.most_faces} at once"
    return f"{_clock(video.seconds)} analysed, faces in {_clock(video.with_faces_s)} ({share:.0%}), {faces}"


def _face(face: FaceSummary) -> tuple[str, ...]:
    times = (_clock(face.on_screen_s), _clock(face.first_s), _clock(face.last_s))
    return (str(face.face_id), *times, *_shown(face))


def _shown(one: FaceSummary | VideoSummary) -> tuple[str, ...]:
    if one.smooth is None:
        return ("", "", "", "", "")
    rate = 60 * int(one.transitions.sum()) / one.smooth.seconds
    plane = (_spread(one.smooth.valence), _spread(one.smooth.arousal))
    return (_emotions(one.smooth), *plane, f"{one.smooth.expressivity:.2f}", f"{rate:.1f}")


def _emotions(affect: AffectSummary) -> str:
    order = sorted(range(len(EMOTIONS)), key=lambda i: -affect.share[i])[:3]
    return ", ".join(f"{EMOTIONS[i]} {affect.share[i]:.0%}" for i in order if affect.share[i] >= _LEAST_SHARE)


def _spread(of: Moments) -> str:
    return f"{_signed(of.mean)} ±{of.sd:.2f}"


def _own(face: FaceSummary) -> str:
    """How valence and arousal differ from the person's own neutral."""
    if face.baseline is None or face.smooth is None:
        return "unknown"
    valence = face.smooth.valence.mean - face.baseline.valence.mean
    arousal = face.smooth.arousal.mean - face.baseline.arousal.mean
    return f"valence {_signed(valence)}, arousal {_signed(arousal)}"


def _changes(faces: Sequence[FaceSummary]) -> list[str]:
    """The most frequent ones first."""
    found = [
        (int(face.transitions[i, j]), f"face {face.face_id} {EMOTIONS[i]} to {EMOTIONS[j]}")
        for face in faces
        for i, j in zip(*face.transitions.nonzero(), strict=True)
    ]
    return [f"{text} {count} times" if count > 1 else text for count, text in sorted(found, key=lambda one: -one[0])]


def _peaks(faces: Sequence[FaceSummary]) -> list[str]:
    """The strongest ones first."""
    found = sorted(((peak, face) for face in faces for peak in face.peaks), key=lambda one: -one[0].prominence)
    return [
        f"{_clock(peak.time_s)} face {face.face_id} {peak.signal} {'falls' if peak.is_trough else 'rises'} to "
        f"{_signed(peak.value)}, prominence {peak.prominence:.2f}"
        for peak, face in found
    ]


def _pair(pair: Synchrony) -> str:
    faces = f"faces {pair.first} and {pair.second}"
    leads = (
        f"{pair.first if pair.lag_s > 0 else pair.second} leads by {abs(pair.lag_s):.1f} s" if pair.lag_s else "no lag"
    )
    chance = (
        "chance unknown: too short"
        if pair.surrogate is None
        else f"slid along {pair.surrogate:.2f}, p {pair.surrogate_p:.2f}"
    )
    return f"{faces} {pair.signal} r {pair.correlation:.2f} ({chance}), {leads}"


def _listed(name: str, texts: Sequence[str], most: int) -> Iterator[str]:
    for i, text in enumerate(texts[:most]):
        yield f"  {name if i == 0 else '':<9} {text}"
    if len(texts) > most:
        yield f"  {'':<9} and {len(texts) - most} more: --to csv has all"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{text:<{w}}" if i == _LEFT else f"{text:>{w}}"
            for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    clock = f"{minutes % 60}:{rest // 10:02d}.{rest % 10}"
    return f"{minutes // 60}:{clock:0>7}" if minutes >= 60 else clock
