"""Planning and decoding whole videos in tests, down to the numbers that their frames show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.videos import number_of
from vidcnn.errors import ErrorKind, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling, Segment, plan_segments
from vidcnn.video.decode import DecodedClip, DecodeRequest, decode_segment
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.probe import VideoInfo, probe_video

ONE_BY_ONE = ClipSpec(Sampling(1, stride=1))
"""Every frame is a clip of its own."""

PREPROCESSING = Preprocessing(resize=(128, 171), crop=(112, 112), mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
"""What torchvision's video networks were trained with."""

WHOLE_FRAME = Preprocessing(resize=(112, 112), crop=(112, 112), mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
"""No part of a frame is cut off, so that its number can still be read."""


def plan(path: Path | str, spec: ClipSpec = ONE_BY_ONE, **bounds: int) -> tuple[VideoInfo, list[Segment]]:
    """Probe a video and plan its segments."""
    info = probe_video(str(path))
    return info, plan_segments(info.times, spec, **bounds)


def decode_clips(
    path: Path | str, spec: ClipSpec = ONE_BY_ONE, *, request: dict[str, Any] | None = None, **bounds: int
) -> list[UInt8Array | VideoError]:
    """Return the pixels, or the error, of every clip in order, having checked that each came exactly once."""
    info, segments = plan(path, spec, **bounds)
    results: list[UInt8Array | VideoError] = []
    for segment in segments:
        arguments = {"timing": info.timing, "version": (info.size_bytes, info.mtime_ns)} | (request or {})
        clips = list(decode_segment(DecodeRequest(str(path), segment, **arguments)))
        results += [_result(clip) for clip in in_order(clips, segment)]
    return results


def in_order(clips: list[DecodedClip], segment: Segment) -> list[DecodedClip]:
    """Sort the clips of a segment, having checked that each came exactly once."""
    ordered = sorted(clips, key=lambda clip: clip.index)
    assert [clip.index for clip in ordered] == list(range(segment.num_clips))
    return ordered


def shown_numbers(path: Path | str, spec: ClipSpec = ONE_BY_ONE, **arguments: Any) -> list[list[int] | ErrorKind]:
    """Return what the frames of every clip show, or the clip's error kind."""
    return [
        clip.kind if isinstance(clip, VideoError) else [number_of(frame) for frame in clip]
        for clip in decode_clips(path, spec, **arguments)
    ]


def numbers_in(clip: DecodedClip) -> list[int]:
    """Return what the frames of a clip show; nothing of a clip that failed."""
    return [] if clip.pixels is None else [number_of(frame) for frame in clip.pixels]


def frame_numbers(path: Path | str, **arguments: Any) -> list[int | ErrorKind]:
    """Return what every frame of a video shows, or the frame's error kind."""
    return [clip if isinstance(clip, str) else clip[0] for clip in shown_numbers(path, ONE_BY_ONE, **arguments)]


def mean_difference(left: UInt8Array, right: UInt8Array) -> float:
    """Return the mean absolute difference in gray levels."""
    assert left.shape == right.shape
    return float(np.abs(left.astype(np.int16) - right.astype(np.int16)).mean())


def _result(clip: DecodedClip) -> UInt8Array | VideoError:
    assert (clip.pixels is None) != (clip.error is None)
    return clip.error if clip.pixels is None else clip.pixels  # type: ignore[return-value]
