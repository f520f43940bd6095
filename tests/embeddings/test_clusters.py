from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.embeddings.cases import bad_rows, random_videos, video_rows, write_table
from vidcnn.embeddings import clusters
from vidcnn.embeddings.clips import open_embeddings
from vidcnn.embeddings.clusters import Cluster, find_clusters
from vidcnn.errors import UsageError

SIZE = 6
NUM_KINDS = 3


def three_kinds(seed: int = 0) -> dict[str, object]:
    """Return videos, each of one of three kinds, whose clips point nearly the same way."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(12):
        kind = number % NUM_KINDS
        values = np.eye(SIZE)[kind] * rng.uniform(1, 5, (5 + 5 * kind, 1)) + rng.normal(0, 0.05, (5 + 5 * kind, SIZE))
        name = f"kind{kind}_{number}.mp4"
        made[name] = video_rows(name, values.astype(np.float16), label=kind)
    return {**made, "empty.mp4": bad_rows("empty.mp4", SIZE)}


def found(out: Path, num: int, **options: int) -> list[Cluster]:
    with open_embeddings(str(out)) as table:
        return find_clusters(table, num, **options)


@pytest.mark.parametrize("sample_rows", [10_000, 24])
def test_kinds_are_found_with_their_labels_and_typical_clips(
    tmp_path: Path, sample_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "SAMPLE_ROWS", sample_rows)
    monkeypatch.setattr(clusters, "PIECE_ROWS", 7)
    out = write_table(tmp_path / "preds.parquet", three_kinds())  # type: ignore[arg-type]
    groups = found(out, NUM_KINDS, seed=3)
    assert [group.num_clips for group in groups] == [60, 40, 20]
    assert [group.labels for group in groups] == [(("fall", 1.0),), (("jump", 1.0),), (("run", 1.0),)]
    assert sum(group.share for group in groups) == pytest.approx(1)
    for group, kind in zip(groups, (2, 1, 0), strict=True):
        assert group.similarity > 0.98
        assert len(group.typical) == len({clip.video for clip in group.typical}) == 3
        assert all(clip.video.startswith(f"kind{kind}_") for clip in group.typical)
        similarities = [clip.similarity for clip in group.typical]
        assert similarities == sorted(similarities, reverse=True)
        assert similarities[-1] >= group.similarity


def test_typical_clips_are_the_nearest_of_their_videos(tmp_path: Path) -> None:
    out = write_table(tmp_path / "preds.parquet", random_videos(5, num=9))
    (group,) = found(out, 1, num_typical=4)
    (everything,) = found(out, 1, num_typical=1000)
    assert len(everything.typical) == 9
    assert group.typical == everything.typical[:4]


def test_a_seed_gives_the_same_clusters_however_the_table_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "SAMPLE_ROWS", 16)
    videos = random_videos(1, num=12)
    one = write_table(tmp_path / "one.parquet", videos)
    first = found(one, 4, seed=1)
    assert found(one, 4, seed=1) == first
    monkeypatch.setattr(clusters, "PIECE_ROWS", 5)
    cut = found(one, 4, seed=1)
    assert [(group.num_clips, group.typical[0].video) for group in cut] == [
        (group.num_clips, group.typical[0].video) for group in first
    ]
    assert any(
        [group.num_clips for group in found(one, 4, seed=seed)] != [group.num_clips for group in first]
        for seed in range(2, 8)
    )


def test_where_all_is_alike_there_are_fewer_clusters_and_never_more_than_clips(tmp_path: Path) -> None:
    same = {"a.mp4": video_rows("a.mp4", np.ones((8, 2), np.float16))}
    groups = found(write_table(tmp_path / "same.parquet", same), 5)
    assert [group.num_clips for group in groups] == [8]
    with pytest.raises(UsageError, match="9 clusters of 8 clips"):
        found(tmp_path / "same.parquet", 9)
    nothing = write_table(tmp_path / "bad.parquet", {"a.mp4": bad_rows("a.mp4", 2)})
    with pytest.raises(UsageError, match="1 clusters of 0 clips"):
        found(nothing, 1)
