"""What becomes of a table where the power fails at any step, and all that was not synchronised may be lost."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.power import WHIMS, Recorder, Whim
from tests.predictions import cases
from tests.predictions.cases import CLIPS_PER_SEGMENT, hidden, open_output, rows_of, segment, visible_rows, write

KEYS = [segment(name, index, 2) for name in ("a", "b", "c", "d") for index in (0, 1)] + [segment("bad-0")]


def record(recorder: Recorder, out: Path) -> None:
    """Commit and publish in a folder that is made for it, and note what is promised, and when."""
    with recorder.recording():
        for number, keys in enumerate((KEYS[:3], KEYS[3:6], KEYS[6:])):
            with open_output(out) as table:
                for key in keys:
                    table.add(key, rows_of(key))
                    table.commit()
                    recorder.note(key)
                if number:
                    table.publish()


def committed_rows(out: Path) -> list[dict[str, object]]:
    """Read the table and the parts that are not in it yet, each row once, as the next run does."""
    rows = visible_rows(out)
    if out.suffix and hidden(out).is_dir():
        for path in sorted(hidden(out).glob("part-*.parquet")):
            rows += [row for row in pq.ParquetFile(path).read().to_pylist() if row not in rows]
    return cases.in_order(rows)


@pytest.mark.parametrize("whim", WHIMS)
@pytest.mark.parametrize("name", cases.MODES)
def test_a_power_failure_at_any_step_loses_no_committed_row(tmp_path: Path, name: str, whim: Whim) -> None:
    base = tmp_path / "disk"
    base.mkdir()
    recorder = Recorder(str(base))
    record(recorder, base / "new" / "folder" / name)
    assert len(recorder.events) > 60
    write(tmp_path / "undisturbed" / name, KEYS)
    expected = committed_rows(tmp_path / "undisturbed" / name)
    again = random.Random(name).sample(range(1, len(recorder.events) + 1), 8)
    for number in range(1, len(recorder.events) + 1):
        place = tmp_path / "left"
        recorder.leave(number, whim, place, seed=number)
        out = place / "new" / "folder" / name
        promised = cases.expected_rows(recorder.notes(number))
        found = committed_rows(out)
        assert all(row in found for row in promised), f"{recorder.events[number - 1]!r:.200}"
        assert all(row in expected for row in found)
        if number in again:
            write(out, KEYS)
            assert committed_rows(out) == expected
        shutil.rmtree(place)


def test_rows_that_were_not_synchronised_are_missed_here(tmp_path: Path) -> None:
    """The test above can fail: without any fsync, nothing is left."""
    recorder = Recorder(str(tmp_path))
    with recorder.recording(), open_output(tmp_path / "new" / "preds") as table:
        table.add(KEYS[0], rows_of(KEYS[0]))
        table.commit()
    recorder.events = [event for event in recorder.events if not isinstance(event, str)]
    recorder.leave(len(recorder.events), "keeps nothing", tmp_path / "left")
    assert list((tmp_path / "left").iterdir()) == []
    recorder.leave(len(recorder.events), "keeps all names", tmp_path / "all")
    assert len(visible_rows(tmp_path / "all" / "new" / "preds")) == CLIPS_PER_SEGMENT
