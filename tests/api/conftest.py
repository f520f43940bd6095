"""A few videos, one of them bad, and a small model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.videos import write_video


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    for index in range(3):
        write_video(folder / f"{index}.mp4", 60 + 20 * index, first_number=97 * index)
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder
