"""Makes docs/panel.jpg from the demo clip: ``python docs/make_panel.py`` in the repository."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2

import vidfer
from vidfer.media.file import VideoFile
from vidfer.pipeline.render import render

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "two_faces.mp4"
FRAME = 215


def main() -> None:
    """Analyse, render, take one frame."""
    with tempfile.TemporaryDirectory() as folder:
        table = vidfer.process(CLIP, output_dir=folder, render=False).table_path
        video = Path(folder) / "panel.mp4"
        render(CLIP, table, video, blur=True, panel=True)
        with VideoFile(video) as file:
            image = next(frame.picture.rgb() for frame in file if frame.index == FRAME)
    cv2.imwrite(str(HERE / "panel.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
