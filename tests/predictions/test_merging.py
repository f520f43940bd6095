from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from tests.predictions import cases
from tests.predictions.cases import SCHEMA, segment
from tests.predictions.test_files import KEYS, write
from vidcnn.errors import OutputError
from vidcnn.predictions import files as prediction_files
from vidcnn.predictions import merging
from vidcnn.predictions.ledger import Entry, Ledger, include
from vidcnn.predictions.merging import Merged, Source, merged_entries, merged_rows


def in_order(ledger: Ledger) -> list[Merged]:
    return [Merged(name, ledger[name]) for name in sorted(ledger)]


@pytest.mark.parametrize("range_bytes", [1, 5_000, 20_000, 10**9])
def test_merging_gives_all_rows_in_order_for_any_size_of_range(
    tmp_path: Path, range_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_files, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(merging, "_MAX_OPEN", 2)
    shuffled = random.Random(1).sample(KEYS, len(KEYS))
    for part in range(4):
        write(tmp_path / f"{part}", shuffled[part::4])
    entries = merged_entries(pa.OSFile, [Source(str(tmp_path / f"{part}"), 1) for part in range(4)])
    tables = list(merged_rows(pa.OSFile, entries, SCHEMA, range_bytes=range_bytes))
    assert [row for table in tables for row in table.to_pylist()] == cases.expected_rows(KEYS)
    assert len(tables) == {1: 10, 5_000: 5, 20_000: 2, 10**9: 1}[range_bytes]


@pytest.mark.parametrize("run_videos", [1, 5, 1000])
def test_what_files_hold_together_does_not_depend_on_how_much_is_sorted_in_memory(
    tmp_path: Path, run_videos: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "RUN_VIDEOS", run_videos)
    monkeypatch.setattr(merging, "_READ_VIDEOS", 2)
    old = [segment("a", 0, 2), segment("b", 0, 2), segment("b", 1, 2), segment("c"), segment("e", 0, 2)]
    write(tmp_path / "old", old)
    write(tmp_path / "one", [segment("a", 1, 2), segment("b", 0, 2), segment("d", 0, 3)])
    write(tmp_path / "two", [segment("c", version=1), segment("d", 2, 3)])
    sources = [Source(str(tmp_path / name), int(name != "old")) for name in ("old", "one", "two")]
    merged = {
        name: (entry.mtime_ns % 10, entry.segments, entry.num_rows, [Path(file).name for file in entry.files])
        for name, entry in merged_entries(pa.OSFile, sources)
    }
    assert merged == {
        "a": (0, 0b11, 6, ["old", "one"]),
        "b": (0, 0b01, 3, ["one"]),
        "c": (1, 0b1, 3, ["two"]),
        "d": (0, 0b101, 6, ["one", "two"]),
        "e": (0, 0b01, 3, ["old"]),
    }


def test_rows_of_files_that_an_entry_does_not_name_are_left_out(tmp_path: Path) -> None:
    old = write(tmp_path / "old", [segment("a"), segment("b")])
    new = write(tmp_path / "new", [segment("a", version=1)])
    (table,) = merged_rows(pa.OSFile, in_order(old | new), SCHEMA)
    assert table.to_pylist() == cases.expected_rows([segment("a", version=1), segment("b")])
    columns = ["video", "clip", "score"]
    (part,) = merged_rows(pa.OSFile, in_order(old | new), SCHEMA, columns=columns)
    assert part.equals(table.select(columns))


def test_merging_notices_rows_that_are_missing(tmp_path: Path) -> None:
    ledger = write(tmp_path / "f", [segment("a"), segment("b")])
    ledger["b"] = Entry(*ledger["b"][:4], num_rows=4, files=ledger["b"].files)
    with pytest.raises(OutputError, match="should contain 7 rows from a to b, but 6 are there") as raised:
        list(merged_rows(pa.OSFile, in_order(ledger), SCHEMA))
    assert "delete" not in raised.value.hint


def test_segments_in_several_files_add_up(tmp_path: Path) -> None:
    ledger: Ledger = {}
    for index in range(3):
        assert not include(ledger, write(tmp_path / f"{index}", [segment("a", index, 3)]))
    paths = [Source(str(tmp_path / f"{index}"), 1) for index in range(3)]
    (merged,) = merged_entries(pa.OSFile, paths)
    assert merged == Merged("a", ledger["a"])
