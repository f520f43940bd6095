"""Writing a video: for the demo's own."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidcnn.video.pixels import UInt8Array


def write_video(path: Path, frames: UInt8Array, *, fps: int) -> None:
    """Write frames as H.264 in MP4, whole or not at all.

    Args:
        path: The file to write.
        frames: uint8 (T, H, W, 3) RGB, H and W even.
        fps: Frames per second.
    """
    aside = path.with_name(f".{path.name}.part")
    with av.open(str(aside), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    os.replace(aside, path)
