"""Makes two_faces.mp4 and two_faces.gt.txt: two people who move, cross, leave and come back, with their true boxes.

The portraits are in the public domain and ship inside scikit-image and matplotlib (see README.md beside this file):

    pip install scikit-image matplotlib
    python examples/make_demo_clip.py

The result is the same on every run (another FFmpeg may encode other bytes).
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data

from vidfer.media.synthetic import Placement, Sprite, SyntheticVideo, TrueBox, write_video
from vidfer.types import F32, U8

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, RATE, SECONDS = 854, 480, 25, 10
TICKS = 12800  # per second, as FFmpeg itself would choose for 25 frames/s
SOUND_RATE = 48000
LEAST_VISIBLE = 0.4

# Measured by eye on the portraits: forehead (the hair line or the brim of the cap) to chin, cheek to cheek.
COLLINS_FACE = (176, 71, 272, 190)
HOPPER_FACE = (172, 122, 361, 334)

# Drawn by hand: nothing outside the first line belongs to the person, all inside the second does; GrabCut decides.
COLLINS_OUTLINE = (
    [(150, 60), (165, 35), (195, 12), (240, 8), (280, 25), (303, 70), (303, 110), (288, 132), (270, 136), (261, 165),
     (256, 176), (310, 225), (345, 250), (365, 300), (368, 340), (420, 340), (470, 360), (512, 430), (512, 512),
     (15, 512), (15, 470), (15, 380), (30, 290), (60, 240), (108, 205), (110, 180), (140, 150), (180, 145), (165, 120)],
    [(165, 60), (200, 25), (240, 20), (285, 50), (293, 90), (275, 115), (262, 140), (252, 172), (290, 225), (290, 280),
     (335, 260), (352, 300), (355, 345), (420, 355), (470, 380), (490, 440), (490, 512), (40, 512), (35, 440),
     (40, 340), (60, 270), (100, 225), (120, 185), (185, 150), (190, 120), (165, 90)],
)  # fmt: skip
HOPPER_OUTLINE = (
    [(146, 130), (146, 100), (168, 60), (200, 30), (260, 15), (320, 30), (360, 70), (376, 95), (378, 150),
     (380, 250), (360, 310), (335, 320), (345, 335), (420, 365), (484, 392), (500, 430), (505, 480), (503, 540),
     (496, 600), (5, 600), (25, 440), (45, 385), (150, 340), (203, 320), (198, 302), (172, 275), (156, 240),
     (148, 190)],
    [(155, 130), (155, 105), (180, 70), (210, 40), (260, 28), (310, 45), (350, 90), (362, 130), (365, 200),
     (345, 280), (325, 330), (345, 350), (430, 380), (478, 405), (492, 440), (496, 490), (488, 600), (15, 600),
     (35, 440), (60, 395), (160, 350), (205, 330), (190, 270), (165, 200)],
)  # fmt: skip

# Where the middle of the face is when: seconds, x, y, scale. In between they glide.
COLLINS_STOPS = [
    (0.0, 235, 190, 1.05), (1.6, 250, 185, 1.15), (4.6, 600, 195, 1.2), (6.6, 560, 205, 1.6), (8.4, 585, 190, 1.2),
    (10.0, 575, 185, 1.1),
]  # fmt: skip
HOPPER_STOPS = [
    (0.0, 620, 235, 0.72), (1.6, 600, 245, 0.66), (4.6, 255, 240, 0.7), (5.4, 235, 240, 0.74),
    (6.5, -190, 245, 0.76), (7.3, -190, 245, 0.8), (8.6, 225, 230, 0.84), (10.0, 250, 225, 0.8),
]  # fmt: skip


def cut_out(portrait: U8, outline: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> U8:
    """A person without the background, uint8[h,w,4], soft at the edge."""
    mask = np.full(portrait.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(mask, [np.array(outline[0], np.int32)], cv2.GC_PR_FGD)
    cv2.fillPoly(mask, [np.array(outline[1], np.int32)], cv2.GC_FGD)
    cv2.setRNGSeed(1)
    cv2.grabCut(portrait, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(person)
    person = (labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])).astype(np.uint8)
    alpha = cv2.GaussianBlur(cv2.erode(person * 255, np.ones((3, 3))), (0, 0), 1.2)
    alpha[-4:] = np.where(person[-4:] > 0, 255, 0)  # the lower border is never in the picture
    return np.dstack([portrait, alpha])


def person(
    identity: int,
    image: U8,
    face: tuple[int, int, int, int],
    stops: list[tuple[float, float, float, float]],
    phase: float,
) -> Sprite:
    """A person whose face goes from stop to stop, swaying a little."""
    to_middle = np.array([image.shape[1] - face[0] - face[2], image.shape[0] - face[1] - face[3]]) / 2

    def path(time_s: float) -> Placement:
        before = max(i for i in range(len(stops) - 1) if stops[i][0] <= time_s)
        begin, end = np.array(stops[before]), np.array(stops[before + 1])
        part = min(1.0, (time_s - begin[0]) / (end[0] - begin[0]))
        x, y, scale = (begin + (end - begin) * (3 * part**2 - 2 * part**3))[1:]
        x += 7 * math.sin(1.9 * time_s + phase)
        y += 4 * math.sin(2.7 * time_s + 2 * phase)
        turn = 3.5 * math.sin(1.3 * time_s + phase)
        angle = math.radians(turn)
        # The sprite is placed by its own middle, and it turns around that, so the face's place is worked back.
        dx = scale * (math.cos(angle) * to_middle[0] - math.sin(angle) * to_middle[1])
        dy = scale * (math.sin(angle) * to_middle[0] + math.cos(angle) * to_middle[1])
        return Placement(x=x + dx, y=y + dy, scale=scale, turn_deg=turn)

    return Sprite(identity=identity, image=image, box=face, path=path)


def background() -> U8:
    """A soft wall, lit from the upper left; a little noise keeps the gradient from banding."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    light = np.exp(-(((x / WIDTH - 0.35) / 0.75) ** 2) - ((y / HEIGHT - 0.25) / 0.85) ** 2)[:, :, None]
    wall = np.array([58, 84, 104]) + light * np.array([104, 98, 84])
    noise = np.random.default_rng(0).normal(0, 1.0, (HEIGHT, WIDTH, 1))
    return np.clip(np.rint(wall + noise), 0, 255).astype(np.uint8)


