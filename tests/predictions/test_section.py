from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits import within
from tests.predictions.test_ledger import entries, names
from vidcnn.predictions import section
from vidcnn.predictions.ledger import Entry
from vidcnn.predictions.section import LedgerLocation, LedgerWriter, entries_of, loaded, open_ledger
from vidcnn.sources.keys import video_text


def stored_bytes(ledger: dict[str, Entry], before: bytes = b"") -> tuple[bytes, LedgerLocation]:
    sink = io.BytesIO()
    sink.write(before)
    with LedgerWriter.of(ledger) as writer:
        place = writer.copy_to(sink)
    sink.write(b"after")
    return sink.getvalue(), place


def read(content: bytes, place: LedgerLocation) -> dict[str, Entry]:
    with open_ledger(pa.BufferReader(content), place) as ledger:
        return {entry[0]: loaded(entry, "here") for entry in entries_of(ledger.read())}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names.map(video_text), entries, max_size=8), st.binary(max_size=9), st.booleans())
def test_a_ledger_is_read_as_it_was_written(ledger: dict[str, Entry], before: bytes, small: bool) -> None:
    content, place = stored_bytes(ledger, before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(section, "_WHOLE_BYTES", 2**20 if small else 0)
        assert read(content, LedgerLocation.decode(place.encode().encode())) == ledger
    assert (place.num_videos, place.num_rows) == (len(ledger), sum(entry.num_rows for entry in ledger.values()))


def test_the_ledger_of_finished_videos_takes_some_ten_bytes_for_each() -> None:
    ledger = {
        f"camera-{i // 60}/2026-01-{i % 31:02}/clip_{i:06}.mp4": Entry(
            10**6 + i * 7919 % 10**6, 1_700_000_000_000_000_000 + i * 7_919_000_000_007, 1, 1, 20
        )
        for i in range(10_000)
    }
    assert stored_bytes(ledger)[1].length < 150_000


def test_a_ledger_is_read_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "GROUP_VIDEOS", 10)
    content, place = stored_bytes({f"{i:03}": Entry(1, 1, 1, 1, 1, ("here",)) for i in range(95)})
    with open_ledger(pa.BufferReader(content), place) as ledger:
        assert [ledger.read_row_group(group).num_rows for group in range(ledger.num_row_groups)] == [10] * 9 + [5]


@pytest.mark.parametrize("whole_bytes", [0, 2**20])
def test_a_ledger_that_is_cut_or_changed_is_noticed(whole_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "_WHOLE_BYTES", whole_bytes)
    ledger = {f"{i:03}": Entry(i, 1, 1, 1, 1, ("here",)) for i in range(95)}
    content, place = stored_bytes(ledger, b"before")
    cut = pa.BufferReader(content[: place.offset + place.length - 1])
    with pytest.raises(OSError, match=r"of .* bytes came"):
        open_ledger(cut, place).read()
    num_noticed = 0
    for position in range(place.offset, place.offset + place.length, 7):
        changed = bytearray(content)
        changed[position] ^= 0x10
        try:
            assert read(bytes(changed), place) == ledger
        except (OSError, pa.ArrowException, ValueError):
            num_noticed += 1
    assert num_noticed > 50


@pytest.mark.parametrize("text", ["[]", "3", '{"offset": 1}', '{"offset": "x"}', "nothing"])
def test_what_is_no_place_of_a_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the place of a ledger"):
        LedgerLocation.decode(text.encode())


def test_files_of_predictions_leave_no_spool_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stored_bytes({})
    assert list(tmp_path.iterdir()) == []


NO_PLACES = (b"-1", b"9223372036854775808", b"9" * 5000, b"Infinity", b"NaN", b"1e300")


@pytest.mark.parametrize(
    "text",
    [b'{"offset": %b, "length": 1, "num_videos": 1, "num_rows": 1}' % number for number in NO_PLACES]
    + [b"[" * 100_000],
    ids=range(7),
)
def test_a_place_that_no_file_has_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not the place of a ledger"):
        LedgerLocation.decode(text)


@pytest.mark.parametrize(
    ("count", "held"), [(10**15, None), (0, None), (4, "[[0, 1000000000000]]"), (4, "[" * 100_000), (4, "7"), (4, "{")]
)
def test_an_entry_that_nothing_can_have_written_is_refused(count: int, held: str | None) -> None:
    section.checked(section.table_of([("a", 1, 1, 4, "[[0, 2]]", 2), ("b", 1, 1, 4, None, 2)]))
    with within(20), pytest.raises(ValueError, match=r"segments|plan|Expecting"):
        section.checked(section.table_of([("a", 1, 1, 4, None, 2), ("b", 1, 1, count, held, 2)]))
