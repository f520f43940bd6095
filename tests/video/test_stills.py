from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.videos import number_of, write_video
from vidcnn.errors import VideoError
from vidcnn.sources import Listing
from vidcnn.video.cell import Cell
from vidcnn.video.stills import Moment, Still, StillSettings, jpeg, stills_in_cell


def take(root: Path, *moments: tuple[str, float, float], size: int = 192) -> dict[int, Any]:
    listed = {video.name: video for video in Listing([str(root)])}
    asked = [Moment(listed[name], start, end) for name, start, end in moments]
    with Cell() as cell:
        return dict(stills_in_cell(asked, StillSettings(size=size), cell))


def test_the_picture_is_the_middle_of_its_stretch_and_a_bad_video_has_none(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 90, rate=30)
    (tmp_path / "text.mp4").write_text("no video")
    found = take(tmp_path, ("a.mp4", 0.0, 3.0), ("text.mp4", 0.0, 1.0), ("a.mp4", 2.0, 2.2))
    assert abs(number_of(found[0].pixels) - 45) <= 1
    assert abs(number_of(found[2].pixels) - 63) <= 1
    assert isinstance(found[1], VideoError)
    assert found[1].kind == "unreadable"


def test_a_picture_is_upright_and_no_larger_than_it_should_be(tmp_path: Path) -> None:
    write_video(tmp_path / "turned.mp4", 4, size=(64, 256), rotation=90)
    found = take(tmp_path, ("turned.mp4", 0.0, 0.1), size=128)
    assert found[0].pixels.shape == (128, 32, 3)
    assert take(tmp_path, ("turned.mp4", 0.0, 0.1), size=1000)[0].pixels.shape == (256, 64, 3)


def test_a_video_that_changed_since_it_was_listed_has_no_picture(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 4)
    (video,) = Listing([str(tmp_path)])
    os.utime(tmp_path / "a.mp4", (1, 1))
    with Cell() as cell:
        ((_, found),) = stills_in_cell([Moment(video, 0.0, 0.1)], StillSettings(), cell)
    assert found.kind == "changed"


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4), (193, 4, 3)])
def test_what_is_no_picture_is_not_taken_from_a_process(shape: tuple[int, ...]) -> None:
    from vidcnn.video import stills

    assert stills._is_found(Still(np.zeros((4, 192, 3), np.uint8)), StillSettings())
    assert not stills._is_found(Still(np.zeros(shape, np.uint8)), StillSettings())
    assert not stills._is_found("picture", StillSettings())


def test_a_picture_is_jpeg_of_its_colours_in_so_many_bytes() -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[:, :, 0] = 200
    encoded = jpeg(red, max_bytes=10_000)
    assert encoded is not None
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[:, :, ::-1].astype(int) - red).max() < 8
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3)).astype(np.uint8)
    full, less = jpeg(noise, max_bytes=10**6), jpeg(noise, max_bytes=20_000)
    assert full is not None
    assert less is not None
    assert len(less) <= 20_000 < len(full)
    assert jpeg(noise, max_bytes=100) is None
