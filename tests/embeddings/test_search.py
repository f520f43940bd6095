from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embeddings.cases import random_videos, video_rows, write_table
from vidcnn.embeddings import clips, search
from vidcnn.embeddings.clips import Clip, ClipName, clip_of, find_clip, open_embeddings, unit_rows
from vidcnn.embeddings.search import find_similar
from vidcnn.predictions import merging


def by_hand(rows: pa.Table, direction: np.ndarray, num: int, without: Clip | None) -> list[tuple[str, int]]:
    """Return what is to be found: all clips by their cosine, each unless it overlaps one before."""
    indexes, directions = unit_rows(rows)
    order = sorted(
        zip(-(directions @ direction), rows["video"].take(pa.array(indexes)).to_pylist(), indexes, strict=True)
    )
    taken = [] if without is None else [without]
    found: list[Clip] = []
    for similarity, _, index in order:
        clip = clip_of(rows, int(index), -similarity)
        if not any(clip.overlaps(other) for other in taken):
            taken.append(clip)
            found.append(clip)
    return [(clip.video, clip.clip) for clip in found[:num]]


@pytest.mark.parametrize("name", ["preds", "preds.parquet"])
@pytest.mark.parametrize("num", [1, 4, 1000])
def test_the_search_is_exact_in_pieces_of_any_size(
    tmp_path: Path, name: str, num: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = random_videos(num)
    out = write_table(tmp_path / name, videos)
    monkeypatch.setattr(merging, "RANGE_BYTES", 9 * 416)  # some nine rows at once
    monkeypatch.setattr(search, "PIECE_ROWS", 4)
    with open_embeddings(str(out)) as table:
        clip, direction = find_clip(table, ClipName.of("v2.mp4#0"))
        found = find_similar(table, direction, num, clip)
        everywhere = find_similar(table, direction, num)
    rows = pa.concat_tables([videos[name] for name in sorted(videos)])
    assert [(one.video, one.clip) for one in found] == by_hand(rows, direction, num, clip)
    assert [(one.video, one.clip) for one in everywhere] == by_hand(rows, direction, num, None)
    assert everywhere[0].video == "v2.mp4"
    assert everywhere[0].similarity == pytest.approx(1, abs=1e-6)
    similarities = [one.similarity for one in found]
    assert similarities == sorted(similarities, reverse=True)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 5), st.floats(0.1, 3))
def test_of_clips_that_share_a_moment_the_best_is_found(cosines: list[int], num: int, length: float) -> None:
    values = np.array([[np.cos(number), np.sin(number)] for number in cosines], np.float16)
    rows = video_rows("a.mp4", values, step=1.0, length=length)
    direction = np.array([1, 0], np.float32)
    found = list(search._moments(rows, direction, num, -np.inf, None))
    assert [(clip.video, clip.clip) for clip in found] == by_hand(rows, direction, num, None)


def test_no_clip_that_shares_a_moment_with_the_one_that_is_looked_for_is_found(tmp_path: Path) -> None:
    same = np.ones((6, 2), np.float16)
    out = write_table(tmp_path / "preds.parquet", {"a.mp4": video_rows("a.mp4", same, step=0.5, length=1.0)})
    with open_embeddings(str(out)) as table:
        clip, direction = find_clip(table, ClipName.of("a.mp4#2"))
        assert [one.clip for one in find_similar(table, direction, 10, clip)] == [0, 4]
    assert clips.PIECE_ROWS > 1000
