from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given

from tests.sampling.test_segments import frame_times, specs
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, Segment, plan_segments
from vidcnn.video.assembly import ClipAssembler, DecodedClip
from vidcnn.video.pixels import FrameConverter, UInt8Array


class Painter(FrameConverter):
    """Makes a frame of one pixel out of a number, and counts."""

    def __init__(self) -> None:
        super().__init__(None)
        self.painted: list[int] = []

    def convert(self, frame: Any, into: UInt8Array | None = None) -> UInt8Array:
        self.painted.append(frame)
        pixels = np.array([[[frame % 256, frame // 256, 0]]], np.uint8)
        if into is None or frame % 3 == 0:  # it may be put there, or not
            return pixels
        into[...] = pixels
        return into


def number(pixels: UInt8Array) -> list[int]:
    return [int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1]) for frame in pixels]


def assemble(segment: Segment, *, broken: set[int] = frozenset()) -> tuple[list[DecodedClip], Painter, int]:  # type: ignore[assignment]
    painter = Painter()
    assembler = ClipAssembler(segment, by_order=True, converter=painter)
    clips, most_kept = list(assembler.fail_truncated()), 0
    while not assembler.is_complete:
        index = assembler.next_needed
        if index in broken:
            clips += assembler.fail_next(VideoError("corrupt_frames", "broken"))
        else:
            clips += assembler.put(index)
        most_kept = max(most_kept, len(assembler._settled) + sum(map(len, assembler._filled.values())))
    return clips, painter, most_kept


@given(frame_times(), specs)
def test_every_clip_comes_once_with_its_frames_and_each_frame_is_converted_once(
    times: FrameTimes, spec: ClipSpec
) -> None:
    (segment,) = plan_segments(times, spec, max_frames=10**9, max_clips=10**9)
    clips, painter, most_kept = assemble(segment)
    assert sorted(clip.index for clip in clips) == list(range(segment.num_clips))
    for clip in clips:
        assert clip.pixels is not None
        assert number(clip.pixels) == segment.frames[clip.index].tolist()
    assert sorted(painter.painted) == sorted(set(segment.frames.ravel().tolist()))
    span = int((segment.frames.max(axis=1) - segment.frames.min(axis=1)).max()) + 1
    assert most_kept <= span + 2 * spec.sampling.num_frames


def make_segment(spec: ClipSpec, *, num_available: int | None = None) -> Segment:
    (segment,) = plan_segments(FrameTimes(np.arange(10), 10, Fraction(1, 30), num_available=num_available), spec)
    return segment


OVERLAPPING = ClipSpec(Sampling(4, stride=1), step=2)


def test_a_broken_frame_fails_the_clips_that_hold_it_and_no_other() -> None:
    clips, _, _ = assemble(make_segment(OVERLAPPING), broken={5})
    assert {clip.index: clip.error and clip.error.kind for clip in clips} == {
        0: None, 1: "corrupt_frames", 2: "corrupt_frames", 3: None,
    }  # fmt: skip


def test_a_clip_comes_out_with_its_last_frame() -> None:
    assembler = ClipAssembler(make_segment(OVERLAPPING), by_order=True, converter=Painter())
    come = [[clip.index for clip in assembler.put(index)] for index in range(10)]
    assert come == [[], [], [], [0], [], [1], [], [2], [], [3]]


def test_truncated_clips_fail_at_once_and_their_frames_are_not_needed() -> None:
    assembler = ClipAssembler(make_segment(OVERLAPPING, num_available=5), by_order=True, converter=Painter())
    assert [(clip.index, clip.error.kind) for clip in assembler.fail_truncated() if clip.error] == [
        (1, "truncated"), (2, "truncated"), (3, "truncated"),
    ]  # fmt: skip
    assert assembler.needed == [0, 1, 2, 3]


def test_what_is_left_can_be_failed_as_a_whole() -> None:
    assembler = ClipAssembler(make_segment(OVERLAPPING, num_available=9), by_order=True, converter=Painter())
    for index in range(4):
        list(assembler.put(index))
    rest = list(assembler.fail_rest(VideoError("timeout", "too slow")))
    assert [(clip.index, clip.error.kind) for clip in rest if clip.error] == [
        (3, "truncated"), (1, "timeout"), (2, "timeout"),
    ]  # fmt: skip
    assert assembler.is_complete
