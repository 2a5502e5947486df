"""What `linking.py` tries thresholds on: clips analysed once, and files made of their faces.

Nothing here depends on a threshold. What the network said of each face is kept, so a file made of halves of clips, or
of persons who relieve each other, is put together from faces that were looked at before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import mot_score
import numpy as np

from vidfer.media.file import VideoFile
from vidfer.pipeline.analyze import Analyzer
from vidfer.pipeline.options import ProcessOptions, frame_interval_s
from vidfer.pipeline.run import Models
from vidfer.types import DETECTED, F32, F64, I64, Bool, Detections, FrameResult
from vidfer.vision.face import FaceNetwork
from vidfer.vision.session import Session

# Who is to be seen, by eye. Most pictures of these clips but d0's are among the training pictures, too: see README.
PERSONS = {
    "d0.mp4": "d0",
    "d10.mp4": "d10",
    "d11.mp4": "d11",
    "d12.mp4": "d12",
    "d14.mp4": "d14",
    "d18.mp4": "d18",
    "d20.mp4": "d20",
    "s13.mp4": "s13",
    "s18.mp4": "s18",
    "s20.mp4": "s20",
    "s29.mp4": "s29",
    "WolfgangLanger_Pexels.mp4": "actress",
    "face_noface.mov": "man at the door",
    "noface_face.mov": "man at the door",
    "book.mkv": "signer",
    "walk.mkv": "signer",
    "carphone_pristine.mp4": "man in the car",
}
# The rest of these is a cartoon.
FRAMES = {"face_noface.mov": (0, 73), "noface_face.mov": (96, 169)}
# Several persons, told apart by ground truth: number in there -> person.
CROWDS = {
    "interview2.mp4": {1: "interview 1", 2: "interview 2"},
    "composite_dev.mp4": {1: "d10", 2: "d12", 3: "d20", 4: "d14", 5: "s18"},
}
# Each in their place: clip -> (shot, least and largest x of the left edge, least width in px, person). Shot 1 is dark.
PLACES = {
    "short_hamilton_clip.mp4": (
        (0, 400, 640, 20, "singer"),
        (0, 0, 100, 20, "pianist"),
        (2, 100, 320, 60, "singer"),
        (3, 20, 70, 40, "audience 1"),
        (3, 150, 200, 40, "audience 2"),
        (3, 300, 340, 40, "audience 3"),
        (3, 360, 420, 40, "audience 4"),
    )
}
_SPOT = (100.0, 100.0, 260.0, 300.0)  # where those who relieve each other stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """F frames and the N faces in them, as analysed; person "" where nobody can tell.

    Attributes:
        time_s: f64[F].
        shot: i64[F].
        at: i64[N], the frame of each face, not decreasing.
        box_px: f32[N,4].
        score: f32[N].
        presence: f32[N].
        detected: bool[N], not only confirmed by the face network.
        embedding: f32[N,128], with the precision of the parts.
        person: str[N].
    """

    time_s: F64
    shot: I64
    at: I64
    box_px: F32
    score: F32
    presence: F32
    detected: Bool
    embedding: F32
    person: np.ndarray

    def frames(self, start: int, stop: int) -> Clip:
        """Some of the frames."""
        rows = slice(*np.searchsorted(self.at, (start, stop)).tolist())
        own = {f.name: getattr(self, f.name)[rows] for f in fields(self)[2:]}
        return Clip(time_s=self.time_s[start:stop], shot=self.shot[start:stop], **{**own, "at": own["at"] - start})

    def rows(self, chosen: Bool) -> Clip:
        """Some of the faces in all of the frames."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)[2:]})


def joined(clips: Iterable[Clip], *, gap_s: float = 0.04, cuts: bool = True) -> Clip:
    """One file, with a cut between two clips or none."""
    parts: list[Clip] = []
    time_s, shot, frames = 0.0, 0, 0
    for clip in clips:
        begin_s, begin_shot = clip.time_s[0], clip.shot[0]
        parts.append(
            replace(
                clip, time_s=clip.time_s - begin_s + time_s, shot=clip.shot - begin_shot + shot, at=clip.at + frames
            )
        )
        time_s, frames = float(parts[-1].time_s[-1]) + gap_s, frames + len(clip.time_s)
        shot = int(parts[-1].shot[-1]) + cuts
    return Clip(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Clip)})


def pieces(clip: Clip, count: int) -> list[Clip]:
    """The frames in so many stretches of the same length."""
    ends = np.linspace(0, len(clip.time_s), count + 1).round().astype(int).tolist()
    return [clip.frames(start, stop) for start, stop in pairwise(ends)]


def halves(clips: Sequence[Clip]) -> Clip:
    """All first halves, then all second ones, each a shot."""
    both = [pieces(clip, 2) for clip in clips]
    return joined(half for halves in zip(*both, strict=True) for half in halves)


def seconds(clips: Sequence[Clip], length_s: float = 1.0) -> list[Clip]:
    """Stretches of about a second in which somebody is seen nearly all the time."""
    found = []
    for clip in clips:
        span = clip.time_s[-1] - clip.time_s[0]
        parts = pieces(clip, max(1, round(span / length_s)))
        found += [part for part in parts if len(np.unique(part.at)) >= 0.8 * len(part.time_s)]
    return found


def holes(clips: Sequence[Clip], *, seen_s: float = 1.0, hole_s: float = 0.5) -> Clip:
    """Each clip as a shot in which the face is out of sight again and again."""
    return joined(clip.rows(clip.time_s[clip.at] % (seen_s + hole_s) < seen_s) for clip in clips)


