"""What files may ask for: recordings pass, and files that are made to fill memory or keep processors busy do not."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.video.decoding import decode_clips, frame_numbers
from tests.video.hostile import fragmented_mp4, mp4, write_gif
from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.video import container, limits
from vidcnn.video.container import open_video
from vidcnn.video.files import VideoFile
from vidcnn.video.limits import (
    PixelBudget,
    check_entries,
    check_resized,
    find_complaint,
    frame_limit,
    is_out_of_memory,
)
from vidcnn.video.probe import probe_video

MAX_PIXELS = 8192 * 8192
SMALL, LARGE = (64, 64), (320, 320)
GROWING: dict[str, dict[str, Any]] = {
    "a.h264": {"codec": "libx264", "container": "h264"},
    "a.hevc": {"codec": "libx265", "container": "hevc", "options": {"x265-params": "log-level=none:pools=none"}},
    "a.m2v": {"codec": "mpeg2video", "container": "mpeg2video"},
    "a.mjpeg": {"codec": "mjpeg", "container": "mjpeg", "pixel_format": "yuvj420p"},
    "vp8.mkv": {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp9.mkv": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "av1.mkv": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
}


def write_growing(
    path: Path, *, sizes: tuple[tuple[int, int], ...] = (SMALL, LARGE), damaged: int | None = None
) -> Path:
    """Write a video of five frames of each size; in Matroska, the packet of one may be damaged."""
    settings = GROWING[path.name]
    parts = [
        write_video(path.with_name(f"{number}{path.suffix}"), 5, size=size, first_number=5 * number, **settings)
        for number, size in enumerate(sizes)
    ]
    if path.suffix != ".mkv":
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path
    with av.open(str(path), "w") as output:
        stream: Any = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0], opaque=True)
                packets = [packet for packet in source.demux(video=0) if packet.size]
                for index, packet in enumerate(packets):
                    if 5 * number + index == damaged:
                        packet = av.Packet(bytes(packet)[:1] + b"\xff" * 9)
                    packet.stream = stream
                    packet.pts = packet.dts = 5 * number + index
                    packet.time_base = Fraction(1, 30)
                    output.mux(packet)
    return path


@pytest.mark.parametrize("name", GROWING)
def test_frames_that_grow_beyond_what_is_allowed_are_too_large_in_every_decoder(name: str, tmp_path: Path) -> None:
    path = write_growing(tmp_path / name)
    numbers = frame_numbers(path, request={"max_pixels": 128 * 128})
    assert len(numbers) >= 9  # of MPEG-2, libav's parser takes one away where the streams were joined
    assert numbers[:2] == [0, 1]
    assert set(numbers[-4:]) == {"too_large"}


def test_damage_after_frames_that_were_too_large_for_a_while_is_damage(tmp_path: Path) -> None:
    path = write_growing(tmp_path / "vp8.mkv", sizes=(SMALL, LARGE, SMALL), damaged=12)
    found = frame_numbers(path, request={"max_pixels": 128 * 128})
    assert found == [*range(5), *["too_large"] * 5, 10, 11, *["corrupt_frames"] * 3]


def test_frames_may_grow_with_those_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_growing(tmp_path / "a.mjpeg")
    assert frame_numbers(path) == list(range(10))
    monkeypatch.setattr(limits, "_GROWN_PIXELS", 128 * 128)
    assert frame_numbers(path) == [0, 1, 2, 3, 4, *["too_large"] * 5]  # 25 times as large
    monkeypatch.setattr(limits, "_GROWTH", 25)
    assert frame_numbers(path) == list(range(10))


def test_a_stream_may_become_as_large_as_recordings_do() -> None:
    assert frame_limit(720, 576, MAX_PIXELS) >= 3840 * 2160
    assert frame_limit(160, 90, MAX_PIXELS) >= 3840 * 2160
    assert frame_limit(1920, 1080, MAX_PIXELS) >= 7680 * 4320
    assert frame_limit(64, 64, MAX_PIXELS) < 8100 * 8100
    assert frame_limit(0, 0, MAX_PIXELS) == MAX_PIXELS  # the decoder learns it from the first frame
    assert frame_limit(64, 64, 100) == 100


def test_black_films_are_within_the_budget() -> None:
    """Half a minute of nothing: some 30 bytes for each frame are the least that codecs and containers take."""
    budget = PixelBudget(1024 * 30)
    for _ in range(1024):
        budget.check()
        budget.spend(1, 3840 * 2160)
    budget.check()


def test_a_small_file_cannot_ask_for_many_large_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gif(tmp_path / "a.gif", 500, 400, 60)
    assert path.stat().st_size < 2000
    spec = ClipSpec(Sampling(4, stride=1))
    assert not [clip for clip in decode_clips(path, spec) if isinstance(clip, VideoError)]
    monkeypatch.setattr(limits, "_FREE_PIXELS", 500 * 400 * 10)
    monkeypatch.setattr(limits, "_PIXELS_PER_BYTE", 1000)
    clips = decode_clips(path, spec)
    failures = [clip for clip in clips if isinstance(clip, VideoError)]
    assert 3 <= len(clips) - len(failures) <= 6
    assert {clip.kind for clip in failures} == {"too_large"}
    assert "more pixels than a file of" in failures[0].message


def test_a_film_of_the_largest_frames_costs_more_than_its_pixels() -> None:
    budget = PixelBudget(5000)
    for _ in range(5):
        budget.check()
        budget.spend(1, MAX_PIXELS)
    budget.spend(1, MAX_PIXELS)
    with pytest.raises(VideoError, match="more pixels than a file of 5000 bytes may") as info:
        budget.check()
    assert info.value.kind == "too_large"


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def kind_and_reason(path: Path) -> tuple[str, str]:
    with pytest.raises(VideoError) as info:
        probe_video(str(path))
    return info.value.kind, info.value.message


def test_a_plain_file_passes_all_limits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", mp4([jpeg()] * 4, durations=[(4, 40)], num_tracks=8))
    assert probe_video(str(path)).times.num_frames == 4
    assert "corrupt_frames" not in frame_numbers(path)


def test_a_file_of_hundreds_of_streams_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", mp4([jpeg()], durations=[(1, 40)], num_tracks=limits.MAX_STREAMS + 1))
    assert kind_and_reason(path) == ("too_large", "it has more than 256 streams")


def write_with_silence(path: Path) -> Path:
    """Write a transport stream that declares sound and has none: libav looks for it."""
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=30, options={"preset": "ultrafast", "qp": "0"})
        video.width, video.height, video.pix_fmt = 256, 256, "yuv420p"
        sound: Any = output.add_stream("aac", rate=16_000)
        sound.layout = "mono"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (384, 256), np.uint8), format="yuv420p")
            frame.pts = number
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def test_only_the_beginning_of_a_file_is_read_to_learn_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_with_silence(tmp_path / "a.ts")
    asked: list[int] = []
    read = VideoFile.read

    def count(file: VideoFile, size: int) -> bytes:
        asked.append(size)
        return read(file, size)

    monkeypatch.setattr(VideoFile, "read", count)

    def num_bytes_read() -> int:
        asked.clear()
        with open_video(str(path)):
            return sum(asked)

    whole = num_bytes_read()
    assert whole > 1_000_000
    monkeypatch.setattr(container, "PROBE_BYTES", 200_000)
    assert num_bytes_read() < whole // 2


def test_an_index_that_lists_more_frames_than_the_file_has_room_for_is_too_large(tmp_path: Path) -> None:
    sizes = struct.pack(">II", 1, 100_000)
    data = mp4([jpeg()] * 4, durations=[(100_000, 40)], sizes=sizes, samples_per_chunk=100_000)
    kind, reason = kind_and_reason(write(tmp_path / "a.mp4", data))
    assert kind == "too_large"
    assert "its index lists 100000 frames, more than fit into" in reason
    check_entries(4096 + 25, 100)


def test_edit_lists_that_show_a_video_hundreds_of_times_are_too_large(tmp_path: Path) -> None:
    data = mp4([jpeg()[:700]] * 50, durations=[(50, 40)], edits=[(2000, 0)] * 1000)
    kind, reason = kind_and_reason(write(tmp_path / "a.mp4", data))
    assert kind == "too_large"
    assert "its index lists" in reason


def test_a_single_frame_with_a_forged_duration_is_shown_for_a_minute(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", mp4([jpeg()], durations=[(1, 10**9)]))
    info = probe_video(str(path))
    assert info.duration_seconds == 60
    assert sum(segment.num_clips for segment in plan_segments(info.times, ClipSpec(Sampling(16, fps=15)))) == 57


def test_frames_days_apart_in_a_small_file_are_planned_only_by_counting_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", mp4([jpeg()] * 2, durations=[(1, 5 * 10**8), (1, 40)]))
    times = probe_video(str(path)).times
    with pytest.raises(VideoError, match=r"its 2 frames, in \d+ bytes, would be shown for 500000 s") as info:
        plan_segments(times, ClipSpec(Sampling(16, fps=15)))
    assert info.value.kind == "too_large"
    for spec in (ClipSpec(Sampling(2, stride=1)), ClipSpec(Sampling(2, fps=15), num_clips=3)):
        assert sum(segment.num_clips for segment in plan_segments(times, spec)) <= 3


def test_strips_are_not_resized_to_frames_that_fill_the_memory() -> None:
    check_resized(128, 341)
    with pytest.raises(VideoError, match="resized, they would be 524272x128, above the limit") as info:
        check_resized(128, 524_272)
    assert info.value.kind == "too_large"


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (MemoryError(), True),
        (av.error.MemoryError(12, "Cannot allocate memory", "x"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            True,
        ),
        (RuntimeError("something else"), False),
        (cv2.error("OpenCV(4.12.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 4 bytes"), True),
        (cv2.error("(-215:Assertion failed) !ssize.empty()"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, is_told: bool) -> None:
    assert is_out_of_memory(error) == is_told


def test_an_index_that_is_too_large_for_libav_itself_is_too_large(tmp_path: Path) -> None:
    sizes = struct.pack(">II", 1, 10**8)
    data = mp4([jpeg()] * 4, durations=[(10**8, 40)], sizes=sizes, samples_per_chunk=10**8)
    kind, reason = kind_and_reason(write(tmp_path / "a.mp4", data))
    assert kind == "too_large"
    assert "its index lists 100000000 frames" in reason


def test_what_takes_more_memory_than_a_process_may_have_is_too_large(tmp_path: Path) -> None:
    """A fragment of eighty million frames, which libav lists before anything can be checked."""
    path = write(tmp_path / "a.mp4", fragmented_mp4(80_000_000))
    program = (
        "import resource\n"
        "from vidcnn.errors import VideoError\n"
        "from vidcnn.video.probe import probe_video\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))\n"
        f"try: probe_video({str(path)!r})\n"
        "except VideoError as error: print(error.kind, error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("too_large decoding it takes more memory than there is\n", "")


def test_other_messages_are_no_refusals() -> None:
    assert find_complaint(["error while decoding MB 3 4"]) is None
    assert (
        find_complaint(["no frame!", " Frame size 320x320 exceeds limit 16384\n"])
        == "Frame size 320x320 exceeds limit 16384"
    )
