from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vidcnn.video.encode import write_video


def gradient(num_frames: int) -> np.ndarray:
    frames = np.zeros((num_frames, 32, 48, 3), np.uint8)
    frames[..., 0] = np.arange(num_frames)[:, None, None] * 20
    frames[..., 1] = np.arange(48) * 5
    return frames


def test_frames_come_back_in_order_at_their_rate_and_nearly_in_their_colours(tmp_path: Path) -> None:
    frames = gradient(10)
    write_video(tmp_path / "a.mp4", frames, fps=15)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.codec_context.name) == (15, "h264")
        found = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 6


def test_a_video_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises((ValueError, av.FFmpegError)):
        write_video(tmp_path / "a.mp4", np.zeros((2, 31, 47, 3), np.uint8), fps=15)  # no even size
    assert not (tmp_path / "a.mp4").exists()
