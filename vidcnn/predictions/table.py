"""A table that somebody wrote, to be read: what it contains of which video, and its rows, in pieces.

What is read is what is committed, as the run that continues the table would find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from vidcnn.errors import OutputError, SourceError
from vidcnn.predictions.committed import Committed
from vidcnn.predictions.merging import Merged, merged_rows
from vidcnn.predictions.output_storage import OutputStorage, look_at, view
from vidcnn.predictions.reading import TableFile
from vidcnn.sources.lists import SCAN
from vidcnn.storage.uris import public_location

_HASH = "backbone_sha256"


class Table:
    """A table of predictions, open to be read. Use it as a context manager.

    Args:
        storage: Where it is; closed with this.

    Attributes:
        schema: The columns.
        settings: What its rows depend on.
        num_videos: Distinct videos.

    Raises:
        SourceError: There is no such table, or it is another kind of table.
        OutputError: A file is damaged, or is not vidcnn's.
    """

    def __init__(self, storage: OutputStorage) -> None:
        self._storage = storage
        self._committed = Committed(storage)
        shown = self.location
        try:
            self._committed.read()
        except OutputError as error:
            raise OutputError(error.message) from error  # what it proposes is for those who write
        files = self._committed.files()
        if not files:
            raise SourceError(f"there is no table '{shown}'", "name what --out of `vidcnn infer` named")
        self.settings: Mapping[str, Any] = _without_columns(self._committed.recorded)
        if self.settings.get("table") == SCAN:
            raise SourceError(f"{shown} is a scan, not a table of predictions")
        with TableFile(storage.open, files[0]) as file:
            self.schema: pa.Schema = file.footer().schema
        self.num_videos = self._committed.count_videos()

    @classmethod
    def open(cls, location: str, *, while_written: bool = False) -> Table:
        """Open a table.

        Args:
            location: A path or a URI, as ``--out`` named it.
            while_written: Whether it may be one that a run writes at this moment; then what is committed by now is
                read, and an error is possible where the run replaces a file meanwhile.

        Raises:
            OutputBusyError: A run writes it.
            SourceError: There is no such table, or it is another kind of table.
            OutputError: A file is damaged, or is not vidcnn's.
        """
        storage = view(location) if while_written else look_at(location)
        try:
            return cls(storage)
        except BaseException:
            storage.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()

    @property
    def location(self) -> str:
        """The table, as messages name it."""
        return public_location(self._storage.out)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all classes, in the order of `probabilities`; empty where the table does not record them."""
        labels = self.settings.get("labels")
        return tuple(map(str, labels)) if isinstance(labels, list) else ()

    @property
    def embedding_size(self) -> int | None:
        """Values of an embedding; None where the table has none."""
        index = self.schema.get_field_index("embedding")
        return None if index < 0 else int(self.schema.field(index).type.list_size)

    def entries(self) -> Iterator[Merged]:
        """Yield what the table contains of each video, by name.

        Raises:
            OutputError: A file is damaged.
        """
        return self._committed.entries()

    def rows(self, entries: Iterable[Merged], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows of some videos, sorted by video and clip; those of a video come together.

        Args:
            entries: Some of what `entries` yields, in that order.
            columns: Which are read, with those that sort the rows; None for all.

        Raises:
            OutputError: A file is damaged.
        """
        return merged_rows(self._storage.open, entries, self.schema, columns=columns)

    def read(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, in pieces and in any order, but always the same one.

        Raises:
            OutputError: A file is damaged.
        """
        return self._committed.read_columns(columns)


def _without_columns(recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings of a table, of several the first that name its backbone, without its columns."""
    chosen = next((settings for settings in recorded if settings.get(_HASH) is not None), recorded[0])
    return {name: value for name, value in chosen.items() if not name.startswith("column ")}
