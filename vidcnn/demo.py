"""Videos for the demo: a bright square that moves, so that a video's class is in its motion and in no single frame.

The square starts anywhere, passes over a noisy ground, and comes in again at the other side when it leaves. Its place
at any one time does not show where it moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidcnn.config import TrainSpec
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

FLIP_PAIRS = ("left=right", "down_left=down_right", "up_left=up_right")
"""Classes that are each other's mirror image."""

SIZE = 96
SQUARE = 24
NUM_FRAMES = 48
FPS = 15
_PIXELS_PER_FRAME = 3


@dataclass(frozen=True)
class VideoResult:
    """What was predicted of a video.

    Attributes:
        video: Its name.
        truth: Its class.
        label: The class with the highest scores over its clips.
        share: This class's share of the best scores of all its clips.
    """

    video: str
    truth: str
    label: str
    share: float


def make_motion_videos(directory: Path, *, videos_per_class: int = 4, seed: int = 0) -> tuple[str, ...]:
    """Write ``directory/CLASS/CLASS_0.mp4`` and so on; files that are there stay.

    Args:
        directory: Folder to which they are written, one folder for each class.
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


def training_spec(videos: Path, run: Path) -> TrainSpec:
    """Return how the demo trains: small enough for a laptop's processor, and large enough to get it right."""
    return TrainSpec(
        data=str(videos),
        out=str(run),
        model="simple3d",
        batch_norm=True,
        dropout=0.2,
        crop="32",
        flip_pairs=",".join(FLIP_PAIRS),
        epochs=20,
        batch_size=16,
        lr=3e-3,
        val_epochs=5,
        workers=2,
    )


def video_table(out: str) -> list[VideoResult]:
    """Read a table of predictions as one row for each video.

    Args:
        out: The table; the folder of each video is its class.
    """
    import pyarrow.dataset as ds

    rows = ds.dataset(out).to_table(columns=["video", "label", "score"]).to_pylist()
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        of_video = scores.setdefault(row["video"], {})
        of_video[row["label"]] = of_video.get(row["label"], 0.0) + row["score"]
    results = []
    for video, by_label in sorted(scores.items()):
        label = max(by_label, key=lambda name: by_label[name])
        results.append(VideoResult(video, video.split("/")[-2], label, by_label[label] / sum(by_label.values())))
    return results
