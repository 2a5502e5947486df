"""What MediaPipe's own detect + mesh loop reaches on the same videos; prints one JSON object.

    python benchmarks/mediapipe_loop.py CLIP... [--faces 1] [--repeat 3]

It needs an environment of its own (`pip install mediapipe==0.10.21`), since that version, the last one with its models
inside, wants numpy 1. Frames are read with OpenCV, as its examples do. It gives landmarks only: no emotions, no ids, no
table, so this is a yardstick of what people expect of a loop of their own, not of the same work.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import cv2
import mediapipe


def run(clip: Path, faces: int) -> tuple[int, int, float, float]:
    """Frames, faces found, seconds and seconds of CPU of one pass over a clip."""
    found = frames = 0
    began, cpu = time.perf_counter(), time.process_time()
    video = cv2.VideoCapture(str(clip))
    with mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=faces, refine_landmarks=True) as mesh:
        while True:
            there, image = video.read()
            if not there:
                break
            frames += 1
            result = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            found += len(result.multi_face_landmarks or ())
    video.release()
    return frames, found, time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure MediaPipe's face mesh over videos.")
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    out = {}
    for clip in options.clips:
        passes = [run(clip, options.faces) for _ in range(options.repeat)]
        frames, found = passes[0][:2]
        out[clip.name] = {
            "frames": frames,
            "faces": found,
            "fps": round(median(frames / wall for _, _, wall, _ in passes), 1),
            "cpu_ms_per_frame": round(median(1e3 * cpu / frames for _, _, _, cpu in passes), 2),
        }
    print(json.dumps({"mediapipe": mediapipe.__version__, "max_faces": options.faces, "clips": out}, indent=1))


if __name__ == "__main__":
    main()
