"""Videos for the demo: a bright square that moves, so that a video's class is in its motion and in no single frame.

The square starts anywhere, passes over a noisy ground, and comes in again at the other side when it leaves. Its place
at any one time says nothing of where it goes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidcnn.models.resolve import make_bundle
from vidcnn.video.encode import write_video

DIRECTIONS = {
    "right": (0, 1),
    "left": (0, -1),
    "down": (1, 0),
    "up": (-1, 0),
    "down_right": (1, 1),
    "down_left": (1, -1),
    "up_right": (-1, 1),
    "up_left": (-1, -1),
}
"""Name of each class, and the step of the square in (rows, columns) per frame."""

SIZE = 96
SQUARE = 24
NUM_FRAMES = 48
FPS = 15
_PIXELS_PER_FRAME = 3


def make_motion_videos(directory: Path, *, videos_per_class: int = 4, seed: int = 0) -> tuple[str, ...]:
    """Write ``directory/CLASS/CLASS_0.mp4`` and so on; files that are there stay.

    Args:
        directory: Where to.
        videos_per_class: Videos of each direction.
        seed: Same seed, same videos.

    Returns:
        The names of the classes.
    """
    for number, (name, step) in enumerate(DIRECTIONS.items()):
        (directory / name).mkdir(parents=True, exist_ok=True)
        for index in range(videos_per_class):
            path = directory / name / f"{name}_{index}.mp4"
            if not path.exists():
                generator = np.random.default_rng([seed, number, index])
                write_video(path, motion_frames(step, generator), fps=FPS)
    return tuple(DIRECTIONS)


def motion_frames(step: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Draw a moving square.

    Args:
        step: Direction of its motion, (rows, columns).
        generator: Source of its start, its colour and the ground.

    Returns:
        uint8 (T, H, W, 3) RGB.
    """
    ground = generator.integers(20, 90, (SIZE // 8, SIZE // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    frames = np.repeat(ground[None].astype(np.uint8), NUM_FRAMES, axis=0)
    start = generator.integers(0, SIZE, 2)
    colour = generator.integers(150, 256, 3)
    along = np.arange(SQUARE)
    for time, frame in enumerate(frames):
        top, left = (start + np.array(step) * _PIXELS_PER_FRAME * time) % SIZE
        frame[np.ix_((top + along) % SIZE, (left + along) % SIZE)] = colour
    return frames


def make_demo_bundle(directory: Path, labels: tuple[str, ...]) -> None:
    """Write a bundle of `simple3d` with random weights and the demo's classes."""
    labels_file = directory.with_suffix(".labels.txt")
    labels_file.write_text("\n".join(labels) + "\n")
    make_bundle("simple3d", weights="random", labels=str(labels_file)).save(directory)
    labels_file.unlink()
