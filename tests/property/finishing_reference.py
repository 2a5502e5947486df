"""Finishing, straightforward: everything in memory, row by row."""

from __future__ import annotations

import itertools

import numpy as np
from linking_reference import link
from smoothing_reference import smooth_track

from vidfer.pipeline.tracks import SURE_FACE
from vidfer.types import EMOTIONS, FACE_STATUS


def finish_in_memory(raw, *, frame_interval_s, smoothing, options):
    """Rows of both tables, as dicts, from the raw rows of a source (`Table.to_pylist`)."""
    clock = Clock(raw, frame_interval_s)
    faces = [row for row in raw if row["tracklet"] is not None]
    for row, track in zip(faces, tracks_of(faces, clock, options), strict=True):
        row["track"] = int(track)
    groups = {}
    for row in faces:
        groups.setdefault(row["track"], []).append(row)
    sure = [rows for _, rows in sorted(groups.items()) if is_face(rows)]
    observations, tracks = [], []
    for face_id, rows in enumerate(sure):
        rows.sort(key=lambda row: row["frame"])
        observations += smoothed(face_id, rows, clock, smoothing) + bridged(face_id, rows, clock)
        tracks.append(track_row(face_id, rows, clock))
    occupied = {row["frame"] for row in observations}
    observations += [{"frame": frame, "face_id": None} for frame in clock.frames if frame not in occupied]
    count = dict.fromkeys(clock.frames, 0)
    for row in observations:
        count[row["frame"]] += row.get("face_status") in ("detected", "tracked")
    for row in observations:
        about = clock.rows[row["frame"]]
        row |= {name: about[name] for name in ("pts", "epoch", "shot")}
        row |= {"timestamp": about["time_s"], "n_faces": count[row["frame"]]}
        row["frame_status"] = "corrupt" if about["corrupt"] else "ok"
    observations.sort(key=lambda row: (row["frame"], -1 if row["face_id"] is None else row["face_id"]))
    return observations, tracks


class Clock:
    """Time and segment of every frame."""

    def __init__(self, raw, frame_interval_s):
        self.interval_s = frame_interval_s
        self.rows = {}
        for row in raw:
            self.rows.setdefault(row["frame"], row)
        self.frames = sorted(self.rows)
        self.time, self.segment, self.place = {}, {}, {}
        known, steps, segment, before, last_s = -frame_interval_s, 0, 0, None, 0.0
        for place, frame in enumerate(self.frames):
            row = self.rows[frame]
            steps += 1
            if row["time_s"] is not None:
                known, steps = row["time_s"], 0
            time_s = known + steps * frame_interval_s
            if before is not None:
                segment += (row["shot"], row["epoch"]) != (before["shot"], before["epoch"]) or time_s < last_s
            before, last_s = row, time_s
            self.time[frame], self.segment[frame] = time_s, segment
            self.place[frame] = place


def tracks_of(faces, clock, options):
    if not faces:
        return []
    frames = [row["frame"] for row in faces]
    return link(
        frame=np.array(frames),
        time_s=np.array([clock.time[frame] for frame in frames]),
        shot=np.array([clock.segment[frame] for frame in frames]),
        tracklet=np.array([row["tracklet"] for row in faces]),
        box_px=np.array([row["box"] for row in faces], np.float32),
        embedding=np.array([row["embedding"] for row in faces], np.float32),
        confidence=np.array([row["score"] for row in faces], np.float32),
        options=options,
    )


def is_face(rows):
    best = max([row["score"] for row in rows if row["status"] == 0], default=0.0)
    return best + float(np.mean([row["presence"] for row in rows])) >= SURE_FACE


