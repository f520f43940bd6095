from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.video.test_decode import FORMATS, X264
from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.video import container
from vidcnn.video.probe import probe_video


def test_what_a_video_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 50, rate=25, options=X264, size=(48, 80))
    info = probe_video(str(path))
    assert (info.width, info.height, info.rotation, info.pixel_aspect) == (80, 48, 0, 1)
    assert (info.codec, info.container) == ("h264", "matroska,webm")
    assert info.duration_seconds == pytest.approx(2)
    assert info.frame_rate == pytest.approx(25)
    assert (info.size_bytes, info.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_counterclockwise_and_sizes_are_as_coded(rotation: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, options=X264, size=(48, 80), rotation=rotation)
    info = probe_video(str(path))
    assert info.rotation % 360 == rotation % 360
    assert (info.width, info.height) == (80, 48)


def test_the_shape_of_pixels_is_told(tmp_path: Path) -> None:
    options = X264 | {"x264-params": "sar=4/3"}
    assert probe_video(str(write_video(tmp_path / "a.mp4", 3, options=options))).pixel_aspect == Fraction(4, 3)


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a b.mp4", 3, options=X264)
    assert probe_video(f"file://{tmp_path}/a%20b.mp4").size_bytes == path.stat().st_size


def test_a_video_none_of_whose_frames_can_be_decoded_is_still_described(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, options=X264, size=(48, 80))
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 8
    end = data.find(b"moov") - 4
    data[start:end] = b"\xff" * (end - start)
    path.write_bytes(data)
    info = probe_video(str(path))
    assert (info.width, info.times.num_frames, info.rotation) == (80, 3, 0)


def test_errors_say_what_is_wrong_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    data = write_video(tmp_path / "whole.mp4", 30, options=X264).read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + 100])
    with pytest.raises(VideoError, match="the file was cut off: its 'mdat' box ends at byte") as info:
        probe_video(str(path))
    assert info.value.kind == "truncated"


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith((".mp4", ".mov", ".mkv", ".webm"))])
def test_a_container_that_declares_times_tells_the_same_without_a_look_into_its_frames(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_video(tmp_path / name, 40, **FORMATS[name]))
    asked = []

    def looks(location: str, file: object) -> bool:
        asked.append(location)
        return False

    found = probe_video(path)
    monkeypatch.setattr(container, "_declares_times", looks)
    expected = probe_video(path)
    assert path in asked
    assert (found.times.pts.tolist(), found.times.keyframes.tolist(), found.times.end, found.times.time_base) == (
        expected.times.pts.tolist(), expected.times.keyframes.tolist(), expected.times.end, expected.times.time_base
    )  # fmt: skip
    assert vars(replace(found, times=expected.times)) == vars(expected)
