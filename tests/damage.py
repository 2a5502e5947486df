"""Forty damaged videos, always the same: five containers, each damaged in eight ways."""

import numpy as np

SOURCES = ["b_frames", "open_gop", "mpeg2", "h264_avi", "vp9"]  # .mp4 .mkv .ts .avi .webm
SEED = 20261121


def flip(data, rng):
    """A byte in a thousand is another one."""
    spots = rng.integers(0, len(data), max(4, len(data) // 1000))
    data[spots] ^= rng.integers(1, 256, len(spots)).astype(np.uint8)
    return data


def burst(data, rng):
    """Noise in place of 3 % in one piece, after the header."""
    begin = int(rng.integers(len(data) // 4, len(data) * 3 // 4))
    size = len(data) * 3 // 100
    data[begin : begin + size] = rng.integers(0, 256, size)
    return data


def hole(data, rng):
    """Four sectors of a disk that could not be read: zeros."""
    begin = int(rng.integers(len(data) // 4, len(data) * 3 // 4)) // 512 * 512
    data[begin : begin + 2048] = 0
    return data


def gap(data, rng):
    """5 % are missing, and what follows has moved up."""
    begin = int(rng.integers(len(data) // 4, len(data) * 3 // 4))
    return np.concatenate([data[:begin], data[begin + len(data) // 20 :]])


def half(data, rng):
    """A copy that was broken off in the middle."""
    return data[: int(len(data) * rng.uniform(0.4, 0.6))]


def tail(data, rng):
    """A copy that was broken off just before the end."""
    return data[: int(len(data) * 0.95)]


def header(data, rng):
    """Some bytes of the first half kilobyte are other ones."""
    data[rng.integers(0, 512, 6)] ^= rng.integers(1, 256, 6).astype(np.uint8)
    return data


def beheaded(data, rng):
    """The first 2 % are missing."""
    return data[len(data) // 50 :]


WAYS = [flip, burst, hole, gap, half, tail, header, beheaded]
CASES = [(kind, way.__name__) for kind in SOURCES for way in WAYS]


def damage(path, way):
    """Write a damaged copy beside a clip; gives its path."""
    ways = {one.__name__: one for one in WAYS}
    rng = np.random.default_rng([SEED, SOURCES.index(path.stem), list(ways).index(way)])
    copy = path.with_name(f"{way}_{path.name}")
    copy.write_bytes(ways[way](np.frombuffer(path.read_bytes(), np.uint8).copy(), rng).tobytes())
    return copy
