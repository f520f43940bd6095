"""What is classified: videos of many batches in each segment, small ones, broken ones, and a small network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidcnn.models.resolve import make_bundle

RATE = 15
KEYFRAME_INTERVAL = 640
"""Segments end at keyframes only, so each of a long video has about this many frames."""
LONG_FRAMES = (1280, 1500, 960, 1280)
SMALL_FRAMES = (20, 45, 64, 90, 120)
SIZE = (240, 320)
CLIP_STEP = 4
"""Clips overlap, so that there are many: 160 of a segment of 640 frames, which ten batches of sixteen fill exactly. Who
counts rows, and not which clips they are of, takes a segment for whole that has some twice and lacks others."""


def make_source(folder: Path) -> None:
    """Write the videos: 60 to 100 seconds long, a few seconds long, cut off in the middle, and none at all."""
    folder.mkdir()
    for index, num_frames in enumerate(LONG_FRAMES):
        write_walk(folder / f"long_{index}.mp4", num_frames, seed=index)
    for index, num_frames in enumerate(SMALL_FRAMES):
        write_walk(folder / f"small_{index}.mp4", num_frames, seed=100 + index)
    whole = (folder / "small_4.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "broken.mp4").write_bytes(b"no video")


def make_model(folder: Path) -> None:
    """Write a bundle with random weights and four classes."""
    labels = folder.with_suffix(".txt")
    labels.write_text("run\njump\nfall\nrest\n")
    make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25}, seed=1).save(folder)


def write_walk(path: Path, num_frames: int, *, seed: int) -> None:
    """Write a square that walks over a still picture: no two clips are the same."""
    rng = np.random.default_rng(seed)
    still = np.kron(rng.integers(0, 256, (SIZE[0] // 20, SIZE[1] // 20), np.uint8), np.ones((20, 20), np.uint8))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_INTERVAL
        stream.options = {"preset": "ultrafast", "sc_threshold": "0"}
        for index in range(num_frames):
            gray = still.copy()
            top, left = index * 3 % (SIZE[0] - 40), index * 7 % (SIZE[1] - 40)
            gray[top : top + 40, left : left + 40] = index * 5 % 256
            frame = av.VideoFrame.from_ndarray(gray, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