def probabilities(rows):
    logits = np.array([row["emotion"] for row in rows], np.float32)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def smoothed(face_id, rows, clock, smoothing):
    longest = max(0.5, 3 * clock.interval_s) + 1e-9
    part = [0]
    for a, b in itertools.pairwise(row["frame"] for row in rows):
        apart = clock.segment[a] != clock.segment[b] or clock.time[b] - clock.time[a] > longest
        part.append(part[-1] + apart)
    raw = probabilities(rows)
    affect = np.array([row["valence_arousal"] for row in rows], np.float32)
    quality = np.array([row["quality"] for row in rows], np.float32)
    time_s = np.array([clock.time[row["frame"]] for row in rows])
    smooth = smooth_track(time_s, np.array(part, np.int32), raw, affect, quality, smoothing)
    found = []
    for i, row in enumerate(rows):
        x0, y0, x1, y1 = np.array(row["box"], np.float32)
        out = {"frame": row["frame"], "face_id": face_id, "face_status": FACE_STATUS[row["status"]]}
        out |= {"face_x": x0, "face_y": y0, "face_w": x1 - x0, "face_h": y1 - y0}
        out |= {"confidence": row["score"], "quality": row["quality"], "landmarks": row["landmarks"]}
        out |= dict(zip(("pitch", "yaw", "roll"), row["pose"], strict=True))
        out |= {"emotion": EMOTIONS[raw[i].argmax()], "emotion_smooth": EMOTIONS[smooth.emotion[i]]}
        for c, name in enumerate(EMOTIONS):
            out |= {f"emotion_{name}": raw[i, c], f"emotion_{name}_smooth": smooth.emotion_probability[i, c]}
        for c, name in enumerate(("valence", "arousal")):
            out |= {name: affect[i, c], f"{name}_smooth": smooth.valence_arousal[i, c]}
        found.append(out)
    return found


def bridged(face_id, rows, clock):
    found = []
    for a, b in itertools.pairwise(rows):
        start, end = clock.time[a["frame"]], clock.time[b["frame"]]
        if clock.segment[a["frame"]] != clock.segment[b["frame"]] or end - start > 1 + 1e-9:
            continue
        for frame in clock.frames[clock.place[a["frame"]] + 1 : clock.place[b["frame"]]]:
            part = np.float64((clock.time[frame] - start) / max(end - start, 1e-9))
            box = (1 - part) * np.array(a["box"], np.float32) + part * np.array(b["box"], np.float32)
            x0, y0, x1, y1 = box.astype(np.float32)
            found.append({"frame": frame, "face_id": face_id, "face_status": "predicted"})
            found[-1] |= {"face_x": x0, "face_y": y0, "face_w": x1 - x0, "face_h": y1 - y0}
    return found


def track_row(face_id, rows, clock):
    first, last = rows[0]["frame"], rows[-1]["frame"]
    box = np.array([row["box"] for row in rows], np.float32)
    mean = probabilities(rows).mean(axis=0, dtype=np.float64)
    affect = np.array([row["valence_arousal"] for row in rows], np.float32).astype(np.float64)
    quality = [row["quality"] for row in rows]
    out = {"face_id": face_id, "first_frame": first, "last_frame": last, "frames": len(rows)}
    out |= {"first_timestamp": clock.rows[first]["time_s"], "last_timestamp": clock.rows[last]["time_s"]}
    out["coverage"] = len(rows) / (clock.place[last] - clock.place[first] + 1)
    out |= {"face_w_median": np.median(box[:, 2] - box[:, 0]), "face_h_median": np.median(box[:, 3] - box[:, 1])}
    out["confidence_median"] = np.median(np.array([row["score"] for row in rows], np.float32))
    out["quality_median"] = np.median(np.array(quality, np.float32))
    out |= {"emotion": EMOTIONS[mean.argmax()], "best_frame": rows[int(np.argmax(quality))]["frame"]}
    out |= {f"emotion_{name}_mean": mean[c] for c, name in enumerate(EMOTIONS)}
    for c, name in enumerate(("valence", "arousal")):
        out |= {f"{name}_mean": affect[:, c].mean(), f"{name}_sd": affect[:, c].std()}
    return out
