"""People who come back: clips of known persons, cut and shuffled into one film."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import vidfer

CLIP = Path(__file__).resolve().parents[2] / "examples" / "two_faces.mp4"
# One person each, told apart by eye; and which frames, where the rest shows something else.
PERSONS = {
    "d0.mp4": None,
    "d10.mp4": None,
    "d11.mp4": None,
    "d12.mp4": None,
    "d14.mp4": None,
    "d20.mp4": None,
    "s13.mp4": None,
    "s18.mp4": None,
    "s20.mp4": None,
    "s29.mp4": None,
    "WolfgangLanger_Pexels.mp4": None,
    "noface_face.mov": (96, 169),
    "book.mkv": None,
    "carphone_pristine.mp4": None,
}
SCENES, SCENE_FRAMES, SIZE = 3, 16, (640, 360)


def scenes(path, frames):
    """`SCENES` stretches of a clip, far from each other, each a list of uint8[H,W,3] in one size."""
    with av.open(str(path)) as container:
        first, stop = frames or (0, sum(packet.size > 0 for packet in container.demux(video=0)))
        starts = np.linspace(first, stop - SCENE_FRAMES, SCENES).astype(int).tolist()
        container.seek(0)
        wanted = range(starts[-1] + SCENE_FRAMES)
        pictures = {
            i: fitted(frame.to_ndarray(format="bgr24"))
            for i, frame in zip(wanted, container.decode(video=0), strict=False)
            if any(start <= i < start + SCENE_FRAMES for start in starts)
        }
    return [[pictures[i] for i in range(start, start + SCENE_FRAMES)] for start in starts]


def fitted(picture):
    scale = min(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[: SIZE[1], : SIZE[0]]
    out = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small
    return out


@pytest.fixture(scope="module")
def film(tmp_path_factory, shared_videos):
    """Path of the film, and who is in each of its scenes."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    cast = [(name, scene) for name, frames in PERSONS.items() for scene in scenes(shared_videos / name, frames)]
    order = np.random.default_rng(4).permutation(len(cast))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in order:
            for picture in cast[i][1]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path, [cast[i][0] for i in order]


@pytest.fixture(scope="module")
def result(film, tmp_path_factory):
    return vidfer.process(
        film[0], output_dir=tmp_path_factory.mktemp("out"), render=False, landmarks=None, identity=True, embeddings=True
    )


def test_people_are_known_again_and_nobody_is_taken_for_another(film, result):
    table, cast = result.table, film[1]
    seen: dict[str, list[int]] = {}
    for scene, person in enumerate(cast):
        rows = table[table.frame.between(scene * SCENE_FRAMES, (scene + 1) * SCENE_FRAMES - 1) & table.identity.notna()]
        if len(rows):
            seen.setdefault(person, []).append(Counter(rows.identity.tolist()).most_common(1)[0][0])
    owners: dict[int, set[str]] = {}
    for person, names in seen.items():
        for name in names:
            owners.setdefault(name, set()).add(person)
    returns = sum(len(names) - 1 for names in seen.values())
    known = sum(name == names[0] for names in seen.values() for name in names[1:])
    print(seen)
    assert {name: who for name, who in owners.items() if len(who) > 1} == {}
    assert len(seen) == len(PERSONS)
    assert known >= 0.9 * returns
    assert returns >= 0.9 * len(PERSONS) * (SCENES - 1)


def test_identities_are_dense_and_one_for_each_track(result):
    table, tracks = result.table, result.tracks
    faces = table[table.face_id.notna()]
    assert (faces.groupby("face_id").identity.nunique() == 1).all()
    of_track = faces.groupby("face_id").identity.first()
    assert of_track.tolist() == tracks.identity.tolist()
    first = list(dict.fromkeys(tracks.identity.tolist()))
    assert first == list(range(len(first)))
    assert table[table.face_id.isna()].identity.isna().all()
    together = faces.groupby("frame").identity
    assert (together.count() == together.nunique()).all()


def test_embeddings_are_of_unit_length_and_of_the_same_person_alike(result):
    tracks = result.tracks
    mean = np.array(tracks.embedding.tolist())
    assert np.linalg.norm(mean, axis=1) == pytest.approx(1, abs=1e-4)
    alike = mean @ mean.T
    same = tracks.identity.to_numpy()[:, None] == tracks.identity.to_numpy()
    np.fill_diagonal(same, False)
    assert alike[same].min(initial=1) > np.median(alike[~same])


def test_nothing_of_it_is_kept_unasked(tmp_path):
    plain = vidfer.process(CLIP, output_dir=tmp_path, render=False, landmarks=None, end=1)
    columns = {*pq.read_schema(plain.table_path).names, *pq.read_schema(plain.tracks_path).names}
    assert not columns & {"identity", "embedding"}
