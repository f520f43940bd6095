from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vidcnn.pipelines import pending
from vidcnn.pipelines.stages import unpack_videos
from vidcnn.sources import SourceVideo


def videos(number: int) -> list[SourceVideo]:
    return [SourceVideo(f"{index}.mp4", f"/{index}.mp4", False, 10 + index, 0, None, None) for index in range(number)]


@pytest.mark.parametrize("number", [0, 1, 3, 9, 10, 11, 500, 3000])
def test_every_video_that_is_left_is_in_one_table_and_tables_stay_few(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_PACKED_VIDEOS", 10)
    monkeypatch.setattr(pending, "_MAX_BLOCK_VIDEOS", 16)
    monkeypatch.setattr(pending, "_MAX_BLOCKS", 100)
    output: Any = SimpleNamespace(is_done=lambda key: key.name.startswith("1"), partly_done=lambda key: None)
    listing: Any = videos(number)
    found = pending.list_pending(listing, output, None, 0.0)
    left = [video for video in videos(number) if not video.name.startswith("1")]
    assert [video for table in found.videos for video in unpack_videos(table)] == left
    assert (found.num_listed, found.num_videos) == (number, len(left))
    assert found.size_bytes == sum(video.size_bytes for video in left)
    assert set(found.sample) <= set(left)
    assert bool(found.sample) == bool(left)
    assert len(found.videos) <= max(2 * 64, 100)
