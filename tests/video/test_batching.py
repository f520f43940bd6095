from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.video.decoding import WHOLE_FRAME
from tests.video.test_frame_folders import write_folder
from tests.videos import number_of, write_video
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES, ClipSpec, Sampling
from vidcnn.sources import Listing
from vidcnn.video import batching
from vidcnn.video.batching import (
    MAX_TASK_BYTES,
    ClipBatch,
    ClipRef,
    DecodeSettings,
    clips_per_task,
    decode_unit,
    frames_per_unit,
)
from vidcnn.video.decode import DecodedClip, DecodeRequest, decode_segment
from vidcnn.video.planning import PlannedSegment, PlanSettings, plan_video

SPEC = ClipSpec(Sampling(3, stride=1))
OPTIONS = {"preset": "ultrafast"}


def planned(folder: Path) -> list[PlannedSegment]:
    settings = PlanSettings(SPEC, image_fps=10, max_pixels=10**6)
    return [segment for video in Listing([str(folder)]) for segment in plan_video(video, settings)]


def settings(batch_size: int, *, exact: bool = False) -> DecodeSettings:
    return DecodeSettings(WHOLE_FRAME, exact=exact, batch_size=batch_size, max_pixels=10**6)


def shown(batch: ClipBatch) -> list[tuple[str, int, list[int]]]:
    """Return video, clip and frame numbers of each clip in a batch."""
    assert len(batch.pixels) == len(batch.clips)
    return [
        (batch.segments[ref.segment].video.name, ref.clip, [number_of(frame) for frame in pixels])
        for ref, pixels in zip(batch.clips, batch.pixels, strict=True)
    ]


@pytest.mark.parametrize("exact", [False, True])
def test_batches_are_filled_across_videos_and_only_the_last_is_smaller(exact: bool, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 12, options=OPTIONS)
    write_folder(tmp_path / "b", 9)
    write_video(tmp_path / "c.mkv", 6, options=OPTIONS, first_number=500)
    batches = list(decode_unit(planned(tmp_path), settings(4, exact=exact)))
    assert [batch.pixels.shape for batch in batches] == [(4, 3, 112, 112, 3)] * 2 + [(1, 3, 112, 112, 3)]
    clips = sorted(clip for batch in batches for clip in shown(batch))
    assert clips == [
        ("a.mp4", 0, [0, 1, 2]), ("a.mp4", 1, [3, 4, 5]), ("a.mp4", 2, [6, 7, 8]), ("a.mp4", 3, [9, 10, 11]),
        ("b", 0, [0, 1, 2]), ("b", 1, [3, 4, 5]), ("b", 2, [6, 7, 8]),
        ("c.mkv", 0, [500, 501, 502]), ("c.mkv", 1, [503, 504, 505]),
    ]  # fmt: skip
    assert all(batch.failures == () for batch in batches)


def test_failures_are_told_beside_the_clips_that_came(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 9)
    (folder / "frame_00005.png").write_bytes(b"broken")
    (batch,) = decode_unit(planned(tmp_path), settings(4))
    assert shown(batch) == [("a", 0, [0, 1, 2]), ("a", 2, [6, 7, 8])]
    ((ref, error),) = batch.failures
    assert (batch.segments[ref.segment].video.name, ref.clip, error.kind) == ("a", 1, "corrupt_frames")


def test_a_unit_of_nothing_but_failures_is_a_batch_without_clips(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 6, options=OPTIONS)
    unit = planned(tmp_path)
    path.rename(tmp_path / "elsewhere")
    (batch,) = decode_unit(unit, settings(4))
    assert len(batch.pixels) == len(batch.clips) == 0
    assert [(ref.clip, error.kind) for ref, error in batch.failures] == [(0, "changed"), (1, "changed")]


def test_a_video_that_is_replaced_between_planning_and_decoding_is_not_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 6, options=OPTIONS)
    unit = planned(tmp_path)
    write_video(path, 7, options=OPTIONS)
    (batch,) = decode_unit(unit, settings(4))
    assert {error.kind for _, error in batch.failures} == {"changed"}


def test_nothing_makes_no_batches() -> None:
    assert list(decode_unit([], settings(4))) == []


def test_batches_do_not_share_memory(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 24, options=OPTIONS)
    first, second = decode_unit(planned(tmp_path), settings(4))
    assert not np.shares_memory(first.pixels, second.pixels)


SMALL_CLIP = 16 * 112 * 112 * 3


@pytest.mark.parametrize("model_batch_size", [1, 3, 8, 16, 40])
def test_a_task_is_whole_batches_of_the_model(model_batch_size: int) -> None:
    num_clips = clips_per_task(model_batch_size, SMALL_CLIP)
    assert num_clips % model_batch_size == 0
    least = max(16, 2 * model_batch_size)
    assert least <= num_clips < least + model_batch_size


@given(st.integers(1, 256), st.integers(0, 10**7), st.integers(1, 500))
def test_units_grow_with_the_models_batches_and_each_decoder_gets_several(
    model_batch_size: int, num_clips: int, num_decoders: int
) -> None:
    segments = frames_per_unit(model_batch_size, num_clips, num_decoders) // MAX_SEGMENT_FRAMES
    assert 1 <= segments <= 8
    assert segments == 1 or num_clips >= 4 * num_decoders * 32 * segments
    if model_batch_size <= 4:
        assert segments == 1


def test_a_gpus_batches_are_hardly_ever_short_of_clips() -> None:
    clips = 40  # of a segment of 1024 frames at 25 per second
    for batch_size in (2, 8, 32):
        num = frames_per_unit(batch_size, 10**6, 16) // MAX_SEGMENT_FRAMES * clips
        assert num / (-(-num // batch_size) * batch_size) >= 0.9


@given(st.integers(1, 64), st.integers(1, 4 * MAX_TASK_BYTES))
def test_a_task_is_no_larger_than_memory_allows_and_holds_a_clip_at_least(
    model_batch_size: int, clip_bytes: int
) -> None:
    num_clips = clips_per_task(model_batch_size, clip_bytes)
    assert num_clips == 1 or num_clips * clip_bytes <= MAX_TASK_BYTES
    assert num_clips >= 1
    if model_batch_size * clip_bytes <= MAX_TASK_BYTES:
        assert num_clips % model_batch_size == 0
    else:
        assert (num_clips + 1) * clip_bytes > MAX_TASK_BYTES  # as much of a batch as fits
    assert num_clips < max(16, 2 * model_batch_size) + model_batch_size


def test_a_lack_of_memory_costs_one_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 9, options=OPTIONS)
    write_video(tmp_path / "b.mp4", 9, options=OPTIONS)

    def decode(request: DecodeRequest) -> Iterator[DecodedClip]:
        for number, clip in enumerate(decode_segment(request)):
            if number == 1 and request.location.endswith("a.mp4"):
                raise MemoryError
            yield clip

    monkeypatch.setattr(batching, "decode_segment", decode)
    (batch,) = decode_unit(planned(tmp_path), settings(8))
    assert [(name, clip) for name, clip, _ in shown(batch)] == [("a.mp4", 0), ("b.mp4", 0), ("b.mp4", 1), ("b.mp4", 2)]
    assert [(ref, error.kind) for ref, error in batch.failures if isinstance(error, VideoError)] == [
        (ClipRef(0, 1), "too_large"), (ClipRef(0, 2), "too_large"),
    ]  # fmt: skip
