"""Tries thresholds of linking for a face network on persons who are known; prints one JSON object.

    python benchmarks/linking.py [--videos DIR] [--model FILE] [--data DIR] [--kept DIR] [--base S F R J]

Every clip is analysed once; then each threshold of `LinkOptions` is moved with the others at `--base` (or as near to it
as their order allows), and files are linked again; `identity_cosine` is tried on the tracks of `--base`. The files:

* `halves`: clips of one person cut in two, all first halves, then all second ones, each a shot.
* `seconds`: the same clips in shots of a second.
* `holes`: the same clips, the face out of sight for 0.5 s or 3 s after every second: what has to be joined in a shot.
* `relay`: shots in which all persons stand in one spot, one after the other for a second each, without a pause (then
  only splitting tells them apart) or with one of 0.5 s (one takes over where the other was: `follow_cosine`) or of 3 s
  (`return_cosine`): what must not be joined in a shot.
* `composite_dev`, `interview2`, `short_hamilton_clip` as they are; the first two with IDF1 and switches by `mot_score`.

Of each: `merged`, pairs of persons who share a track; `split`, tracks beyond one for each person; `idf1` over faces
that were found; who has fewer than 5 faces in a track is not counted as being in it.

`likeness` has quantiles between mean embeddings of pieces, `held_out` those between single training pictures of persons
whom no network was trained on, which most persons of the clips are not: their pictures are among the training data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import make_crowd
import mot_score
import numpy as np
from linking_clips import CROWDS, PERSONS, PLACES, Analysis, Clip, halves, holes, joined, pieces, relay, seconds
from scipy.optimize import linear_sum_assignment

from vidfer.pipeline.analyze import Follower
from vidfer.pipeline.tracks import is_face
from vidfer.types import F64, I64, Detections
from vidfer.vision.identity import Appearances, IdentityOptions, identities
from vidfer.vision.linkage import unit
from vidfer.vision.track import FaceTracker, TrackerOptions
from vidfer.vision.tracklets import LinkOptions, Tracklet, link_tracklets

NAMES = ("split_cosine", "follow_cosine", "return_cosine", "join_cosine")
GRIDS = {
    "split_cosine": np.arange(0.0, 0.55, 0.05),
    "follow_cosine": np.arange(0.15, 0.65, 0.05),
    "return_cosine": np.arange(0.25, 0.75, 0.05),
    "join_cosine": np.arange(0.5, 0.8, 0.02),
}
IDENTITY_GRID = np.arange(0.40, 0.66, 0.02)
_FAR_COSINES, _WEIGHTS = (0.4, 0.5, 0.6, 0.7, 0.8), (0.0, 0.25, 0.5, 0.75)
_STRIDE = 5  # of the sampled frames on which `far_cosine` is tried
_INTERVAL_S = 0.04
_COUNTED = 5  # faces of a person that make a track one of theirs
_SAME, _OTHER = (0.0, 0.01, 0.05, 0.25, 0.5), (0.5, 0.75, 0.95, 0.99, 0.999, 1.0)


class File:
    """A file of known persons, tracked; to be linked with any thresholds."""

    def __init__(self, clip: Clip, tracker: TrackerOptions | None = None, interval_s: float = _INTERVAL_S) -> None:
        follower = Follower(FaceTracker(frame_interval_s=interval_s, options=tracker), interval_s)
        ends = np.searchsorted(clip.at, np.arange(len(clip.time_s) + 1)).tolist()
        ids = [
            follower.update(
                time_s, shot, Detections(box_px=clip.box_px[a:b], score=clip.score[a:b]), clip.embedding[a:b]
            )
            for time_s, shot, (a, b) in zip(clip.time_s.tolist(), clip.shot.tolist(), pairwise(ends), strict=True)
        ]
        tracklet = np.concatenate([np.zeros(0, np.int64), *ids])
        order = np.argsort(tracklet, kind="stable")
        self.clip = clip
        self.rows = np.split(order, np.flatnonzero(np.diff(tracklet[order])) + 1)
        self.tracklets = [_tracklet(clip, rows) for rows in self.rows]

    def link(self, options: LinkOptions) -> I64:
        """The track of each face, -1 for what is none."""
        links = link_tracklets(self.tracklets, options)
        track = np.full(len(self.clip.at), -1, np.int64)
        for which, start, name in zip(links.tracklet, links.start, links.track, strict=True):
            track[self.rows[which][start:]] = name
        for name in np.unique(track):
            own = track == name
            if not is_face(self.clip.score[own], self.clip.presence[own], self.clip.detected[own]):
                track[own] = -1
        return track

    def identify(self, track: I64, options: IdentityOptions) -> I64:
        """The person of each face, -1 for what is none, from the track of each."""
        name = np.unique(track[track >= 0])
        parts = [own for rows in self.rows for own in np.split(rows, np.flatnonzero(np.diff(track[rows])) + 1)]
        stretches = [
            (int(np.searchsorted(name, track[own[0]])), _tracklet(self.clip, own))
            for own in parts
            if track[own[0]] >= 0
        ]
        person = identities(Appearances.of(stretches, len(name)), options)
        return np.append(person, -1)[np.where(track >= 0, np.searchsorted(name, track), -1)]

    def judge(self, track: I64) -> dict[str, Any]:
        """Who shares a track with whom, who has several."""
        known = (track >= 0) & (self.clip.person != "")
        (names, who), (tracks, which) = (
            np.unique(values[known], return_inverse=True) for values in (self.clip.person, track)
        )
        common = np.zeros((len(names), len(tracks)), np.int64)
        np.add.at(common, (who, which), 1)
        has = common >= _COUNTED
        merged = np.triu(has.astype(int) @ has.T, 1) > 0
        best = linear_sum_assignment(-common)
        return {
            "merged": int(merged.sum()),
            "split": int((has.sum(axis=1) - 1).clip(0).sum()),
            "idf1": round(float(common[best].sum() / max(1, common.sum())), 4),
        }

    def score(self, truth: mot_score.Boxes, track: I64) -> dict[str, Any]:
        """Against ground truth."""
        kept, box = track >= 0, self.clip.box_px.astype(np.float64)
        xywh = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
        valid = np.ones(int(kept.sum()), bool)
        found = mot_score.Boxes(frame=self.clip.at[kept], identity=track[kept], xywh=xywh[kept], valid=valid)
        result = mot_score.score(truth, found)
        return {"idf1": round(result.idf1, 4), "switches": result.switches, "misses": result.misses}


def _tracklet(clip: Clip, rows: I64) -> Tracklet:
    return Tracklet(
        frame=clip.at[rows],
        time_s=clip.time_s[clip.at[rows]],
        shot=int(clip.shot[clip.at[rows[0]]]),
        box_px=clip.box_px[rows],
        confidence=clip.score[rows],
        embedding=lambda a, b: clip.embedding[rows[a:b]].copy(),
    )


def moved(base: LinkOptions, name: str, value: float) -> LinkOptions:
    """One threshold elsewhere; the others give way where their order asks for it."""
    at = NAMES.index(name)
    others = {n: (min if i < at else max)(getattr(base, n), value) for i, n in enumerate(NAMES)}
    return replace(base, **{**others, name: value})


def curves(files: dict[str, File], truths: dict[str, mot_score.Boxes], base: LinkOptions) -> dict[str, Any]:
    """What becomes of the files with each threshold elsewhere."""

    def outcome(options: LinkOptions) -> dict[str, Any]:
        tracks = {name: file.link(options) for name, file in files.items()}
        judged = {name: files[name].judge(track) for name, track in tracks.items()}
        return judged | {name: judged[name] | files[name].score(truths[name], tracks[name]) for name in truths}

    found: dict[str, Any] = {"base": outcome(base)}
    for name, grid in GRIDS.items():
        found[name] = {f"{value:.2f}": outcome(moved(base, name, float(value))) for value in grid}
    tracks = {name: file.link(base) for name, file in files.items()}
    for value in IDENTITY_GRID:
        options = IdentityOptions(identity_cosine=float(value))
        persons = {name: files[name].judge(files[name].identify(track, options)) for name, track in tracks.items()}
        found.setdefault("identity_cosine", {})[f"{value:.2f}"] = persons
    return found


def tracker_curves(clip: Clip, truth: mot_score.Boxes, base: LinkOptions) -> dict[str, Any]:
    """`far_cosine` on every 5th frame, `appearance_weight` on all frames of a clip with ground truth."""
    kept = np.arange(0, len(clip.time_s), _STRIDE)
    few = _sampled(clip.rows(np.isin(clip.at, kept)), kept)
    of_few = truth.keep(np.isin(truth.frame, kept))
    of_few = replace(of_few, frame=of_few.frame // _STRIDE)
    far = {v: File(few, TrackerOptions(far_cosine=v), _STRIDE * _INTERVAL_S) for v in _FAR_COSINES}
    weight = {v: File(clip, TrackerOptions(appearance_weight=v)) for v in _WEIGHTS}
    return {
        "far_cosine": {f"{v:.2f}": file.score(of_few, file.link(base)) for v, file in far.items()},
        "appearance_weight": {f"{v:.2f}": file.score(truth, file.link(base)) for v, file in weight.items()},
    }


def _sampled(clip: Clip, kept: I64) -> Clip:
    return replace(clip, time_s=clip.time_s[kept], shot=clip.shot[kept], at=np.searchsorted(kept, clip.at))


def likeness(clips: Sequence[Clip], doubt: float) -> dict[str, Any]:
    """Of pieces of 0.3 s, of 1 s, of halves of clips: cosines of their means, and what linking makes of them."""
    found: dict[str, Any] = {}
    parts = {"0.3 s": seconds(clips, 0.3), "1 s": seconds(clips)}
    parts["half"] = [part for clip in clips for part in pieces(clip, 2)]
    for name, of_length in parts.items():
        mean = unit(np.stack([part.embedding.sum(axis=0, dtype=np.float64) for part in of_length]))
        person = np.array([part.person[0] for part in of_length])
        seen = np.array([min(len(part.at), 1 + 10 * np.ptp(part.time_s)) for part in of_length])
        sure = np.sqrt(seen / (seen + doubt) * [part.score.mean() for part in of_length])
        found[name] = {"cosine": quantiles(mean, person), "likeness": quantiles(mean * sure[:, None], person)}
        if name == "0.3 s":  # as splitting compares them
            row = (mean[1:] * mean[:-1]).sum(axis=1)[person[1:] == person[:-1]]
            found["0.3 s, neighbours"] = {"cosine": {"same": _quantiles(row, _SAME)}}
    return found


def quantiles(mean: F64, person: np.ndarray) -> dict[str, Any]:
    """Of the cosines between pieces of one person and of two."""
    a, b = np.triu_indices(len(mean), 1)
    alike, same = (mean @ mean.T)[a, b], person[a] == person[b]
    return {"same": _quantiles(alike[same], _SAME), "different": _quantiles(alike[~same], _OTHER)}


def _quantiles(values: F64, at: Sequence[float]) -> dict[str, Any]:
    return {"pairs": len(values)} | {f"{q:g}": round(float(np.quantile(values, q)), 3) for q in at}


def shares(mean: F64, person: np.ndarray) -> dict[str, Any]:
    """Shares of the pairs of one person and of two that are at least so much alike."""
    a, b = np.triu_indices(len(mean), 1)
    alike, same = (mean @ mean.T)[a, b], person[a] == person[b]
    return {
        f"{t:.2f}": [round(float((of >= t).mean()), 5) for of in (alike[same], alike[~same])]
        for t in np.arange(0.2, 0.95, 0.05)
    }


def _both(mean: F64, person: np.ndarray) -> dict[str, Any]:
    return quantiles(mean, person) | {"share of same, different": shares(mean, person)}


def held_out(analysis: Analysis, data: Path) -> dict[str, Any]:
    """Cosines of single pictures, and of means of half of a person's pictures, of persons held out of training."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from vidfer.train import data as training
    from vidfer.train.mesh import MeshBasis

    table = pq.read_table(data / "faces.parquet", filters=[("set", "in", training.PERSON_SETS)])
    left_out = training.held_out(np.array(table["group"].to_pylist()))
    # Persons of val stay in, since reading leaves their training pictures out; none of them is looked at.
    table = table.filter(pc.or_(pc.equal(table["split"], "val"), left_out))
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "faces.parquet")
        rows = training.read_faces(Path(folder), "train", MeshBasis(data / "mesh_basis.npz"))
    crops = training.crops_of(rows, training.jittered_boxes(rows.box_px, 0))
    embedding = np.concatenate([analysis.session.run({"image": image[None]})["embedding"] for image, _ in crops])
    found: dict[str, Any] = {"pictures": _both(embedding.astype(np.float64), rows.group)}
    whole = [np.flatnonzero(rows.group == name) for name in np.unique(rows.group)]
    split = [(who[::2], who[1::2]) for who in whole if len(who) >= 4]
    mean = unit(np.stack([embedding[half].sum(axis=0, dtype=np.float64) for both in split for half in both]))
    found["means of half of a person's"] = _both(mean, np.repeat(np.arange(len(split)), 2))
    return found | {"persons": len(whole)}


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one network."""
    analysis = Analysis(options.videos, options.model, options.precision, options.kept)
    base = LinkOptions() if options.base is None else LinkOptions(**dict(zip(NAMES, options.base, strict=True)))
    clips = [analysis.person_clip(name) for name in PERSONS]
    crowds = {name: analysis.crowd_clip(name) for name in CROWDS}
    made = {
        "halves": halves(clips),
        "seconds": joined(seconds(clips)),
        "holes, 0.5 s": holes(clips, hole_s=0.5),
        "holes, 3 s": holes(clips, hole_s=3.0),
        "relay, no pause": relay(clips, gap_s=_INTERVAL_S),
        "relay, 0.5 s": relay(clips, gap_s=0.5),
        "relay, 3 s": relay(clips, gap_s=3.0),
        **crowds,
        **{name: analysis.places_clip(name) for name in PLACES},
    }
    truths = {name: analysis.truth(name) for name in CROWDS}
    card = analysis.session.card
    result = {
        "network": {"sha256": card.sha256, "precision": card.precision, "epoch": card.details.get("epoch")},
        "base": {name: getattr(base, name) for name in NAMES},
        "likeness": likeness(clips, base.join_doubt),
        "curves": curves({name: File(clip) for name, clip in made.items()}, truths, base),
        "tracker": tracker_curves(crowds["composite_dev.mp4"], truths["composite_dev.mp4"], base),
    }
    if options.data is not None:
        result["held_out"] = held_out(analysis, options.data)
    return result


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Try thresholds of linking on persons who are known.")
    parser.add_argument("--videos", type=Path, default=make_crowd.VIDEOS, metavar="DIR")
    parser.add_argument("--model", type=Path, help="ONNX file of a face network; default: the packaged one")
    parser.add_argument("--precision", default="auto", help="of the packaged networks")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the training data, for `held_out`")
    parser.add_argument("--kept", type=Path, metavar="DIR", help="keep what was found in the clips for the next time")
    parser.add_argument("--base", type=float, nargs=4, metavar=("SPLIT", "FOLLOW", "RETURN", "JOIN"))
    print(json.dumps(report(parser.parse_args(arguments)), indent=1))


if __name__ == "__main__":
    main()
