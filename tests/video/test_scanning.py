"""What is found out about a video is what is in it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.scans import write_scenes
from tests.video.test_encryption import KEY
from tests.videos import write_video
from vidcnn.errors import StorageError, VideoError
from vidcnn.sources import Listing, SourceVideo
from vidcnn.video import files
from vidcnn.video.scanning import Found, ScanSettings, VideoScan, scan_each

ALL = ScanSettings(sample_seconds=1.0, hashes=True, image_fps=25.0, max_pixels=2**26)
QUICK = replace(ALL, sample_seconds=None, hashes=False)
X264 = {"preset": "ultrafast"}


def listed(path: Path) -> SourceVideo:
    (video,) = Listing([str(path)])
    return video


def scan(path: Path, settings: ScanSettings = ALL) -> Found:
    (found,) = [one for some in scan_each([listed(path)], settings, 1) for one in some]
    return found


def facts(path: Path, settings: ScanSettings = ALL) -> dict[str, Any]:
    found = scan(path, settings)
    assert isinstance(found, VideoScan)
    assert found.error is None
    return found.facts


def test_headers_and_packets_show_format_size_and_pace(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60, rate=30, size=(48, 64), rotation=90, options=X264)
    found = facts(path, QUICK)
    assert found == {
        "container": "matroska",
        "video_codec": "h264",
        "width": 48,
        "height": 64,
        "pixel_format": "yuv420p",
        "bit_depth": 8,
        "is_hdr": False,
        "num_audio_streams": 0,
        "duration_seconds": 2.0,
        "num_frames": 60,
        "frame_rate": 30.0,
        "is_variable_rate": False,
        "num_gaps": 0,
        "longest_gap_seconds": 0.0,
        "num_keyframes": 5,
        "longest_keyframe_seconds": pytest.approx(0.4),
        "readable": True,
    }


def test_frames_show_black_and_frozen_stretches(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", ("moving", 2), ("black", 3), ("moving", 2), ("frozen", 4), ("moving", 1.5))
    found = facts(path)
    assert found["black"] == [(2.0, 5.0)]
    assert found["black_seconds"] == 3.0
    assert found["frozen"] == [(7.0, 11.0)]
    assert found["frozen_seconds"] == 4.0
    assert (found["num_samples"], found["num_damaged"]) == (13, 0)
    assert len(found["perceptual_hash"]) == 64
    assert found["content_hash"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["container"] == "mp4"


def test_more_samples_show_shorter_stretches(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", ("moving", 0.5), ("black", 0.5), ("moving", 0.5))
    assert facts(path)["black"] == []
    assert facts(path, replace(ALL, sample_seconds=0.1))["black"] == [(pytest.approx(0.5), pytest.approx(1.0))]


def test_a_stretch_ends_with_the_video(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", ("moving", 1), ("black", 2.5))
    assert facts(path)["black"] == [(1.0, 3.5)]


def test_a_part_that_was_not_recorded_is_a_gap(tmp_path: Path) -> None:
    found = facts(write_scenes(tmp_path / "a.mp4", ("moving", 9), left_out=(3.0, 6.0)))
    assert (found["num_gaps"], found["longest_gap_seconds"]) == (1, pytest.approx(3.1))
    assert not found["is_variable_rate"]


def test_a_variable_rate_is_seen(tmp_path: Path) -> None:
    times = [Fraction(index * index, 400) for index in range(40)]
    found = facts(write_video(tmp_path / "a.mkv", 40, times=times, time_base=Fraction(1, 1000), options=X264))
    assert found["is_variable_rate"]


def test_raw_streams_have_no_times_to_judge(tmp_path: Path) -> None:
    found = facts(write_video(tmp_path / "a.h264", 30, container="h264", options=X264))
    assert found["num_frames"] == 30
    assert not {"is_variable_rate", "num_gaps", "num_keyframes"} & found.keys()


def test_a_file_that_was_cut_off_is_readable_and_truncated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", 300, container_options={"movflags": "faststart"}, options=X264)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    for settings in (ALL, QUICK):
        found = scan(path, settings)
        assert isinstance(found, VideoScan)
        assert found.error is not None
        assert found.error.kind == "truncated"
        assert found.facts["readable"]
        assert found.facts["num_frames"] == 300
    assert scan(path).facts["num_damaged"] > 0  # type: ignore[union-attr]


def test_text_is_no_video_and_an_encrypted_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    found = scan(tmp_path / "text.mp4")
    assert isinstance(found, VideoError)
    assert found.kind == "unreadable"
    secret = write_video(tmp_path / "a.mp4", 30, options=X264, container_options=KEY)
    found = scan(secret)
    assert isinstance(found, VideoError)
    assert "encrypted" in found.message


def test_a_file_that_was_listed_as_another_has_changed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10, options=X264)
    video = replace(listed(path), size_bytes=17)
    for settings in (ALL, QUICK, replace(ALL, probes=False, sample_seconds=None)):
        ((found,),) = scan_each([video], settings, 1)
        assert isinstance(found, VideoError)
        assert found.kind == "changed"


def test_a_folder_of_images_is_one_video(tmp_path: Path) -> None:
    for index in range(4):
        write_video(
            tmp_path / f"{index:02}.png", 1, codec="png", pixel_format="rgb24", container="image2", first_number=index
        )
    found = facts(tmp_path)
    assert (found["container"], found["num_frames"], found["width"]) == ("images", 4, 64)
    content = b"".join((tmp_path / f"{index:02}.png").read_bytes() for index in range(4))
    assert found["content_hash"] == hashlib.sha256(content).hexdigest()


def test_a_storage_that_fails_is_no_fault_of_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 10, options=X264)

    class Failing(files.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, os.strerror(5))

    monkeypatch.setattr(files, "FileIO", Failing)
    assert isinstance(scan(path), StorageError)


def test_videos_come_in_their_order_with_signs_of_headway_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [listed(write_scenes(tmp_path / f"{index}.mp4", ("moving", 1 + index))) for index in range(3)]
    monkeypatch.setattr("vidcnn.video.scanning._HEADWAY_SECONDS", 0.0)
    steps = list(scan_each(videos, ALL, 1))
    assert [] in steps
    found = [one for some in steps for one in some]
    assert [one.facts["num_samples"] for one in found] == [1, 2, 3]  # type: ignore[union-attr]
    assert [one.facts["num_frames"] for some in scan_each(videos, QUICK, 4) for one in some] == [10, 20, 30]  # type: ignore[union-attr]
