"""What is left of files that were cut off, overwritten in places, or lost packets on the way."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.video.decoding import decode_clips, frame_numbers, plan
from tests.video.test_decode import WITH_B, X264, X265
from tests.videos import number_of, take_back_priority, write_video
from vidcnn.errors import ERROR_KINDS, VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.video.pixels import UInt8Array

NUM_FRAMES = 60
FILES: dict[str, dict[str, Any]] = {
    "index_last.mp4": {"options": X264},
    "index_first.mp4": {"options": X264, "container_options": {"movflags": "faststart"}},
    "fragmented.mp4": {"options": X264, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "options": X265},
    "a.mkv": {"options": X264},
    "a.ts": {"options": X264},
    "a.avi": {"codec": "mpeg4", "options": {"b": "2000000"}},
    "b.avi": {"options": X264},
    "a.flv": {"options": X264},
    "a.mpg": {"codec": "mpeg2video", "rate": 25, "container": "mpeg", "options": WITH_B},
    "a.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "a.wmv": {"codec": "wmv2", "container": "asf", "options": {"b": "2000000"}},
    "a.h264": {"options": X264, "container": "h264"},
    "a.gif": {"codec": "gif", "pixel_format": "gray", "rate": 10},
}


@pytest.fixture(scope="module", params=FILES)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("damaged") / str(request.param), NUM_FRAMES, **FILES[request.param])


def changed(whole: Path, data: bytes, folder: Path) -> Path:
    path = folder / whole.name
    path.write_bytes(data)
    return path


def outcome(path: Path, **bounds: int) -> list[int | str] | VideoError:
    try:
        return list(frame_numbers(path, **bounds))
    except VideoError as error:
        return error


def libav_shows(path: Path) -> list[int]:
    """Return the numbers on the frames that libav decodes, until it fails."""
    numbers = []
    with av.open(str(path)) as container:
        try:
            for packet in container.demux(video=0):
                numbers += [number_of(frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
        except av.error.FFmpegError:
            numbers += [number_of(f.to_ndarray(format="rgb24")) for f in container.streams.video[0].decode(None)]
    return numbers


def test_a_file_cut_off_anywhere_gives_its_beginning_and_a_reason(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    rng = random.Random(whole.name)
    kinds: Counter[str] = Counter()
    for length in [1, 2, 40, *(rng.randrange(len(data)) for _ in range(12)), len(data) - 1]:
        path = changed(whole, data[:length], tmp_path)
        found = outcome(path)
        if isinstance(found, VideoError):
            assert found.kind in ("truncated", "unreadable", "no_video"), length
            kinds[found.kind] += 1
            continue
        shown = [number for number in found if isinstance(number, int)]
        # What is shown is what libav shows, without a frame that the cut went through.
        libav = libav_shows(path)
        assert shown == libav[: len(shown)], length
        if whole.suffix != ".mpg":  # one broken pack of 2048 bytes holds a whole group of such small frames
            assert len(shown) >= len(libav) - 6, length
        failed = [number for number in found if isinstance(number, str)]
        assert set(failed) <= {"truncated", "corrupt_frames"}
        kinds.update(failed)
    if whole.name.startswith(("index_", "hevc")) or whole.suffix in (".mkv", ".webm", ".avi", ".flv"):
        assert kinds["truncated"] > 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_bytes_are_overwritten_every_clip_comes_once(whole: Path, seed: int, tmp_path: Path) -> None:
    data = whole.read_bytes()
    rng = random.Random(f"{whole.name} {seed}")
    for _ in range(5):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 2, 5, 30])):
            position = rng.randrange(len(broken)) if rng.random() < 0.6 else rng.randrange(min(len(broken), 3000))
            broken[position] = rng.choice([0, 255, broken[position] ^ 1 << rng.randrange(8), rng.randrange(256)])
        found = outcome(changed(whole, bytes(broken), tmp_path), max_frames=20, max_clips=20)
        if isinstance(found, VideoError):
            assert found.kind in ERROR_KINDS
            assert found.kind != "decoder_crash", found.message
        else:
            assert "decoder_crash" not in found


def test_noise_behind_any_beginning_is_no_crash(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    noise = random.Random(0).randbytes(len(data))
    for length in (4, 64, len(data) // 2):
        found = outcome(changed(whole, data[:length] + noise[length:], tmp_path))
        assert isinstance(found, VideoError) or len(found) < 20 * NUM_FRAMES


MOVING = {
    "h264.mp4": ("libx264", X264),
    "h264.ts": ("libx264", X264),
    "mpeg2.ts": ("mpeg2video", WITH_B),
    "mpeg4.avi": ("mpeg4", {"b": "2000000"}),
    "flv1.flv": ("flv", {"b": "2000000"}),
    "av1.mkv": ("libsvtav1", {"preset": "12"}),
}
"""Codecs whose decoders notice damage. libav's for HEVC, VP8, VP9 and WMV hardly ever do: what they make of damaged
data cannot be told from what was recorded."""


def write_moving(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Write blurred noise that drifts, so that damage anywhere shows, and spreads."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (40, 60), np.uint8)
    world = np.kron(small, np.ones((8, 8), np.uint8))
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.gop_size = 20
        stream.options = options
        for index in range(80):
            board = world[index * 2 : index * 2 + 96, index * 3 : index * 3 + 128]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(board), format="gray").reformat(format="yuv420p")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    take_back_priority()
    return path


@pytest.mark.parametrize("name", MOVING)
def test_frames_that_damage_has_reached_are_not_passed_off_as_sound(name: str, tmp_path: Path) -> None:
    path = write_moving(tmp_path / name, *MOVING[name])
    intact = [clip for clip in decode_clips(path) if not isinstance(clip, VideoError)]
    assert len(intact) == 80
    info, _ = plan(path)
    keyframes = [*info.times.keyframes.tolist(), 80] if info.timing == "pts" else [0, 20, 40, 60, 80]
    data = path.read_bytes()
    rng = random.Random(1)
    num_noticed = 0
    for _ in range(12):
        broken = bytearray(data)
        position = rng.randrange(len(data) // 10, len(data) * 9 // 10)
        broken[position : position + 60] = rng.randbytes(60)
        path.write_bytes(broken)
        clips = decode_clips(path)
        if len(clips) != 80:
            continue  # frames are lost from the container: there are no two to compare
        for first, end in pairwise(keyframes):
            noticed = [index for index in range(first, end) if isinstance(clips[index], VideoError)]
            num_noticed += bool(noticed)
            for index in range(noticed[0], end) if noticed else ():
                assert not differ(clips[index], intact[index]), index
    assert num_noticed >= 4


def differ(clip: UInt8Array | VideoError, intact: UInt8Array) -> bool:
    if isinstance(clip, VideoError):
        return False
    return bool(np.abs(clip.astype(np.int16) - intact).mean() > 4)


def test_damage_ends_with_its_group_of_frames(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "a.mp4", "libx264", X264 | {"x264-params": "scenecut=0"})
    intact = decode_clips(path)
    with av.open(str(path)) as container:
        victim = next(p for p in container.demux(video=0) if p.pts == 30 * p.duration)
    data = bytearray(path.read_bytes())
    data[victim.pos + 8 : victim.pos + victim.size] = random.Random(0).randbytes(victim.size - 8)
    path.write_bytes(data)
    clips = decode_clips(path)
    failed = [index for index, clip in enumerate(clips) if isinstance(clip, VideoError)]
    assert 30 in failed
    assert min(failed) >= 20
    assert max(failed) == 39
    for index, (clip, expected) in enumerate(zip(clips, intact, strict=True)):
        if index not in failed:
            assert np.array_equal(clip, expected), index
    # A segment that starts behind the damage does not meet it.
    again = decode_clips(path, ClipSpec(Sampling(1, stride=1)), max_frames=1, max_clips=1)
    assert [i for i, clip in enumerate(again) if isinstance(clip, VideoError)] == failed


def test_lost_transport_packets_cost_the_frames_that_need_them(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "a.ts", "libx265", X265)
    data = path.read_bytes()
    intact = decode_clips(path)
    info, _ = plan(path)
    with av.open(str(path)) as container:
        keyframe = next(p for p in container.demux(video=0) if p.pts == info.times.pts[40])
    assert keyframe.size > 4 * 188
    lost = keyframe.pos + 2 * 188
    path.write_bytes(data[:lost] + data[lost + 188 :])
    clips = decode_clips(path)
    failed = [index for index, clip in enumerate(clips) if isinstance(clip, VideoError)]
    assert set(failed) >= set(range(40, 60))
    assert 35 <= min(failed) < max(failed) == 59  # some before it are predicted from it
    for index, (clip, expected) in enumerate(zip(clips, intact, strict=True)):
        if index not in failed:
            assert np.array_equal(clip, expected), index
