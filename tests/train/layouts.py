"""Tiny data sets in the layouts of the real ones, for tests."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from vidfer.train.points import NAMES15


def picture(seed: int, size: int = 40) -> np.ndarray:
    """Noise uint8[size,size,3]: no two pictures are alike."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def save(path: Path, seed: int, size: int = 40) -> Path:
    """A picture as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture(seed, size))[1].tobytes())
    return path


def write_csv(path: Path, header: list[str], lines: list[list]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def points(count: int, seed: int = 0, size: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(5, size - 5, (count, 2)).round(2)


def affectnet_npy(root: Path, rows: dict[str, list[tuple]]) -> Path:
    """Rows of (expression, valence, arousal) for train_set and val_set; numbers are texts, as in the real one."""
    for split, told in rows.items():
        for i, (expression, valence, arousal) in enumerate(told):
            save(root / split / "images" / f"{i}.jpg", seed=i + 1000 * len(split))
            notes = root / split / "annotations"
            notes.mkdir(exist_ok=True)
            for name, value in (("exp", expression), ("val", valence), ("aro", arousal)):
                np.save(notes / f"{i}_{name}.npy", np.array(str(value)))
            np.save(notes / f"{i}_lnd.npy", points(68, i).ravel())
    return root


AFFECTNET = ["subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"] + [
    "expression",
    "valence",
    "arousal",
]


def affectnet_csv(root: Path, name: str, told: list[tuple]) -> Path:
    lines = []
    for i, (expression, valence, arousal) in enumerate(told):
        file = f"{i % 3}/{name}{i}.jpg"
        save(root / "pictures" / file, seed=i + 100 * len(name))
        landmarks = ";".join(map(str, points(68, i).ravel()))
        lines.append([file, 3, 4, 30, 31, landmarks, expression, valence, arousal])
    return write_csv(root / f"{name}.csv", AFFECTNET, lines)


def pixels(seed: int, side: int = 48) -> str:
    return " ".join(map(str, picture(seed, side)[..., 0].ravel()))


def fer2013(root: Path, lines: list[list]) -> Path:
    """Lines of (emotion, pixels, Usage)."""
    return write_csv(root / "fer2013.csv", ["emotion", "pixels", "Usage"], lines)


FERPLUS = ["Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"] + [
    "contempt",
    "unknown",
    "NF",
]


def ferplus(root: Path, votes: list[list[int]]) -> Path:
    """Votes in the order of the file: the ten columns from neutral on."""
    lines = [["Training", f"fer{i:07}.png", *told] for i, told in enumerate(votes)]
    return write_csv(root / "fer2013new.csv", FERPLUS, lines)


def keypoints(root: Path, lines: list[tuple[np.ndarray, str]]) -> Path:
    """Lines of (points f[15,2], NaN where missing; pixels)."""
    header = [f"{name}_{axis}" for name in NAMES15 for axis in "xy"] + ["Image"]
    told = [["" if np.isnan(v) else v for v in values.ravel()] + [text] for values, text in lines]
    return write_csv(root / "training.csv", header, told)


def ibug_xml(path: Path, faces: list[tuple[str, tuple, np.ndarray]]) -> Path:
    """Faces of (picture, (left, top, width, height), points f[68,2]), one image element each."""
    text = "<?xml version='1.0'?>\n<?xml-stylesheet type='text/xsl' href='style.xsl'?>\n<dataset><images>\n"
    for file, (left, top, width, height), values in faces:
        text += f"<image file='{file}' width='40' height='40'>\n"
        text += f"  <box top='{top}' left='{left}' width='{width}' height='{height}'>\n"
        text += "".join(f"    <part name='{i:02}' x='{x}' y='{y}'/>\n" for i, (x, y) in enumerate(values.tolist()))
        text += "  </box>\n</image>\n"
        save(path.parent / file, seed=len(file) + sum(map(ord, file)))
    path.write_text(text + "</images></dataset>\n")
    return path


def pts(path: Path, values: np.ndarray) -> Path:
    """A file of points, counted from 1, and its picture."""
    save(path.with_suffix(".png"), seed=sum(map(ord, path.name)))
    lines = "".join(f"{x} {y}\n" for x, y in (values + 1).tolist())
    path.write_text(f"version: 1\nn_points:  {len(values)}\n{{\n{lines}}}\n")
    return path


def mesh_csv(root: Path, lines: list[dict]) -> Path:
    """Lines with image, expression, box, mesh f[478,3] and maybe split and group."""
    header = ["image", "expression", "box_x", "box_y", "box_w", "box_h"]
    header += [f"{axis}{i}" for i in range(478) for axis in "xyz"] + ["split", "group"]
    told = []
    for i, line in enumerate(lines):
        save(root / line["image"], seed=i + 50)
        box, mesh = line.get("box", [""] * 4), line.get("mesh", np.zeros(0)).ravel().tolist() or [""] * 1434
        told.append([line["image"], line["expression"], *box, *mesh, line.get("split", ""), line.get("group", "")])
    return write_csv(root / "faces.csv", header, told)
