"""A run that stood still for longer than its lock on object storage lasts, and goes on when another run has worked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from tests.predictions.cases import (
    MODES,
    NEW,
    OLD,
    expected_rows,
    in_order,
    open_output,
    rows_of,
    write,
)
from tests.s3 import Server
from vidcnn.errors import OutputError
from vidcnn.predictions.output import Output
from vidcnn.sources.keys import SegmentKey
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.uris import open_filesystem

WHOLE = [*(key for key in OLD if key.video.name == "c"), *NEW]


def do(output: Output, segments: Iterable[SegmentKey] = NEW) -> None:
    """Do what is not done, with commits in between."""
    for number, key in enumerate(segments):
        if key.index not in output.done_segments(key.video, key.count):
            output.add(key, rows_of(key))
        if number % 3 == 0:
            output.commit()
    output.publish()


class Moment:
    """Lets something happen after a lock was seen to be held, before what it was looked at for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, happen: Callable[[Lease], object]) -> None:
        self.num_left = number
        check = Lease.check

        def check_and_stop(lease: Lease) -> None:
            check(lease)
            self.num_left -= 1
            if self.num_left == 0:
                happen(lease)

        monkeypatch.setattr(Lease, "check", check_and_stop)


def rows_in(s3: Server, name: str) -> list[dict[str, Any]]:
    """Read all rows that a reader finds who knows nothing of vidcnn."""
    storage, _ = open_filesystem(f"s3://bkt{s3.query}")
    paths = [f"bkt/{name}"]
    if not name.endswith(".parquet"):
        paths = [info.path for info in storage.get_file_info(pafs.FileSelector(f"bkt/{name}")) if info.is_file]
    tables = [pq.read_table(path, filesystem=storage, partitioning=None) for path in paths]
    return in_order(row for table in tables for row in table.to_pylist())


def take_over(lease: Lease) -> None:
    """Do to the lock of a run what another one does that finds it dead."""
    lease._store.delete(lease.path)


def wake(s3: Server, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let a run stand still after it has looked at its lock so many times, while another run does all, and more.

    Returns:
        Whether it looked so often.
    """
    out = f"s3://bkt/{name}{s3.query}"
    s3.request("POST", "moto-api/reset")
    s3.request("PUT", "bkt")
    write(out, OLD)

    has_worked = []

    def work_meanwhile(lease: Lease) -> None:
        take_over(lease)
        with open_output(out) as output:
            do(output)
        has_worked.append(True)

    with monkeypatch.context() as patch:
        moment = Moment(patch, number, work_meanwhile)
        with open_output(out) as output:
            try:
                do(output, NEW[:-2])
            except OutputError:
                if not has_worked:
                    raise
    if moment.num_left > 0:
        return False
    assert rows_in(s3, name) == expected_rows(WHOLE), f"after {number} looks at the lock"
    with open_output(out) as output:
        do(output)
    assert rows_in(s3, name) == expected_rows(WHOLE), f"after {number} looks at the lock, and another run"
    return True


@pytest.mark.parametrize(("name", "number"), [("preds", 4), ("preds", 5), ("preds.parquet", 5), ("preds.parquet", 11)])
def test_what_a_woken_run_was_about_to_do_changes_no_row(
    s3: Server, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wake(s3, name, number, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_a_woken_run_changes_no_row_wherever_it_stood_still(
    s3: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 1
    while wake(s3, name, number, monkeypatch):
        number += 1
    assert number > 10
