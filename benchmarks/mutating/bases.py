"""The files that are mutated: small ones of each container, written here, or some of a folder of real ones."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MAX_BYTES = 1_000_000
"""Larger real files are left out: they take long, and have nothing that smaller ones lack."""
NUM_FRAMES = 60
SIZE = (96, 128)

_X264 = {"preset": "veryfast", "tune": "zerolatency"}
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "last.mp4": ("libx264", {"options": {"preset": "veryfast", "bf": "2"}}),
    "first.mp4": ("libx264", {"options": _X264, "muxer": {"movflags": "faststart"}}),
    "fragments.mp4": ("libx264", {"options": _X264, "muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    "hevc.mp4": ("libx265", {"options": {"preset": "ultrafast", "x265-params": "log-level=none"}}),
    "still.mov": ("mjpeg", {"pixels": "yuvj420p"}),
    "h264.mkv": ("libx264", {"options": _X264}),
    "vp9.webm": ("libvpx-vp9", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "av1.mkv": ("libsvtav1", {"options": {"preset": "12"}}),
    "h264.ts": ("libx264", {"options": _X264}),
    "mpeg2.ts": ("mpeg2video", {}),
    "mpeg4.avi": ("mpeg4", {}),
    "h264.flv": ("libx264", {"options": _X264}),
    "pack.mpg": ("mpeg2video", {"container": "mpeg"}),
    "wmv.wmv": ("wmv2", {"container": "asf"}),
    "theora.ogv": ("libtheora", {"container": "ogg"}),
    "raw.h264": ("libx264", {"options": _X264, "container": "h264"}),
    "small.gif": ("gif", {"pixels": "gray"}),
}


def written_files(folder: Path) -> list[Path]:
    """Write a file of each container, with the codecs that this libav has."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write(folder / name, codec, **how) for name, (codec, how) in WRITTEN.items() if codec in av.codecs_available
    ]


def real_files(folder: Path, num_files: int, seed: int) -> list[Path]:
    """Choose files of a folder so that as many kinds as possible are among them."""
    rng = random.Random(seed)
    found = sorted(path for path in folder.rglob("*") if path.is_file() and 200 < path.stat().st_size <= MAX_BYTES)
    rng.shuffle(found)
    by_kind: dict[str, list[Path]] = {}
    for path in found:
        if (kind := _kind(path)) is not None:
            by_kind.setdefault(kind, []).append(path)
    chosen: list[Path] = []
    while by_kind and len(chosen) < num_files:
        for kind in sorted(by_kind):
            chosen.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    return sorted(chosen[:num_files])


def _kind(path: Path) -> str | None:
    """Return container and codec of a file; None where it has no video."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            return f"{container.format.name} {stream.codec_context.name} {stream.codec_context.pix_fmt}"
    except (av.error.FFmpegError, IndexError, ValueError, OSError):
        return None


def _write(
    path: Path,
    codec: str,
    *,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    container: str | None = None,
) -> Path:
    """Write blurred noise that drifts, which no codec can leave out."""
    rng = np.random.default_rng(0)
    world = np.kron(rng.integers(0, 255, (60, 80), np.uint8), np.ones((8, 8), np.uint8))
    with av.open(str(path), "w", format=container, options=muxer or {}) as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, pixels
        stream.codec_context.gop_size = 12
        stream.options = options or {}
        for index in range(NUM_FRAMES):
            board = np.ascontiguousarray(world[index * 2 : index * 2 + SIZE[0], index * 3 : index * 3 + SIZE[1]])
            frame = av.VideoFrame.from_ndarray(board, format="gray").reformat(format=pixels)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    take_back_priority()
    return path


def take_back_priority() -> None:
    """Let this process wait its turn again: SVT-AV1 takes real-time priority, which decoders would have."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended, or this user may not
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))
