"""Exact frames, whatever the codec, the container, the order of coding and the clock."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.video.decoding import (
    ONE_BY_ONE,
    PREPROCESSING,
    WHOLE_FRAME,
    decode_clips,
    frame_numbers,
    plan,
    shown_numbers,
)
from tests.video.interlaced import write_fields
from tests.videos import number_of, numbered_frame, write_video
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling, Segment
from vidcnn.video import decode
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.probe import probe_video

NUM_FRAMES = 60
FAST = {"preset": "ultrafast"}
X264 = {"preset": "veryfast"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}
X265_OPEN = X265 | {"x265-params": f"{X265['x265-params']}:open-gop=1:bframes=4:b-adapt=0:keyint=12"}
OPEN = X264 | {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=12"}
WITH_B = {"bf": "2", "b": "2000000"}
VPX = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "1000000"}
UNEVEN = list(accumulate(random.Random(3).choices([20, 33, 40, 100, 250], k=NUM_FRAMES - 1), initial=0))

FORMATS: dict[str, dict[str, Any]] = {
    "x264.mp4": {"options": X264},
    "x264.mkv": {"options": X264},
    "x264.ts": {"options": X264},
    "x264.flv": {"options": X264},
    "x264.avi": {"options": X264},
    "x264.nut": {"options": X264},
    "pyramid.mp4": {"options": X264 | {"x264-params": "bframes=8:b-pyramid=normal:b-adapt=0"}},
    "no_b_frames.mov": {"options": FAST | {"tune": "zerolatency"}},
    "open_gop.mp4": {"options": OPEN},
    "open_gop.mkv": {"options": OPEN},
    "open_gop.ts": {"options": OPEN},
    "intra_refresh.mp4": {"options": X264 | {"x264-params": "intra-refresh=1:keyint=20"}},
    "x265_open_gop.mp4": {"codec": "libx265", "options": X265_OPEN},
    "x265_open_gop.mkv": {"codec": "libx265", "options": X265_OPEN},
    "x265_open_gop.ts": {"codec": "libx265", "options": X265_OPEN},
    "mpeg2.ts": {"codec": "mpeg2video", "rate": 25, "options": WITH_B},
    "mpeg2.mkv": {"codec": "mpeg2video", "rate": 25, "options": WITH_B},
    "mpeg2.mxf": {"codec": "mpeg2video", "rate": 25, "options": WITH_B},
    "program_stream.mpg": {"codec": "mpeg2video", "rate": 25, "container": "mpeg", "options": WITH_B},
    "elementary.m2v": {"codec": "mpeg2video", "rate": 25, "container": "mpeg2video", "options": WITH_B},
    "variable_rate.mp4": {
        "options": X264,
        "times": [Fraction(t, 1000) for t in UNEVEN],
        "time_base": Fraction(1, 1000),
    },
    "variable_rate.mkv": {
        "options": X264,
        "times": [Fraction(t, 1000) for t in UNEVEN],
        "time_base": Fraction(1, 1000),
    },
    "raw.h264": {"options": X264, "container": "h264"},
    "raw.hevc": {"codec": "libx265", "options": X265, "container": "hevc"},
    "late.ts": {"options": X264, "times": [100 + Fraction(i, 30) for i in range(NUM_FRAMES)]},
    "late.mkv": {"options": X264, "times": [100 + Fraction(i, 30) for i in range(NUM_FRAMES)]},
    "late.mp4": {"options": X264, "times": [100 + Fraction(i, 30) for i in range(NUM_FRAMES)]},
    "without_edit_list.mp4": {"options": X264, "container_options": {"use_editlist": "0"}},
    "negative_dts.mp4": {"options": X264, "container_options": {"movflags": "negative_cts_offsets"}},
    "fragmented.mp4": {"options": X264, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "fragment_per_frame.mp4": {"options": X264, "container_options": {"movflags": "frag_every_frame"}},
    "interlaced.mp4": {"options": X264 | {"x264-params": "tff=1:interlaced=1"}},
    "interlaced.ts": {"codec": "mpeg2video", "rate": 25, "options": WITH_B | {"flags": "+ildct+ilme"}},
    "10_bit.mp4": {"options": X264, "pixel_format": "yuv420p10le"},
    "10_bit.mkv": {"codec": "libx265", "options": X265, "pixel_format": "yuv420p10le"},
    "full_range.mp4": {"options": X264, "pixel_format": "yuvj420p"},
    "422.mp4": {"options": X264, "pixel_format": "yuv422p"},
    "444.mp4": {"options": X264, "pixel_format": "yuv444p"},
    "gray.mp4": {"options": X264, "pixel_format": "gray"},
    "odd_size.mp4": {"options": X264, "pixel_format": "yuv444p", "size": (121, 161)},
    "odd_size.webm": {"codec": "libvpx-vp9", "size": (121, 161), "options": VPX},
    "vp8.webm": {"codec": "libvpx", "options": VPX | {"arnr-maxframes": "7"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VPX},
    "vp9.mp4": {"codec": "libvpx-vp9", "options": VPX},
    "vp9.ivf": {"codec": "libvpx-vp9", "options": VPX},
    "av1.mkv": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "raw.mjpeg": {"codec": "mjpeg", "pixel_format": "yuvj420p", "container": "mjpeg"},
    "mpeg4.avi": {"codec": "mpeg4", "options": WITH_B},
    "mpeg4.mp4": {"codec": "mpeg4", "options": WITH_B},
    "raw.m4v": {"codec": "mpeg4", "container": "m4v", "options": WITH_B},
    "animation.gif": {"codec": "gif", "pixel_format": "gray", "rate": 10},
    "animation.apng": {"codec": "apng", "pixel_format": "rgb24"},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "ffv1.mkv": {"codec": "ffv1"},
    "png.mov": {"codec": "png", "pixel_format": "rgb24"},
    "windows.wmv": {"codec": "wmv2", "container": "asf", "options": {"b": "2000000"}},
    "sorenson.flv": {"codec": "flv", "options": {"b": "2000000"}},
    "phone.3gp": {"codec": "h263", "size": (144, 176), "options": {"b": "2000000"}},
    "raw.y4m": {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_is_the_one_planned_in_one_segment_and_in_many(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, NUM_FRAMES, **FORMATS[name])
    every_frame = list(range(NUM_FRAMES))
    assert frame_numbers(path) == every_frame
    assert frame_numbers(path, max_frames=5, max_clips=5) == every_frame


@pytest.mark.parametrize("name", FORMATS)
def test_sparse_clips_that_seek_and_skip_get_their_frames(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, NUM_FRAMES, **FORMATS[name])
    spec = ClipSpec(Sampling(2, stride=3), step=19)
    expected = [[0, 3], [19, 22], [38, 41], [57, 57]]
    assert shown_numbers(path, spec) == expected
    assert shown_numbers(path, spec, max_frames=1, max_clips=1) == expected


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_turned_upright(rotation: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, options=X264, rotation=rotation, size=(96, 64))
    assert frame_numbers(path) == [0, 1, 2, 3, 4]


# All eight ways to lay a picture down: turned, mirrored, both.
MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("way", ["own size", "fast", "exact"])
def test_frames_are_shown_as_the_display_matrix_says(
    matrix: tuple[int, int, int, int], way: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.mp4", 5, options=X264, matrix=matrix, size=(96, 64), first_number=0x1234)
    request = {} if way == "own size" else {"preprocessing": WHOLE_FRAME, "exact": way == "exact"}
    (clip,) = decode_clips(path, ClipSpec(Sampling(5, stride=1)), request=request)
    assert not isinstance(clip, VideoError)
    shape = (96, 64) if matrix[0] else (64, 96)
    assert clip.shape == (5, *(shape if way == "own size" else (112, 112)), 3)
    assert [number_of(frame) for frame in clip] == [0x1234 + index for index in range(5)]


@pytest.mark.parametrize(
    ("container", "fields_apart"), [("h264", True), ("mpegts", False), ("mpegts", True), ("matroska", False)]
)
def test_two_field_pictures_are_one_frame(container: str, fields_apart: bool, tmp_path: Path) -> None:
    path = write_fields(tmp_path / "a.bin", 20, container=container, fields_apart=fields_apart)
    assert frame_numbers(path) == list(range(20))
    assert shown_numbers(path, ClipSpec(Sampling(2, stride=2), step=9), max_frames=1) == [[0, 2], [9, 11], [18, 18]]


def test_damage_in_a_bare_stream_of_fields_ends_at_the_next_keyframe(tmp_path: Path) -> None:
    path = write_fields(tmp_path / "a.bin", 40, container="h264", fields_apart=True)
    with av.open(str(path), format="h264") as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    position, size = places[2 * 12]
    data[position + 12 : position + size - 2] = bytes(size - 14)
    path.write_bytes(data)
    shown = shown_numbers(path, ClipSpec(Sampling(1, stride=1)))
    intact = [[number] for number in range(40)]
    damaged = [index for index, (found, expected) in enumerate(zip(shown, intact, strict=True)) if found != expected]
    assert damaged
    assert damaged[0] >= 8
    assert damaged[-1] <= 16  # the keyframe that ends it may be taken along
    assert all(shown[index] == "corrupt_frames" for index in damaged)


def test_the_target_rate_takes_frames_by_their_time(tmp_path: Path) -> None:
    times = [Fraction(t, 10) for t in (0, 1, 5, 6, 7, 13, 14)]
    path = write_video(tmp_path / "a.mkv", 7, options=X264, times=times, time_base=Fraction(1, 1000))
    assert shown_numbers(path, ClipSpec(Sampling(8, fps=5))) == [[0, 1, 1, 3, 4, 4, 4, 6]]


def test_a_size_that_changes_in_the_stream_is_met_by_resizing(tmp_path: Path) -> None:
    joined = tmp_path / "a.h264"
    halves = [
        write_video(tmp_path / f"{first}.h264", 20, options=X264, container="h264", size=size, first_number=first)
        for first, size in ((0, (64, 64)), (20, (96, 128)))
    ]
    joined.write_bytes(b"".join(half.read_bytes() for half in halves))
    spec = ClipSpec(Sampling(5, stride=5))
    assert shown_numbers(joined, spec, request={"preprocessing": WHOLE_FRAME}) == [
        [0, 5, 10, 15, 20],
        [25, 30, 35, 35, 35],
    ]
    # Without resizing, no array can hold frames of both sizes.
    assert shown_numbers(joined, spec) == ["corrupt_frames", [25, 30, 35, 35, 35]]


def test_recordings_joined_byte_by_byte_are_counted_through(tmp_path: Path) -> None:
    halves = [
        write_video(tmp_path / f"{first}.ts", 40, options=X264, first_number=first).read_bytes() for first in (0, 40)
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(halves))
    info, _ = plan(tmp_path / "a.ts")
    numbers = frame_numbers(tmp_path / "a.ts")
    # Where the packets' counters break, libav cannot tell whether the last frame before has all its data.
    assert [number for number in numbers if number != "corrupt_frames"] == [*range(36), *range(40, 80)]
    assert len(numbers) == 80
    assert info.duration_seconds == pytest.approx(80 / 30, rel=0.05)


def test_a_recording_that_starts_between_keyframes_begins_with_the_first_keyframe(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.ts", 40, options=X264)
    with av.open(str(whole)) as container:
        second = [p for p in container.demux(video=0) if p.size][3]
        data = whole.read_bytes()
    (tmp_path / "a.ts").write_bytes(data[: 188 * 3] + data[second.pos :])
    assert frame_numbers(tmp_path / "a.ts") == list(range(12, 40))


def test_the_first_of_two_video_streams_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        streams = []
        for size in (64, 128):
            stream: Any = output.add_stream("libx264", rate=30)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        for index in range(10):
            for first, stream in zip((0, 100), streams, strict=True):
                board = numbered_frame(first + index, (stream.height, stream.width))
                frame = av.VideoFrame.from_ndarray(board, format="gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 30)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    assert plan(path)[0].width == 64
    assert frame_numbers(path) == list(range(10))


def test_one_frame_makes_one_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, options=X264, first_number=7)
    assert shown_numbers(path, ClipSpec(Sampling(4, stride=2))) == [[7, 7, 7, 7]]
    (clip,) = decode_clips(path, ClipSpec(Sampling(4, fps=15)), request={"preprocessing": PREPROCESSING})
    assert not isinstance(clip, VideoError)
    assert clip.shape == (4, 112, 112, 3)


def test_names_that_mean_something_to_libav_are_only_names(tmp_path: Path) -> None:
    names = [b"img%03d.mp4", b"a:b.mp4", b"concat:a.mp4", b"two\nlines.mp4", b"caf\xe9.mp4", b"-i.mp4", b"a|b?c#d.mp4"]
    data = write_video(tmp_path / "plain.mp4", 4, options=X264).read_bytes()
    for name in names:
        path = Path(str(tmp_path)) / name.decode("utf-8", "surrogateescape")
        path.write_bytes(data)
        assert frame_numbers(path) == [0, 1, 2, 3], name


def one_segment(path: Path) -> tuple[Segment, DecodeRequest]:
    _, (segment,) = plan(path)
    return segment, DecodeRequest(str(path), segment)


def test_a_file_that_changed_since_it_was_planned_gives_no_clips(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, options=X264)
    segment, _ = one_segment(path)
    stale = DecodeRequest(str(path), segment, version=(1, 1))
    assert [clip.error and clip.error.kind for clip in decode_segment(stale)] == ["changed"] * 5


def test_a_file_that_is_gone_gives_no_clips(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, options=X264)
    _, request = one_segment(path)
    path.rename(tmp_path / "elsewhere")
    errors = [clip.error for clip in decode_segment(request)]
    assert [(type(error), str(error)) for error in errors] == [(VideoError, "the file does not exist")] * 5


def test_a_fault_of_the_program_is_raised_and_no_clips_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 6, options=X264)
    convert, calls = decode.FrameConverter.convert, iter(range(10))

    def fail_on_the_fourth(self: Any, *arguments: Any) -> Any:
        if next(calls) == 3:
            raise TypeError("a bug")
        return convert(self, *arguments)

    monkeypatch.setattr(decode.FrameConverter, "convert", fail_on_the_fourth)
    _, request = one_segment(path)
    clips = decode_segment(request)
    assert [next(clips).error for _ in range(3)] == [None] * 3
    with pytest.raises(TypeError, match="a bug"):
        next(clips)


def test_a_file_that_changes_while_it_is_decoded_is_not_said_to_be_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 30, options=X264)
    _, request = one_segment(path)
    clips = decode_segment(request)
    first = next(clips)
    with path.open("ab") as file:
        file.write(b"more")
    assert first.error is None
    kinds = [clip.error and type(clip.error) for clip in clips]
    assert len(kinds) == 29


def test_a_file_is_closed_when_decoding_is_left_in_the_middle(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 30, options=X264)
    _, request = one_segment(path)
    clips = decode_segment(request)
    next(clips)
    assert is_open(path)
    clips.close()
    assert not is_open(path)


def is_open(path: Path) -> bool:
    """Tell whether this process holds a file open."""
    return any(file.path == str(path) for file in psutil.Process().open_files())


def test_frames_of_their_own_size_are_what_libav_gives(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, options=X264, size=(48, 80))
    (clip,) = decode_clips(path, ClipSpec(Sampling(3, stride=1)))
    assert not isinstance(clip, VideoError)
    with av.open(str(path)) as container:
        expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(clip, expected)
    assert shown_numbers(path, ONE_BY_ONE) == [[0], [1], [2]]


@pytest.mark.parametrize("when", ["planned", "decoded"])
def test_a_video_that_became_a_link_out_of_its_source_is_unsafe(tmp_path: Path, when: str) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside.ts"
    source.mkdir()
    path = write_video(source / "a.ts", 40)
    status = path.stat()
    info, (segment,) = plan(path)
    path.rename(outside)
    path.symlink_to(outside)
    os.utime(outside, ns=(status.st_atime_ns, status.st_mtime_ns))  # so that it seems to be the same file
    if when == "planned":
        with pytest.raises(VideoError, match="leads out of the source") as caught:
            probe_video(str(path), root=str(source))
        assert caught.value.kind == "unsafe"
        assert probe_video(str(path)).times.num_frames == 40
    else:
        request = DecodeRequest(
            str(path), segment, timing=info.timing, version=(info.size_bytes, info.mtime_ns), root=str(source)
        )
        errors = {clip.error.kind for clip in decode_segment(request) if isinstance(clip.error, VideoError)}
        assert errors == {"unsafe"}
        assert all(clip.error is None for clip in decode_segment(replace(request, root=None)))
