"""Frames that bring data of kinds that PyAV has no name for."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.decoding import decode_clips
from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.video.side_data import display_matrix

# Exif's tag Orientation, and how the stored samples have to be moved.
ORIENTATIONS = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    6: lambda rgb: np.rot90(rgb, -1),
    8: lambda rgb: np.rot90(rgb, 1),
}


def write_photo(path: Path, orientation: int) -> Path:
    """Write a JPEG as a telephone does: with Exif data, which PyAV cannot name."""
    plain = write_video(path.with_suffix(".mkv"), 1, codec="mjpeg", pixel_format="yuvj420p", size=(64, 96))
    with av.open(str(plain)) as container:
        data = bytes(next(container.demux(video=0)))
    tag = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + struct.pack("<I", 0)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_frame_with_data_of_an_unknown_kind_is_shown_as_it_says(orientation: int, tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.jpg", orientation)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert len(frame.side_data) >= 1
        stored = frame.to_ndarray(format="rgb24")
    (clip,) = decode_clips(path)
    assert not isinstance(clip, VideoError)
    assert np.array_equal(clip[0], ORIENTATIONS[orientation](stored))


def test_a_frame_without_data_has_no_matrix(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1)
    with av.open(str(path)) as container:
        assert display_matrix(next(container.decode(video=0))) is None
    turned = write_video(tmp_path / "b.mp4", 1, rotation=90)
    with av.open(str(turned)) as container:
        frame = next(container.decode(video=0))
        matrix = display_matrix(frame)
        assert matrix is not None
        assert struct.unpack("=9i", matrix)[:2] == (0, -(1 << 16))
