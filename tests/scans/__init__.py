"""The table of a scan; and videos of scenes, for tests of what can be seen in them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt


def moving_picture(time: float, size: tuple[int, int], seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return gray levels (H, W) of soft shapes that move."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    picture = np.zeros(size)
    for _ in range(8):
        across, down, speed, phase = (
            random.uniform(1, 12),
            random.uniform(1, 12),
            random.uniform(1, 4),
            random.uniform(0, 6),
        )
        picture += np.sin(across * x + down * y + speed * time + phase)
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def write_scenes(
    path: Path,
    *scenes: tuple[str, float],
    rate: int = 10,
    size: tuple[int, int] = (96, 128),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    seed: int = 0,
    left_out: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write a video of scenes.

    Args:
        path: Where to.
        *scenes: ``moving``, ``black`` or ``frozen``, and for how many seconds.
        rate: Frames per second.
        size: (height, width).
        codec: Encoder.
        options: Its options.
        seed: Of what is shown.
        left_out: Frames of this time ``[start, end)`` are missing.
    """
    pictures = []
    for kind, seconds in scenes:
        began = len(pictures)
        for index in range(round(seconds * rate)):
            time = (began + (0 if kind == "frozen" else index)) / rate
            pictures.append(np.zeros(size, np.uint8) if kind == "black" else moving_picture(time, size, seed))
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 2 * rate
        stream.options = options or {}
        for index, picture in enumerate(pictures):
            if left_out[0] <= index / rate < left_out[1]:
                continue
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
