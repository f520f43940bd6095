"""Small videos in which frame i shows the number i, so that tests can name the exact frames that they expect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

NUM_BITS = 16
BLOCK = 16
SIZE = 4 * BLOCK
ROTATIONS = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
"""Display matrices of quarter turns, counterclockwise."""


def numbered_frame(number: int, size: tuple[int, int] = (SIZE, SIZE)) -> npt.NDArray[np.uint8]:
    """Return gray levels (H, W): a 4x4 board of dark and bright fields, the bits of `number`."""
    bits = [(number >> bit) & 1 for bit in range(NUM_BITS)]
    board = np.array(bits, np.uint8).reshape(4, 4) * 190 + 30
    rows = np.arange(size[0]) * 4 // size[0]
    columns = np.arange(size[1]) * 4 // size[1]
    return board[rows][:, columns]


def as_coded(
    shown: npt.NDArray[np.uint8], size: tuple[int, int], matrix: tuple[int, int, int, int]
) -> npt.NDArray[np.uint8]:
    """Return the (H, W) picture of a size that players show as `shown` when they follow a display matrix."""
    a, b, c, d = matrix
    y, x = np.indices(size)
    right, down = a * x + c * y, b * x + d * y
    return np.ascontiguousarray(shown[down - down.min(), right - right.min()])


def number_of(pixels: npt.NDArray[np.uint8]) -> int:
    """Read the number that a frame (H, W, 3) shows."""
    height, width = pixels.shape[:2]
    number = 0
    for bit in range(NUM_BITS):
        row, column = divmod(bit, 4)
        y, x = height * (2 * row + 1) // 8, width * (2 * column + 1) // 8
        field = pixels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        number |= int(field.mean() > 125) << bit
    return number


def write_video(
    path: Path,
    num_frames: int,
    *,
    codec: str = "libx264",
    rate: int | Fraction = 30,
    size: tuple[int, int] = (SIZE, SIZE),
    pixel_format: str = "yuv420p",
    keyframe_interval: int = 12,
    options: dict[str, str] | None = None,
    times: Sequence[Fraction] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    matrix: tuple[int, int, int, int] | None = None,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    first_number: int = 0,
    sound_only: bool = False,
) -> Path:
    """Write a video of numbered frames.

    Args:
        path: Where to; its extension chooses the container unless `container` does.
        num_frames: Frames.
        codec: Encoder.
        rate: Frames per second.
        size: (height, width) as coded, before rotation.
        pixel_format: libav's name.
        keyframe_interval: Most frames from one keyframe to the next.
        options: The encoder's.
        times: Presentation time of each frame in seconds, instead of a constant rate.
        time_base: The encoder's unit of time.
        rotation: Degrees counterclockwise that players turn the frames by; turned so, they show their numbers.
        matrix: Where players show a sample at (x, y), instead of `rotation`: a, b, c, d for (ax + cy, bx + dy).
        container: libav's name of the muxer.
        container_options: The muxer's.
        first_number: Number of the first frame.
        sound_only: Write a second of sound instead.
    """
    with av.open(str(path), "w", format=container, container_options=container_options or {}) as output:
        if sound_only:
            _write_sound(output)
            return path
        stream: Any = output.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = keyframe_interval
        stream.options = options or {}
        unit = time_base or 1 / Fraction(rate)
        matrix = matrix or ROTATIONS[rotation % 360]
        shown_size = size if matrix[0] else size[::-1]
        stream.codec_context.time_base = unit
        if matrix != ROTATIONS[0]:
            a, b, c, d = (value << 16 for value in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for index in range(num_frames):
            board = as_coded(numbered_frame(first_number + index, shown_size), size, matrix)
            frame = av.VideoFrame.from_ndarray(board, format="gray")
            frame = frame.reformat(format=pixel_format)
            time = times[index] if times is not None else index / Fraction(rate)
            frame.pts, frame.time_base = round(time / unit), unit
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    take_back_priority()
    return path


def take_back_priority() -> None:
    """Let this process wait its turn again, with what it starts: SVT-AV1 takes real-time priority where it may."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended, or this user may not
            if os.sched_getscheduler(int(thread)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def _write_sound(output: Any) -> None:
    stream = output.add_stream("aac", rate=16000, layout="mono")
    for index in range(16):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, index * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def decode_all(path: Path | str, limit: int | None = None) -> list[npt.NDArray[np.uint8]]:
    """Return libav's own full decode of the first video stream: upright RGB frames (H, W, 3)."""
    frames = []
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(container.streams.video[0]):
            rgb = frame.to_ndarray(format="rgb24")
            frames.append(np.rot90(rgb, round(frame.rotation / 90) % 4))
            if limit is not None and len(frames) == limit:
                break
    return frames
