"""One camera's faces from frame to frame: ids that are final at once, and smoothing that does not wait, or only a bit.

A file's second look (`tracks.SecondLook`) knows the end of the story; here every frame is told once. So the tracker
remembers longer, a face that comes back is known at its first look or not at all, a track is a face from the moment on
at which it would pass for one, and smoothing knows `lag_s` of what follows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from vidfer.output.overlay import OverlayFace
from vidfer.pipeline.analyze import Follower, Tracker
from vidfer.pipeline.board import EMOTION_SMOOTH, LABEL_SMOOTH, VALENCE_AROUSAL_SMOOTH
from vidfer.pipeline.cuts import THUMBNAIL_H, THUMBNAIL_W, CutDetector
from vidfer.pipeline.looks import Look
from vidfer.pipeline.rows import HIDE_AROUND_S
from vidfer.pipeline.tracks import is_face, softmax
from vidfer.smooth import Smoothing, smooth_track
from vidfer.types import DETECTED, EMOTIONS, F32, I64, Bool, Detections, Faces, Frame, FrameResult

# How long the tracker waits for a face: nobody will join two tracklets later.
REMEMBER_S = 1.0
# A face that comes back gets its former id if its first sure look is so much like the mean of those before: anywhere,
# or near to where it was last seen. Of looks at other people (12 clips) 0.4 % reach the first cosine, 2.5 % would 0.5.
# IDF1 on composite_dev, every frame and every third: 0.70 and 0.59 without this, 0.74 and 0.77 with it.
RETURN_S = 10.0
RETURN_COSINE, NEAR_COSINE = 0.6, 0.45
NEAR_S, NEAR_SIZES = 3.0, 1.5
# Smoothing closes at longer gaps, as in files.
_GAP_S = 0.5
# What lies so many time constants back counts for e^-8 of what is now.
_MEMORY = 8.0
_EMBEDDING_SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A frame with all that is said of it.

    `result.faces` holds everything that was found: `track_id` is the id of the face, -1 where that is none for sure;
    smoothed heads stand beside the raw ones. `hide_px` f32[M,4] is where a face may be: what was found, sure or not, in
    this frame, just before it, and just after it as far as that is known.
    """

    frame: Frame
    result: FrameResult
    hide_px: F32

    def sure(self) -> FrameResult:
        """With the sure faces only."""
        return replace(self.result, faces=_some(self.result.faces, self.result.faces.track_id >= 0))


def _unit(vector: F32) -> F32:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def _some(faces: Faces, chosen: Bool) -> Faces:
    return Faces(
        box_px=faces.box_px[chosen],
        score=faces.score[chosen],
        status=faces.status[chosen],
        track_id=faces.track_id[chosen],
        heads={name: values[chosen] for name, values in faces.heads.items()},
    )


