from __future__ import annotations

import pytest

from tests.predictions.cases import expected_rows, in_order, rows_of, segment
from vidcnn.predictions import buffer as output_buffer
from vidcnn.predictions.buffer import Buffer, commit_is_due
from vidcnn.predictions.ledger import entry_of
from vidcnn.sources.keys import SegmentKey


def is_due(num_rows: int = 1, size_bytes: int = 1, since: float = 0, elapsed: float = 0) -> bool:
    return commit_is_due(num_rows=num_rows, size_bytes=size_bytes, since_commit_seconds=since, elapsed_seconds=elapsed)


@pytest.mark.parametrize(("elapsed", "wait"), [(0, 10), (600, 10), (1000, 10), (6000, 60), (30_000, 300), (10**6, 300)])
def test_the_wait_for_a_commit_grows_with_the_run(elapsed: float, wait: float) -> None:
    assert not is_due(since=wait - 0.1, elapsed=elapsed)
    assert is_due(since=wait, elapsed=elapsed)


def test_much_is_committed_at_once_and_nothing_never() -> None:
    assert is_due(num_rows=output_buffer.COMMIT_ROWS)
    assert is_due(size_bytes=output_buffer.COMMIT_BYTES)
    assert not is_due(num_rows=0, size_bytes=0, since=1e9, elapsed=1e9)


def test_a_run_of_three_days_leaves_about_a_thousand_part_files() -> None:
    num_commits, last_commit = 0, 0
    for now in range(3 * 24 * 3600):
        if is_due(since=now - last_commit, elapsed=now):
            num_commits, last_commit = num_commits + 1, now
    assert 900 < num_commits < 1300


def add(buffer: Buffer, key: SegmentKey) -> None:
    rows = rows_of(key)
    buffer.add(key.video.name, entry_of(key, rows.num_rows), rows)


@pytest.mark.parametrize("compact", [1, 2, 256])
def test_rows_wait_until_another_version_of_their_video_comes(monkeypatch: pytest.MonkeyPatch, compact: int) -> None:
    monkeypatch.setattr(output_buffer, "_COMPACT_TABLES", compact)
    buffer = Buffer()
    keys = [segment("a", 0, 2), segment("b"), segment("a", 1, 2), segment("bad")]
    for key in keys:
        add(buffer, key)
    assert in_order(buffer.rows().to_pylist()) == expected_rows(keys)
    buffer.keep_only("a", entry_of(segment("a", 0, 2), 3))
    buffer.keep_only("new", entry_of(segment("new"), 3))
    assert set(buffer.ledger) == {"a", "b", "bad"}
    assert buffer.num_rows == 10
    buffer.keep_only("a", entry_of(segment("a", 0, 2, version=1), 3))
    assert set(buffer.ledger) == {"b", "bad"}
    assert buffer.num_rows == 4
    assert in_order(buffer.rows().to_pylist()) == expected_rows([segment("b"), segment("bad")])
