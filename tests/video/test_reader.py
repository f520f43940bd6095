"""How much is read and decoded for a segment, and from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.video.decoding import PREPROCESSING, frame_numbers, in_order, numbers_in, plan, shown_numbers
from tests.video.test_decode import OPEN, X264
from tests.videos import write_video
from vidcnn.sampling.segments import ClipSpec, Sampling, Segment
from vidcnn.video import reader
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.pixels import FrameConverter
from vidcnn.video.timeline import FrameMatching

NUM_FRAMES = 600
KEYFRAME_INTERVAL = 20
STEADY = X264 | {"x264-params": "scenecut=0"}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the packets given to the decoder, the frames it gave out, and those that were converted."""
    counted: Counter[str] = Counter()
    read, decode, convert = reader.read_from_keyframe, reader.SegmentReader._decode, FrameConverter.convert

    def count_reading(video: Any) -> Iterator[Any]:
        counted["runs"] += 1
        return read(video)

    def count_decoding(self: Any, packet: Any) -> Iterator[Any]:
        counted["packets"] += 1
        for judged in decode(self, packet):
            counted["frames"] += 1
            yield judged

    def count_conversion(self: Any, *arguments: Any) -> Any:
        counted["converted"] += 1
        return convert(self, *arguments)

    monkeypatch.setattr(reader, "read_from_keyframe", count_reading)
    monkeypatch.setattr(reader.SegmentReader, "_decode", count_decoding)
    monkeypatch.setattr(FrameConverter, "convert", count_conversion)
    return counted


