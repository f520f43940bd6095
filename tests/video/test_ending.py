"""When the last frame leaves the screen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.video.decoding import frame_numbers
from tests.video.test_decode import X264
from tests.videos import write_video
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.video.container import open_video
from vidcnn.video.ending import DeclaredEnd, declared_end, end_of_last
from vidcnn.video.probe import probe_video

MILLISECOND = Fraction(1, 1000)
VP9 = {"deadline": "realtime", "cpu-used": "8"}
SPARSE: dict[str, dict[str, Any]] = {
    "a.mp4": {"options": X264},
    "a.mkv": {"options": X264},
    "a.webm": {"codec": "libvpx-vp9", "options": VP9},
    "a.ts": {"options": X264},
    "a.flv": {"codec": "flv"},
    "a.wmv": {"codec": "wmv2", "container": "asf"},
    "a.avi": {"codec": "mpeg4"},
    "a.gif": {"codec": "gif", "pixel_format": "gray"},
    "a.nut": {"codec": "mpeg4"},
}


def end(
    times: list[int], own: int, declared: int | None = None, *, is_exact: bool = True, is_shared: bool = False
) -> int:
    return end_of_last(
        np.array(times, np.int64),
        own,
        nominal_gap=Fraction(40),
        time_base=MILLISECOND,
        declared=None if declared is None else DeclaredEnd(declared, is_exact, is_shared),
    )


@pytest.mark.parametrize("name", SPARSE)
def test_two_frames_far_apart_end_with_their_container(name: str, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / name, 2, rate=25, times=[Fraction(0), Fraction(6)], time_base=Fraction(1, 25), **SPARSE[name]
    )
    times = probe_video(str(path)).times
    assert float((times.end - int(times.pts[0])) * times.time_base) == pytest.approx(6.04, abs=0.011)
    assert sum(segment.num_clips for segment in plan_segments(times, ClipSpec(Sampling(1, fps=1)))) == 7


def test_the_frames_own_duration_comes_first() -> None:
    assert end([0, 40, 80], 20) == 100
    assert end([0, 40, 80], 20, 500) == 100
    assert end([0, 40, 80], 5000, 5080) == 5080  # a last picture that stays: its container agrees
    assert end([0, 40, 80], 5000) == 120  # out of all proportion, and nothing confirms it
    assert end([0], 5000) == 5000


def test_a_last_frame_stays_for_a_minute_for_each_frame_of_its_video() -> None:
    assert end([0], 10**9) == 60_000
    assert end([0], 10**9, 10**9) == 60_000
    assert end([0, 40, 80], 10**9, 10**9) == 80 + 3 * 60_000
    assert end([0, 40, 80], 150_000, 150_080) == 150_080
    assert end([0, 10_000_000], 10**9, 10**10) == 10_000_000 + 4 * 10_000_000
    assert end(list(range(0, 40_000, 40)), 7_200_000, 10**8) == 39_960 + 7_200_000  # two hours after 40 seconds


def test_then_comes_the_declared_end_and_then_the_usual_gap() -> None:
    assert end([0, 6000], 0, 6040) == 6040
    assert end([0, 40, 80], 0, 130) == 130
    assert end([0, 40, 80], 0) == 120
    assert end([0, 40, 80], 0, 10**15) == 120  # a header that lies
    assert end([0, 40, 80], 0, 130, is_shared=True) == 120  # the sound may be longer
    assert end([0], 0, 10_000) == 10_000
    assert end([0], 0, 10**9) == 40


def test_nothing_lasts_longer_than_its_container() -> None:
    assert end([0, 6000], 6000, 6040) == 6040
    assert end([0, 40, 80], 40, 90) == 90
    assert end([0, 40, 80], 40, 90, is_exact=False) == 120
    assert end([0, 40, 80], 40, 80) == 120  # when the last frame begins, not when it ends


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True),
    st.integers(0, 10**7),
    st.none() | st.integers(0, 10**8),
    st.booleans(),
)
def test_the_end_is_after_the_last_frame_and_not_beyond_the_declared_one(
    times: list[int], own: int, declared: int | None, is_shared: bool
) -> None:
    found = end(sorted(times), own, declared, is_shared=is_shared)
    assert found > max(times)
    if declared is not None and declared > max(times) and (own or len(times) > 1):
        assert found <= declared
    gap = max(40, int(np.median(np.diff(sorted(times)))) if len(times) > 1 else 0)
    assert found <= max(times) + max(own, 4 * gap, max(times) - min(times), 60_000)


TRAILING = {
    "a.h264": ("libx264", b"\0\0\0\1\x09\xf0"),  # an access unit delimiter
    "b.h264": ("libx264", b"\0\0\0\1\x06\x05\x04abcd\x80"),  # a message
    "c.h264": ("libx264", b"\0\0\0\1\x0a\0\0\0\1\x0b"),  # ends of sequence and stream
    "a.hevc": ("libx265", b"\0\0\0\1\x48\x01\0\0\0\1\x4a\x01"),  # ends of sequence and stream
    "b.hevc": ("libx265", b"\0\0\0\1\x46\x01\x50"),  # an access unit delimiter
    "a.m2v": ("mpeg2video", b"\0\0\1\xb7"),  # the end of the sequence
    "a.gif": ("gif", b"\x21\xfe\x05hello\x00"),  # a comment
    "b.gif": ("gif", b"\x21\xf9\x04\x00\x0a\x00\x00\x00"),  # what describes an image that does not come
}


@pytest.mark.parametrize("name", TRAILING)
def test_what_follows_the_last_frame_is_no_frame(name: str, tmp_path: Path) -> None:
    codec, trailer = TRAILING[name]
    muxer = {"h264": "h264", "hevc": "hevc", "m2v": "mpeg2video", "gif": "gif"}[name.split(".")[1]]
    options = {"x265-params": "log-level=none:pools=none"} if codec == "libx265" else {}
    path = write_video(
        tmp_path / name,
        20,
        codec=codec,
        rate=25,
        pixel_format="gray" if codec == "gif" else "yuv420p",
        container=muxer,
        options=options,
    )
    data = path.read_bytes()
    data = data[:-1] + trailer + data[-1:] if codec == "gif" else data + trailer
    path.write_bytes(data)
    times = probe_video(str(path)).times
    assert times.num_frames == 20
    assert frame_numbers(path) == list(range(20))
    assert float((times.end - int(times.pts[0])) * times.time_base) == pytest.approx(0.8)


def test_raw_streams_have_no_holes(tmp_path: Path) -> None:
    """What libav makes up for MPEG-2 begins at the second place, and leaves places out."""
    path = write_video(tmp_path / "a.m2v", 30, codec="mpeg2video", rate=25, container="mpeg2video", options={"bf": "2"})
    info = probe_video(str(path))
    assert info.timing == "order"
    assert info.times.pts.tolist() == list(range(30))
    assert info.times.end * info.times.time_base == Fraction(30, 25)


def test_containers_that_do_not_declare_their_end_are_known(tmp_path: Path) -> None:
    for name, codec in (("a.ts", "libx264"), ("a.nut", "mpeg4")):
        path = write_video(tmp_path / name, 10, codec=codec)
        with open_video(str(path)) as video:
            assert declared_end(video) is None
    path = write_video(tmp_path / "a.mp4", 10, rate=10)
    with open_video(str(path)) as video:
        declared = declared_end(video)
        assert declared is not None
        assert declared.time * video.stream.time_base == 1
    with av.open(str(path)) as container:
        assert len(container.streams) == 1
        assert not declared.is_shared