@dataclass(slots=True)
class _Track:
    """What is remembered of a face; one row for each of its last frames."""

    first_s: float
    last_s: float
    box_px: F32
    looks_sum: F32
    face_id: int = -1
    best_score: float = 0.0
    presence_sum: float = 0.0
    looks: int = 0
    segment: int = 0
    rows: deque[tuple[float, int, int, F32, F32, float]] = field(default_factory=deque)

    @classmethod
    def begin(cls, result: FrameResult, row: int) -> _Track:
        """A track that is yet to get its first look."""
        faces, time_s = result.faces, result.time_s or 0.0
        nothing = np.zeros_like(faces.heads["embedding"][row])
        return cls(first_s=time_s, last_s=time_s, box_px=faces.box_px[row], looks_sum=nothing)

    def add(self, result: FrameResult, row: int, gap_s: float) -> None:
        """The face in the next frame."""
        faces, time_s = result.faces, result.time_s or 0.0
        self.best_score = max(self.best_score, float(faces.score[row]))
        self.presence_sum += float(faces.heads["presence"][row, 0])
        self.looks += 1
        self.looks_sum += faces.heads["embedding"][row]
        self.segment += time_s - self.last_s > gap_s
        self.last_s, self.box_px = time_s, faces.box_px[row]
        probability = softmax(faces.heads["emotion"][row : row + 1])[0]
        affect, quality = faces.heads["valence_arousal"][row], float(faces.heads["quality"][row, 0])
        self.rows.append((time_s, result.index, self.segment, probability, affect, quality))

    def likeness(self, former: _Track) -> float | None:
        """How much this track looks like one that may be its past; None where that is not enough, or cannot be."""
        away_s = self.first_s - former.last_s
        if not 0 < away_s <= RETURN_S:
            return None
        cosine = float(_unit(self.looks_sum) @ _unit(former.looks_sum))
        centres = [(track.box_px[:2] + track.box_px[2:]) / 2 for track in (self, former)]
        size = max(float((track.box_px[2:] - track.box_px[:2]).max()) for track in (self, former))
        is_near = away_s <= NEAR_S and float(np.hypot(*(centres[0] - centres[1]))) <= NEAR_SIZES * size
        return cosine if cosine >= (NEAR_COSINE if is_near else RETURN_COSINE) else None

    @property
    def is_face(self) -> bool:
        """Whether a track that ended here would be one."""
        best, presence = np.array([[self.best_score], [self.presence_sum / self.looks]], np.float32)
        return is_face(best, presence, np.ones(1, bool))

    def smoothed(self, index: int, smoothing: Smoothing) -> tuple[F32, F32, int]:
        """Probabilities, valence and arousal, and label at one of its frames, from all that is known by now."""
        times, frames, segments, probability, affect, quality = zip(*self.rows, strict=True)
        found = smooth_track(
            np.array(times),
            np.array(segments, np.int32),
            np.array(probability, np.float32),
            np.array(affect, np.float32),
            np.array(quality, np.float32),
            smoothing,
        )
        at = frames.index(index)
        return found.emotion_probability[at], found.valence_arousal[at], int(found.emotion[at])