@pytest.fixture(scope="module", params=["a.mp4", "a.mkv", "a.ts"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reader") / str(request.param)
    return write_video(path, NUM_FRAMES, options=STEADY, keyframe_interval=KEYFRAME_INTERVAL, size=(64, 64))


def test_far_apart_clips_are_sought(video: Path, counts: Counter[str]) -> None:
    spec = ClipSpec(Sampling(4, stride=1), num_clips=5)
    starts = [0, 149, 298, 447, 596]
    assert shown_numbers(video, spec, max_frames=10**6) == [[s, s + 1, s + 2, s + 3] for s in starts]
    assert counts["runs"] >= 5
    # From the keyframe before each clip to its end, and a few more until those are seen to be sound.
    assert counts["packets"] < 5 * (KEYFRAME_INTERVAL + 12)


def test_frames_that_are_needed_often_are_decoded_and_converted_once(video: Path, counts: Counter[str]) -> None:
    spec = ClipSpec(Sampling(16, stride=2), step=1)
    _, segments = plan(video, spec, max_frames=10**6, max_clips=10**6)
    (segment,) = segments
    clips = in_order(list(decode_segment(DecodeRequest(str(video), segment))), segment)
    assert numbers_in(clips[100]) == list(range(100, 132, 2))
    assert counts["converted"] == NUM_FRAMES
    assert counts["runs"] == 1
    assert NUM_FRAMES <= counts["packets"] <= NUM_FRAMES + 1


def test_frames_that_nothing_refers_to_are_left_out(video: Path, counts: Counter[str]) -> None:
    spec = ClipSpec(Sampling(8, stride=8))
    _, (segment, *_) = plan(video, spec, max_frames=10**6)
    list(decode_segment(DecodeRequest(str(video), segment)))
    assert counts["converted"] == len(np.unique(segment.frames))
    assert counts["frames"] < counts["packets"] * 2 // 3


def test_a_segment_in_the_middle_reads_its_own_part(video: Path, counts: Counter[str]) -> None:
    _, segments = plan(video, ClipSpec(Sampling(10, stride=1)), max_frames=60)
    assert len(segments) > 5
    segment = segments[4]
    clips = in_order(list(decode_segment(DecodeRequest(str(video), segment))), segment)
    shown = [numbers_in(clip) for clip in clips]
    assert shown == segment.frames.tolist()
    assert counts["packets"] < np.ptp(segment.frames) + KEYFRAME_INTERVAL + 12


def test_open_groups_are_left_and_entered_without_decoding_twice(tmp_path: Path, counts: Counter[str]) -> None:
    path = write_video(tmp_path / "a.mkv", 300, options=OPEN, size=(64, 64))
    assert shown_numbers(path, ClipSpec(Sampling(2, stride=1), step=97), max_frames=10**6) == [
        [0, 1], [97, 98], [194, 195], [291, 292],
    ]  # fmt: skip
    assert counts["packets"] < 4 * 30


def moved(segment: Segment, **changes: Any) -> Segment:
    return Segment(**{name: getattr(segment, name) for name in Segment.__dataclass_fields__} | changes)


def test_a_seek_that_lands_too_late_is_made_again_from_further_back(
    tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mkv", 300, options=STEADY, keyframe_interval=100, size=(64, 64))
    _, segments = plan(path, ClipSpec(Sampling(5, stride=1), step=150), max_frames=1, max_clips=1)
    segment = segments[1]
    assert segment.frames.tolist() == [[150, 151, 152, 153, 154]]
    # The plan takes a frame for a keyframe that is none: the container finds the one after it, or the one before.
    wrong = moved(segment, keyframe_pts=segment.pts[0, :1])
    (clip,) = decode_segment(DecodeRequest(str(path), wrong))
    assert numbers_in(clip) == [150, 151, 152, 153, 154]

    seek = reader.SegmentReader._go_to_keyframe

    def go_too_far(self: Any, attempt: int) -> bool | None:
        where = seek(self, attempt)
        if attempt < 2:
            self._video.container.seek(int(segment.pts[0, -1]), stream=self._video.stream, backward=False)
        return where

    monkeypatch.setattr(reader.SegmentReader, "_go_to_keyframe", go_too_far)
    counts.clear()
    (clip,) = decode_segment(DecodeRequest(str(path), segment))
    assert numbers_in(clip) == [150, 151, 152, 153, 154]
    assert counts["runs"] == 3


def test_where_seeking_fails_decoding_starts_at_the_beginning(
    tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mkv", 100, options=STEADY, keyframe_interval=20, size=(64, 64))
    _, segments = plan(path, ClipSpec(Sampling(5, stride=1), step=50), max_frames=1, max_clips=1)
    monkeypatch.setattr(reader, "_SEEK_BACK_SECONDS", ())
    (clip,) = decode_segment(DecodeRequest(str(path), segments[1]))
    assert numbers_in(clip) == [50, 51, 52, 53, 54]
    assert counts["packets"] >= 54


@pytest.mark.parametrize("timing", ["pts", "order"])
def test_frames_the_decoder_leaves_out_are_shown_by_the_one_before(timing: FrameMatching, tmp_path: Path) -> None:
    """A plan may know of a frame that no decoder gives out: what is on screen then stays."""
    path = write_video(tmp_path / "a.mp4", 10, rate=10, options=STEADY)
    _, (segment,) = plan(path)
    between = segment.pts.copy()
    between[4] += int(between[1, 0]) // 2
    gap = (
        moved(segment, pts=between) if timing == "pts" else moved(segment, frames=segment.frames + (segment.frames > 8))
    )
    clips = in_order(list(decode_segment(DecodeRequest(str(path), gap, timing=timing))), gap)
    assert [numbers_in(clip) for clip in clips] == [[number] for number in range(10)]


def test_frames_left_out_by_the_recorder_do_not_end_the_stream(tmp_path: Path) -> None:
    """An MP4 whose index lists a frame of no bytes."""
    path = write_video(tmp_path / "a.mp4", 30, codec="mpeg4")
    with av.open(str(path)) as container:
        left_out = [packet for packet in container.demux(video=0) if packet.size][15]
    data = bytearray(path.read_bytes())
    size = data.find(b"stsz") + 16 + 4 * 15
    assert int.from_bytes(data[size : size + 4], "big") == left_out.size
    data[size : size + 4] = bytes(4)
    box = data.find(b"mdat") - 4
    data[box : box + 4] = (int.from_bytes(data[box : box + 4], "big") - left_out.size).to_bytes(4, "big")
    del data[left_out.pos : left_out.pos + left_out.size]
    path.write_bytes(data)
    numbers = frame_numbers(path)
    assert numbers[:15] == list(range(15))
    assert len(numbers) == 29
    assert "corrupt_frames" not in numbers


def test_one_workers_memory_does_not_grow_with_the_length_of_a_segment(tmp_path: Path) -> None:
    """One keyframe and one segment for the whole video, whose frames would fill 56 MB."""
    path = write_video(
        tmp_path / "a.mp4", 1500, options={"preset": "ultrafast"}, keyframe_interval=10_000, size=(64, 64)
    )
    _, (segment,) = plan(path, ClipSpec(Sampling(16, stride=4), step=16))
    request = DecodeRequest(str(path), segment, preprocessing=PREPROCESSING)
    process = psutil.Process()
    clips = decode_segment(request)
    for _ in range(20):
        next(clips)
    before = process.memory_info().rss
    largest = max(process.memory_info().rss for _ in clips)
    assert largest - before < 20 * 2**20


@pytest.mark.nightly
def test_a_twenty_minute_video_decodes_in_little_memory(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20 * 60 * 25, rate=25, options=X264, keyframe_interval=250, size=(64, 64))
    process = psutil.Process()
    spec = ClipSpec(Sampling(16, stride=2))
    _, segments = plan(path, spec)
    assert len(segments) > 10
    before, largest, num_clips = process.memory_info().rss, 0, 0
    for segment in segments:
        for clip in decode_segment(DecodeRequest(str(path), segment, preprocessing=PREPROCESSING)):
            assert clip.pixels is not None
            num_clips += 1
        largest = max(largest, process.memory_info().rss)
    assert num_clips == -(-20 * 60 * 25 // 32)
    assert largest - before < 60 * 2**20