def relay(clips: Sequence[Clip], *, gap_s: float, shots: int = 8, seed: int = 0) -> Clip:
    """Shots in which all persons stand in one spot, one after the other, for a second each."""
    random = np.random.default_rng(seed)
    turns: dict[str, list[Clip]] = {}
    for part in seconds(clips):
        turns.setdefault(str(part.person[0]), []).append(part)
    made = []
    for _ in range(shots):
        persons = random.permutation(sorted(turns)).tolist()
        shot = joined((turns[who][random.integers(len(turns[who]))] for who in persons), gap_s=gap_s, cuts=False)
        made.append(replace(shot, shot=np.zeros_like(shot.shot), box_px=np.full_like(shot.box_px, _SPOT)))
    return joined(made)


class Analysis:
    """Analyses clips with a face network, and keeps what it found.

    Args:
        videos: Folder of the clips.
        model: ONNX file of a face network; the packaged one by default.
        kept: Folder for what was found.
    """

    def __init__(self, videos: Path, model: Path | None, precision: str, kept: Path | None) -> None:
        models = Models("cpu", precision)
        self._videos, self._kept = videos, kept
        self._detector = models.detector
        self.session = models.sessions[1] if model is None else Session(model, device="cpu")
        self._network = FaceNetwork(self.session)
        hashes = models.hashes["face_detector"] + self.session.card.sha256
        self._key = hashlib.sha256(hashes.encode()).hexdigest()[:12]

    def person_clip(self, name: str) -> Clip:
        """A clip of one person: the surest face of each frame."""
        clip = self.clip(name)
        clip = clip.frames(*FRAMES.get(name, (0, len(clip.time_s))))
        order = np.lexsort((-clip.score - clip.presence, clip.at))
        first = order[np.flatnonzero(np.diff(clip.at[order], prepend=-1))]
        clip = clip.rows(np.isin(np.arange(len(clip.at)), first))
        return replace(clip, person=np.full(len(clip.at), PERSONS[name]), shot=np.zeros_like(clip.shot))

    def crowd_clip(self, name: str) -> Clip:
        """A clip with ground truth."""
        clip = self.clip(name)
        truth = self.truth(name)
        person = clip.person.copy()
        xywh = np.concatenate([clip.box_px[:, :2], clip.box_px[:, 2:] - clip.box_px[:, :2]], axis=1).astype(np.float64)
        for frame in np.unique(clip.at):
            true_rows = np.flatnonzero((truth.frame == frame) & truth.valid)
            rows = np.flatnonzero(clip.at == frame)
            for r, c in mot_score.assign(mot_score.overlap(truth.xywh[true_rows], xywh[rows])[0]):
                person[rows[c]] = CROWDS[name][int(truth.identity[true_rows[r]])]
        return replace(clip, person=person)

    def places_clip(self, name: str) -> Clip:
        """A clip in which persons keep to their places."""
        clip = self.clip(name)
        left, wide, shot = clip.box_px[:, 0], clip.box_px[:, 2] - clip.box_px[:, 0], clip.shot[clip.at]
        person = clip.person.copy()
        for number, low, high, least, who in PLACES[name]:
            person[(shot == number) & (left >= low) & (left < high) & (wide >= least)] = who
        return replace(clip, person=person)

    def truth(self, name: str) -> mot_score.Boxes:
        """Ground truth of a clip."""
        return mot_score.read_truth((self._videos / name).with_suffix(".gt.txt"))

    def clip(self, name: str) -> Clip:
        """Any clip; analysed if it was not before."""
        kept = self._kept and self._kept / f"{Path(name).stem}-{self._key}.npz"
        if kept and kept.exists():
            with np.load(kept) as found:
                return Clip(**found)
        clip = self._analyse(self._videos / name)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **{f.name: getattr(clip, f.name) for f in fields(clip)})
        return clip

    def _analyse(self, path: Path) -> Clip:
        results: list[FrameResult] = []
        with VideoFile(path) as video:
            interval_s = frame_interval_s(video.info, ProcessOptions())
            analyzer = Analyzer(self._detector, self._network, _NoTracker(), frame_interval_s=interval_s)
            with closing(analyzer.intervals(video)) as intervals:
                for interval in intervals:
                    results += interval.results
        time_s = [i * interval_s if r.time_s is None else r.time_s for i, r in enumerate(results)]
        faces = [r.faces for r in results]
        counts = [len(f) for f in faces]

        def head(name: str, width: int) -> F32:
            return np.concatenate([f.heads[name] for f in faces if len(f)] or [np.zeros((0, width), np.float32)])

        return Clip(
            time_s=np.array(time_s, np.float64),
            shot=np.array([r.shot for r in results], np.int64),
            at=np.repeat(np.arange(len(faces)), counts).astype(np.int64),
            box_px=np.concatenate([f.box_px for f in faces]),
            score=np.concatenate([f.score for f in faces]),
            presence=head("presence", 1)[:, 0],
            detected=np.concatenate([f.status for f in faces]) == DETECTED,
            embedding=head("embedding", 128).astype(np.float16).astype(np.float32),
            person=np.full(sum(counts), "", "<U16"),
        )


class _NoTracker:
    """Tracking comes later."""

    def update(self, time_s: float, shot: int, detections: Detections, embedding: F32) -> I64:
        return np.full(len(detections), -1, np.int64)
