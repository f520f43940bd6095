"""Rows that wait to be committed, and when to commit them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.predictions.ledger import Entry, Ledger

COMMIT_ROWS = 128 * 1024
COMMIT_BYTES = 64 * 2**20
_COMPACT_TABLES = 256


def commit_is_due(*, num_rows: int, size_bytes: int, since_commit_seconds: float, elapsed_seconds: float) -> bool:
    """Return whether to commit what is buffered: it is much, or has waited long enough.

    The wait grows with the run, from 10 seconds by a hundredth of the time elapsed to 5 minutes: little is
    lost when a short run is killed, and a run of three days leaves about a thousand part files.

    Args:
        num_rows: Rows buffered.
        size_bytes: Their size in memory.
        since_commit_seconds: Time since the last commit.
        elapsed_seconds: Time since the run began.
    """
    if num_rows >= COMMIT_ROWS or size_bytes >= COMMIT_BYTES:
        return True
    wait_seconds = min(max(10.0, 0.01 * elapsed_seconds), 300.0)
    return num_rows > 0 and since_commit_seconds >= wait_seconds


class Buffer:
    """Rows that wait for the next commit.

    Attributes:
        ledger: The segments whose rows wait.
        num_rows: How many rows wait.
        size_bytes: About how much memory they take.
    """

    def __init__(self) -> None:
        self.ledger: Ledger = {}
        self.num_rows = 0
        self.size_bytes = 0
        self._tables: list[pa.Table] = []
        self._small_tables: list[pa.Table] = []

    def add(self, name: str, entry: Entry, rows: pa.Table) -> None:
        """Take the rows of one segment of a video; its entry must not overlap what is buffered."""
        held = self.ledger.get(name)
        self.ledger[name] = held.union(entry) if held else entry
        self.num_rows += rows.num_rows
        self.size_bytes += rows.nbytes
        self._small_tables.append(rows)
        if len(self._small_tables) >= _COMPACT_TABLES:  # a table of few rows takes far more than their bytes
            self._compact()

    def add_videos(self, ledger: Ledger, rows: pa.Table) -> None:
        """Take all rows of some videos, of which nothing is buffered."""
        assert not ledger.keys() & self.ledger.keys()
        self.ledger |= ledger
        self.num_rows += rows.num_rows
        self.size_bytes += rows.nbytes
        self._tables.append(rows)

    def keep_only(self, name: str, entry: Entry) -> None:
        """Forget a video unless what is buffered of it is of the same version and plan."""
        held = self.ledger.get(name)
        if held is not None and not held.is_same_plan(entry):
            rows = self.rows()
            kept = rows.filter(pc.not_equal(rows["video"], name))
            del self.ledger[name]
            self._tables, self._small_tables = [kept], []
            self.num_rows, self.size_bytes = kept.num_rows, kept.nbytes

    def rows(self) -> pa.Table:
        """Return everything buffered."""
        self._compact()
        return pa.concat_tables(self._tables)

    def _compact(self) -> None:
        if self._small_tables:
            self._tables.append(pa.concat_tables(self._small_tables).combine_chunks())
            self._small_tables = []
