"""What is committed in an output, read from its files themselves.

Each file carries the ledger of the segments whose rows it contains, so there is no second record that could disagree.
What part files contain takes precedence over the single file, unless that was made from them: it counts how often it
was published (its generation), and a part records after which time it was begun.

Lists of some object storage are late: they do not show yet what was written, and show still what was deleted. So a part
that this run wrote is there, listed or not, and one that is listed counts if it can be opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.errors import CONTINUES, OutputError
from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions import section
from vidcnn.predictions.files import read_columns
from vidcnn.predictions.index import Held, Index, hashes
from vidcnn.predictions.ledger import Entry, Ledger
from vidcnn.predictions.merging import Merged, Source, merged_entries
from vidcnn.predictions.output_storage import OutputStorage
from vidcnn.predictions.reading import Footer, Opener, TableFile

_NUM_READERS = 8


class _GoneError(Exception):
    """A file that is listed is not there."""


class _Loaded(NamedTuple):
    footer: Footer
    held: Held


class Committed:
    """What is committed in an output.

    Args:
        storage: The output.

    Attributes:
        published: What the single file contains.
        generation: How often it was published; 0 where there is none.
        parts: What the part files contain.
        conflicts: Names of videos of which they contain different versions or plans, or the same segment.
        recorded: Settings of the files, with the columns; more than one only where they differ.
    """

    def __init__(self, storage: OutputStorage) -> None:
        self._storage = storage
        self.published = Index()
        self.generation = 0
        self.parts = Index()
        self.conflicts: set[str] = set()
        self.recorded: list[dict[str, Any]] = []
        self._covered: frozenset[str] = frozenset()
        self._known: set[str] = set()

    def read(self) -> None:
        """Read the files; parts that a run left which was killed after they were published are deleted.

        Raises:
            OutputError: A file cannot be read, is damaged, or is not vidcnn's.
        """
        parts = self._storage.list_parts()
        final = [self._storage.final_path] if self._storage.final_path and self._storage.has_final() else []
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            found = list(pool.map(self._load_part, parts))
            loaded = [one for one in found if one is not None] + list(pool.map(self._load, final))
        parts = [path for path, one in zip(parts, found, strict=True) if one is not None]
        reserved = {one.held.file for one in found if one is not None and not one.footer.num_videos}
        del found
        footers = [one.footer for one in loaded]
        held = [one.held for one in loaded]
        del loaded
        for footer in footers:
            recorded = footer.settings | column_settings(footer.schema)
            if recorded not in self.recorded:
                self.recorded.append(recorded)
        if final:
            self.published, _ = Index.of([held.pop()], self._named)
            self.generation = footers.pop().generation
        # Parts of a generation that was published are left by a run that was killed when it did that.
        # One that has nothing in it only kept a name, which nobody who does not hold the output now may write.
        is_covered = [
            one.file in reserved or (footer.generation <= self.generation and self.published.covers(one))
            for footer, one in zip(footers, held, strict=True)
        ]
        covered = [one.file for one, is_one in zip(held, is_covered, strict=True) if is_one]
        held = [one for one, is_one in zip(held, is_covered, strict=True) if not is_one]
        self.parts, self.conflicts = Index.of(held, self._named)
        self._known = set(parts).difference(covered)
        if self._storage.is_view:
            self._covered = frozenset(covered)
            return
        for path in covered:
            self._storage.delete(path)

    def read_published(self, parts: list[str]) -> None:
        """Read the single file back, into which parts were just merged, and delete these.

        Raises:
            OutputError: It cannot be read or is damaged; then nothing is deleted.
        """
        final = self._storage.final_path
        assert final is not None
        self.published = self.parts = Index()  # the old one goes before the new one comes
        held = [self._load(final)]
        self.generation = held[0].footer.generation
        self.published, _ = Index.of([held.pop().held], self._named)
        self.parts = Index()
        for path in parts:
            self.delete_part(path)

    def add_part(self, path: str) -> None:
        """Note a part that was written: lists of some object storage show it after a while only."""
        self._known.add(path)

    def delete_part(self, path: str) -> None:
        """Delete a part."""
        self._storage.delete(path)
        self._known.discard(path)

    def check_parts(self) -> None:
        """Check that all parts are known.

        Raises:
            OutputError: One has appeared, whose rows may be in others, too.
        """
        for path in sorted(self._listed_parts() - self._known):
            if self._is_empty(path):
                self._storage.delete(path)  # a run that has lost the output took the name, and went no further
                continue
            raise OutputError(
                f"{path} has appeared, which was not there when this run began: another run wrote it, or the "
                "storage lists late",
                CONTINUES,
            )

    def find(self, name: str, size_bytes: int, mtime_ns: int) -> Entry | None:
        """Return what is committed of a video, as `Index.find` does."""
        if name in self.conflicts:
            return None
        published, parts = (index.find(name, size_bytes, mtime_ns) for index in (self.published, self.parts))
        return ledgers.overlay(published, parts)

    def count_videos(self) -> int:
        """Return how many videos there are."""
        number = len(self.published) + len(self.parts)
        if len(self.published) and len(self.parts):
            number -= len({name for name, _, _ in self._both()})
        return number

    def replaced(self) -> set[str]:
        """Return the names of videos whose rows in the single file give way to those of parts."""
        if not (len(self.published) and len(self.parts)):
            return set()
        return {name for name, held, part in self._both() if not held.fits(part)}

    def files(self) -> list[str]:
        """Return the paths of all files."""
        return [source.path for source in self.sources()]

    def sources(self) -> list[Source]:
        """Return all files as what the single file is merged from."""
        final = self._storage.final_path
        old = [Source(final, 0)] if final and len(self.published) else []
        return [*old, *(Source(path, 1) for path in self.part_paths())]

    def read_columns(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in pieces and in any order, but always the same one.

        Raises:
            OutputError: A file is damaged.
        """
        final = self._storage.final_path
        replaced = self.replaced()
        for path in self.files():
            yield from read_columns(self._storage.open, path, columns, without=replaced if path == final else [])

    def entries(self) -> Iterator[Merged]:
        """Yield what is committed of each video, by name.

        Raises:
            OutputError: A file is damaged.
        """
        return merged_entries(self._storage.open, self.sources())

    def part_paths(self) -> list[str]:
        """Return the paths of the part files."""
        listed = self._listed_parts()
        return sorted(listed if self._storage.is_view else listed | self._known)

    def _listed_parts(self) -> set[str]:
        """Return the parts that are listed, but for those that are deleted."""
        listed = set(self._storage.list_parts()) - self._covered
        return {path for path in listed if path in self._known or self._is_there(path)}

    def _is_there(self, path: str) -> bool:
        try:
            self._storage.open(path).close()
        except FileNotFoundError:
            return False
        except OSError:  # to be told by who reads it
            return True
        return True

    def _is_empty(self, path: str) -> bool:
        with suppress(OutputError), TableFile(self._storage.open, path) as file:
            return not file.footer().num_videos
        return False

    def _both(self) -> Iterator[tuple[str, Entry, Entry]]:
        """Yield what parts contain of videos that are in the single file too, after what that contains."""
        for path in self.part_paths():
            with TableFile(self._storage.open, path) as file:
                for table in file.ledger():
                    for entry in section.entries_of(table):
                        held = self.published.find(*entry[:3])
                        if held is not None:
                            yield entry[0], held, section.loaded(entry, path)

    def _load_part(self, path: str) -> _Loaded | None:
        """Read a part; None where it is listed and not there."""

        def open_it(path: str) -> Any:
            try:
                return self._storage.open(path)
            except FileNotFoundError as error:
                raise _GoneError from error

        try:
            return self._load(path, open_it)
        except _GoneError:
            return None

    def _load(self, path: str, open_it: Opener | None = None) -> _Loaded:
        with TableFile(open_it or self._storage.open, path) as file:
            footer = file.footer()
            return _Loaded(footer, Held.of(path, file.ledger(), footer.num_videos))

    def _named(self, path: str, keys: NDArray[Any]) -> Ledger:
        """Return those entries of a file whose names have some hashes, which are sorted."""
        found: Ledger = {}
        with TableFile(self._storage.open, path) as file:
            for table in file.ledger():
                chosen = np.isin(hashes(table["video"].to_pylist()), keys)
                found |= {
                    entry[0]: section.loaded(entry, path)
                    for entry in section.entries_of(table.filter(pa.array(chosen)))
                }
        return found


def column_settings(schema: pa.Schema) -> dict[str, str]:
    """Describe the columns as settings: they too must be the same in all files of an output."""
    return {f"column {field.name}": str(field.type) for field in schema}
