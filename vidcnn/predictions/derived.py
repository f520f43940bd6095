"""A table whose rows are made of those of another table, video by video: with the same accounting.

Each video has the version, the plan and the segments that it has in the table that it is made from. So what is done is
read from what is committed, as everywhere: a video is done where both tables contain the same of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.predictions.ledger import Ledger
from vidcnn.predictions.merging import Merged
from vidcnn.predictions.output import Output

ERROR_COLUMNS = ["video", "clip", "error"]
"""What `error_digests` takes."""
_DIGEST_BYTES = 16


class DerivedOutput(Output):
    """A predictions table being written from another one; the only writer of its files."""

    def undone(self, entries: Iterable[Merged], changed: Collection[str]) -> Iterator[Merged]:
        """Yield what is to do.

        Args:
            entries: What the other table contains, by name.
            changed: Videos whose rows there are others than when they were done here.
        """
        for video, entry in entries:
            held = self._committed.find(video, entry.size_bytes, entry.mtime_ns)
            is_same = held is not None and held.is_same_plan(entry) and held.segments == entry.segments
            if not is_same or video in changed:
                yield Merged(video, entry)

    def add_videos(self, ledger: Ledger, rows: pa.Table) -> None:
        """Buffer the rows of some videos, which replace all that the output contains of them.

        Args:
            ledger: What the rows are of; none of it is buffered yet.
            rows: All of them, with the columns of the output.

        Raises:
            ValueError: The rows have other columns, or are not as many as the ledger lists.
        """
        num_rows = sum(entry.num_rows for entry in ledger.values())
        if not rows.schema.equals(self._schema) or rows.num_rows != num_rows:
            raise ValueError(f"{rows.num_rows} rows of {rows.schema.names} for {num_rows} of {self._schema.names}")
        self._buffer.add_videos(ledger, rows)


def error_digests(tables: Iterable[pa.Table]) -> dict[str, bytes]:
    """Return a hash of the error rows of each video that has any.

    Args:
        tables: Pieces of a table with `ERROR_COLUMNS`, in any order.
    """
    found: dict[str, int] = {}
    for table in tables:
        errors = table.filter(pc.is_valid(table["error"]))
        for video, clip, error in zip(*(errors[name].to_pylist() for name in ERROR_COLUMNS), strict=True):
            own = blake2b(f"{clip}\0{error}".encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
            found[video] = found.get(video, 0) ^ int.from_bytes(own)
    return {video: digest.to_bytes(_DIGEST_BYTES) for video, digest in found.items()}


def with_other_errors(here: dict[str, bytes], there: dict[str, bytes]) -> set[str]:
    """Return the videos whose error rows differ between two tables, by what `error_digests` returned of each."""
    return {video for video in here.keys() | there.keys() if here.get(video) != there.get(video)}