def chord() -> F32:
    """A quiet chord that swells and fades."""
    time_s = np.arange(SECONDS * SOUND_RATE) / SOUND_RATE
    sound = np.zeros_like(time_s)
    for number, hertz in enumerate((130.81, 196.0, 246.94, 329.63, 392.0)):  # C major seventh
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * (0.11 + 0.03 * number) * time_s + number)
        sound += swell * np.sin(2 * np.pi * hertz * time_s) / (1 + 0.4 * number)
    fade = np.minimum(1, np.minimum(time_s, SECONDS - time_s) / 1.2)
    return (0.05 * fade * sound).astype(np.float32)


def truth_row(frame: int, box: TrueBox) -> str:
    """A MOTChallenge row: frame (from 1), id, x, y, w, h, valid, class, visibility."""
    x0, y0, x1, y1 = (float(v) for v in box.box_px)
    valid = int(box.visibility >= LEAST_VISIBLE)
    return f"{frame + 1},{box.identity},{x0:.1f},{y0:.1f},{x1 - x0:.1f},{y1 - y0:.1f},{valid},1,{box.visibility:.2f}"


def demo() -> SyntheticVideo:
    """The clip, to be drawn; Hopper (2) passes behind Collins (1)."""
    collins = cut_out(skimage.data.astronaut(), COLLINS_OUTLINE)
    portrait = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    hopper = cut_out(cv2.cvtColor(portrait, cv2.COLOR_BGR2RGB), HOPPER_OUTLINE)
    # Far away her jacket would end above the picture's lower border: it goes on as it ends.
    hopper = np.concatenate([hopper, np.repeat(hopper[-1:], 120, axis=0)])
    return SyntheticVideo(
        background=background(),
        sprites=[
            person(2, hopper, HOPPER_FACE, HOPPER_STOPS, 2.0),
            person(1, collins, COLLINS_FACE, COLLINS_STOPS, 0.0),
        ],
        pts=[index * TICKS // RATE for index in range(SECONDS * RATE)],
        time_base=Fraction(1, TICKS),
        name="two_faces.mp4",
    )


def main() -> None:
    """Write the clip and its truth beside this script."""
    video = demo()
    drawn = [video.draw(index) for index in range(len(video))]
    pictures = [(image, pts) for (image, _), pts in zip(drawn, video.pts, strict=True)]
    clip = HERE / "two_faces.mp4"
    write_video(clip, pictures, time_base=video.time_base, sound=chord(), sound_rate=SOUND_RATE, quality=21)
    rows = [
        truth_row(frame, box)
        for frame, (_, boxes) in enumerate(drawn)
        for box in sorted(boxes, key=lambda b: b.identity)
    ]
    (HERE / "two_faces.gt.txt").write_text("\n".join(rows) + "\n")
    print(f"{clip}: {len(drawn)} frames, {clip.stat().st_size / 1e6:.2f} MB; {len(rows)} true boxes")


if __name__ == "__main__":
    main()
