"""Committed videos that are done again because of their errors: which they are, and their rows until they are whole.

The old rows of a video stay in the table until all new ones are there, which then replace them in one commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.predictions.files import read_columns
from vidcnn.predictions.ledger import Entry
from vidcnn.predictions.reading import Opener


class Redo:
    """Videos that are done again, by name."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._waiting: dict[str, tuple[Entry, list[pa.Table]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def begin(self, names: Iterable[str]) -> None:
        """Add videos to do again."""
        self._names.update(names)

    def end(self, names: Iterable[str]) -> None:
        """Forget videos: they were committed."""
        self._names.difference_update(names)

    def add(self, name: str, entry: Entry, rows: pa.Table) -> tuple[bool, tuple[Entry, pa.Table] | None]:
        """Take the rows of a segment.

        Args:
            name: The video's name in the table.
            entry: The segment; of another version or plan than those before, it replaces them.
            rows: All rows of the segment.

        Returns:
            Whether it is new; and the video as a whole, with all its rows, once no segment is missing.
        """
        held, tables = self._waiting.get(name, (None, []))
        if held is not None and not held.is_same_plan(entry):
            held, tables = None, []
        if held is not None and held.segments & entry.segments:
            return False, None
        held = entry if held is None else held.union(entry)
        self._waiting[name] = held, [*tables, rows]
        if not held.is_complete:
            return True, None
        del self._waiting[name]
        return True, (held, pa.concat_tables([*tables, rows]))


def videos_with_errors(open_file: Opener, path: str, kinds: Collection[str] | None) -> set[str]:
    """Return the names of the videos of a file that have error rows.

    Args:
        open_file: Opens files.
        path: The file.
        kinds: Of the errors; None for all.

    Raises:
        OutputError: The file is damaged.
    """
    names: set[str] = set()
    for table in read_columns(open_file, path, ["video", "error_kind"], without=[]):
        found = table["error_kind"]
        wrong = pc.is_valid(found) if kinds is None else pc.is_in(found, pa.array(sorted(kinds), pa.string()))
        names.update(pc.unique(table["video"].filter(wrong)).to_pylist())
    return names
