from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.videos import number_of, write_video
from vidcnn.errors import SourceError
from vidcnn.pipelines.thumbnails import Moment, thumbnails


def shown(picture: bytes | None) -> int | None:
    """Return the number of the frame that a picture shows."""
    if picture is None:
        return None
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (48, 48, 3)
    return number_of(pixels.astype(np.uint8))


def test_each_moment_has_the_frame_that_is_on_screen_then(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", 64, rate=8)
    write_video(folder / "b.mp4", 16, rate=8, first_number=100)
    (folder / "empty.mp4").write_bytes(b"")
    moments = [
        Moment("a.mp4", 7.5),
        Moment("b.mp4", 1.0),
        Moment("empty.mp4", 0.5),
        Moment("a.mp4", 0.2),
        Moment("absent.mp4", 1.0),
        Moment("a.mp4", 7.5),
        Moment("a.mp4", 99.0),
    ]
    found = thumbnails(moments, [str(folder)], max_pixels=10**6, size=48)
    assert [shown(picture) for picture in found] == [60, 108, None, 1, None, 60, 63]
    single = [thumbnails([moment], [str(folder)], max_pixels=10**6, size=48)[0] for moment in (moments[0], moments[3])]
    assert single == [found[0], found[3]]
    with pytest.raises(SourceError):
        thumbnails(moments, [str(tmp_path / "nowhere")], max_pixels=10**6)