class CameraFollower:
    """Gives the looks at one camera ids and smoothed values, in order.

    Args:
        tracker: Of this camera; it should remember a face for `REMEMBER_S`.
        smoothing: How strongly.
        lag_s: How much of what follows a frame is waited for.
        interval_s: Usual time between two frames.
        first_id: The first id to give to a face.
        shot: Of the first frame.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        smoothing: Smoothing,
        lag_s: float = 0.0,
        interval_s: float,
        first_id: int = 0,
        shot: int = 0,
    ) -> None:
        self._follower = Follower(tracker, interval_s)
        self._smoothing, self._lag_s = smoothing, lag_s
        self._gap_s = max(_GAP_S, 3 * interval_s)
        self._memory_s = lag_s + _MEMORY * max(smoothing.time_constant_s, interval_s)
        self.next_id, self.shot = first_id, shot
        self._cuts = CutDetector()
        self._epoch: int | None = None
        self._tracks: dict[int, _Track] = {}
        self._waiting: deque[Followed] = deque()
        self._found: deque[tuple[float, F32]] = deque()

    def add(self, look: Look) -> list[Followed]:
        """Take in the next look; gives the frames that are done, oldest first."""
        frame, done = look.frame, []
        cut = self._cuts.is_cut(frame.picture.gray(THUMBNAIL_W, THUMBNAIL_H))
        if self._epoch is not None and (cut or frame.epoch != self._epoch):
            done = self.flush()
            self.shot += 1
        self._epoch = frame.epoch
        result = look.result(self.shot)
        time_s = result.time_s or 0.0
        faces = replace(result.faces, track_id=self._tracklets(result))
        for row, name in enumerate(faces.track_id.tolist()):
            if name not in self._tracks:
                self._tracks[name] = _Track.begin(result, row)
            self._tracks[name].add(result, row, self._gap_s)
        self._found.append((time_s, faces.box_px))
        self._waiting.append(Followed(frame=frame, result=replace(result, faces=faces), hide_px=faces.box_px))
        self._name_faces(faces.track_id)
        while self._waiting and (self._waiting[0].result.time_s or 0.0) <= time_s - self._lag_s:
            done.append(self._finished(self._waiting.popleft()))
        self._forget(time_s)
        return done

    def flush(self) -> list[Followed]:
        """The frames that still wait, told with what is known now."""
        done = [self._finished(waiting) for waiting in self._waiting]
        self._waiting.clear()
        return done

    def _tracklets(self, result: FrameResult) -> I64:
        faces = result.faces
        detections = Detections(box_px=faces.box_px, score=faces.score)
        embedding = faces.heads.get("embedding", np.zeros((0, _EMBEDDING_SIZE), np.float32))
        return self._follower.update(result.time_s, result.shot, detections, embedding)

    def _name_faces(self, tracklets: I64) -> None:
        for name in tracklets.tolist():
            track = self._tracks[name]
            if track.face_id < 0 and track.is_face:
                track.face_id = self._former_id(track)
                if track.face_id < 0:
                    track.face_id, self.next_id = self.next_id, self.next_id + 1

    def _former_id(self, track: _Track) -> int:
        """The id that a face had before; -1 where it is a new one."""
        newest: dict[int, _Track] = {}
        for other in self._tracks.values():
            known = newest.get(other.face_id)
            if other.face_id >= 0 and (known is None or other.last_s > known.last_s):
                newest[other.face_id] = other
        found = [(likeness, id_) for id_, other in newest.items() if (likeness := track.likeness(other)) is not None]
        return max(found)[1] if found else -1

    def _finished(self, waiting: Followed) -> Followed:
        faces = waiting.result.faces
        tracks = [self._tracks[name] for name in faces.track_id.tolist()]
        values = [track.smoothed(waiting.result.index, self._smoothing) for track in tracks]
        heads = {
            EMOTION_SMOOTH: np.array([v[0] for v in values], np.float32).reshape(-1, len(EMOTIONS)),
            VALENCE_AROUSAL_SMOOTH: np.array([v[1] for v in values], np.float32).reshape(-1, 2),
            LABEL_SMOOTH: np.array([v[2] for v in values], np.float32).reshape(-1, 1),
        }
        ids = np.array([track.face_id for track in tracks], np.int64)
        faces = replace(faces, track_id=ids, heads={**faces.heads, **heads})
        return replace(waiting, result=replace(waiting.result, faces=faces), hide_px=self._around(waiting.result))

    def _around(self, result: FrameResult) -> F32:
        """All boxes around a moment: a face that is not found is mostly there still, or there already."""
        time_s = result.time_s or 0.0
        return np.concatenate([boxes for then, boxes in self._found if abs(then - time_s) <= HIDE_AROUND_S])

    def _forget(self, time_s: float) -> None:
        """Rows and boxes that count for nothing any more, and tracks that nobody will come back to."""
        for name, track in list(self._tracks.items()):
            if time_s - track.last_s > max(RETURN_S, REMEMBER_S + self._lag_s + self._gap_s):
                del self._tracks[name]
            while time_s - track.rows[0][0] > self._memory_s and len(track.rows) > 1:
                track.rows.popleft()
        while time_s - self._found[0][0] > self._lag_s + HIDE_AROUND_S:
            self._found.popleft()


def overlay_faces(result: FrameResult, *, landmarks: bool = False) -> list[OverlayFace]:
    """The sure faces of a followed frame, to be drawn."""
    faces, heads = result.faces, result.faces.heads
    return [
        OverlayFace(
            face_id=int(faces.track_id[row]),
            box_px=tuple(faces.box_px[row].tolist()),
            status=DETECTED,
            label=EMOTIONS[int(heads[LABEL_SMOOTH][row, 0])],
            probabilities=heads[EMOTION_SMOOTH][row],
            valence=float(heads[VALENCE_AROUSAL_SMOOTH][row, 0]),
            arousal=float(heads[VALENCE_AROUSAL_SMOOTH][row, 1]),
            measured=(float(heads["valence_arousal"][row, 0]), float(heads["valence_arousal"][row, 1])),
            landmarks=heads["landmarks68"][row].reshape(-1, 2) if landmarks else None,
        )
        for row in np.flatnonzero(faces.track_id >= 0).tolist()
    ]
