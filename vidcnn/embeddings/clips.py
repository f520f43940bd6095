"""Clips of a table: how users name one, where it is found, and the directions of embeddings.

Letters: N rows, E values of an embedding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidcnn.errors import SourceError, UsageError
from vidcnn.predictions.table import Table
from vidcnn.sources.names import shown_name

COLUMNS = ["video", "clip", "start_seconds", "end_seconds", "label", "score", "embedding"]
"""What is read of a table."""
PIECE_ROWS = 16 * 1024
"""Rows that are computed at once."""

_NAME = re.compile(r"(?s)(?P<video>.+)(?:#(?P<clip>\d{1,9})|@(?P<seconds>\d{1,9}(?:\.\d{0,9})?))")

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """A clip that has an embedding.

    Attributes:
        video: Name of the video, as the table has it.
        clip: Index of the clip in its video.
        start_seconds: Presentation time where it starts.
        end_seconds: Presentation time up to which it reaches: ``[start, end)``.
        label: Its best class.
        score: The probability of that.
        similarity: Cosine to what was looked for, in [-1, 1].
    """

    video: str
    clip: int
    start_seconds: float
    end_seconds: float
    label: str | None
    score: float | None
    similarity: float

    def overlaps(self, other: Clip) -> bool:
        """Return whether two clips share a moment of one video."""
        return (
            self.video == other.video
            and self.start_seconds < other.end_seconds
            and other.start_seconds < self.end_seconds
        )


@dataclass(frozen=True)
class ClipName:
    """What a user calls a clip.

    Attributes:
        video: Name of the video.
        clip: Index of the clip; None where a time is given.
        seconds: A time in the clip; None where the index is given.
    """

    video: str
    clip: int | None
    seconds: float | None

    @classmethod
    def of(cls, text: str) -> ClipName:
        """Read ``VIDEO#INDEX`` or ``VIDEO@SECONDS``.

        Raises:
            UsageError: It is neither.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise UsageError(
                f"'{shown_name(text)}' names no clip",
                "write VIDEO#INDEX, such as cam1/a.mp4#3, or VIDEO@SECONDS, such as cam1/a.mp4@12.5",
            )
        clip, seconds = found["clip"], found["seconds"]
        return cls(found["video"], None if clip is None else int(clip), None if seconds is None else float(seconds))


def open_embeddings(location: str) -> Table:
    """Open a table that has embeddings, also while a run writes it.

    Raises:
        SourceError: There is no such table, or it has no embeddings.
        OutputError: It is damaged, or is not vidcnn's.
    """
    table = Table.open(location, while_written=True)
    if table.embedding_size is None:
        table.__exit__(None, None, None)
        raise SourceError(f"{location} has no embeddings", "vidcnn infer writes them with --embedding")
    return table


def find_clip(table: Table, name: ClipName) -> tuple[Clip, FloatArray]:
    """Return a clip of a table, and the direction of its embedding, float32 (E,).

    Of several clips at a time, it is the one whose middle is next to it.

    Raises:
        SourceError: The table has no such video, or no such clip, or no embedding of it.
    """
    entries = [merged for merged in table.entries() if merged.video == name.video]
    if not entries:
        raise SourceError(f"the table has no video '{shown_name(name.video)}'", "names are those of its column video")
    rows = pa.concat_tables(table.rows(entries, COLUMNS))
    if name.clip is not None:
        rows = rows.filter(pc.equal(rows["clip"], name.clip))
        wanted = f"clip {name.clip}"
    else:
        at = name.seconds
        rows = rows.filter(pc.and_(pc.less_equal(rows["start_seconds"], at), pc.greater(rows["end_seconds"], at)))
        wanted = f"clip at {at:g} s"
    if not rows.num_rows:
        raise SourceError(f"'{shown_name(name.video)}' has no {wanted} in the table")
    indexes, directions = unit_rows(rows)
    if not len(indexes):
        raise SourceError(f"{wanted} of '{shown_name(name.video)}' has no embedding", "its row is an error")
    place = 0
    if name.seconds is not None:
        starts, ends = (rows[column].to_numpy()[indexes] for column in ("start_seconds", "end_seconds"))
        place = int(np.argmin(np.abs((starts + ends) / 2 - name.seconds)))
    return clip_of(rows, int(indexes[place]), 1.0), directions[place]


def unit_rows(rows: pa.Table) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the directions of embeddings.

    Args:
        rows: Rows with a column `embedding`.

    Returns:
        The indexes of the rows that have one that is finite and not zero, int64 (N,), and embeddings of length 1,
        float32 (N, E).
    """
    width = rows.schema.field("embedding").type.list_size
    indexes = np.flatnonzero(pc.is_valid(rows["embedding"]).to_numpy())
    flat = pc.list_flatten(rows["embedding"].drop_null().combine_chunks())
    values = flat.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)  # (N, E)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(np.einsum("ne,ne->n", values, values))
    usable = np.isfinite(lengths) & (lengths > 0)
    return indexes[usable], values[usable] / lengths[usable, None]


def clip_of(rows: pa.Table, index: int, similarity: float) -> Clip:
    """Return a row as a `Clip`."""
    (row,) = rows.slice(index, 1).select(COLUMNS[:-1]).to_pylist()
    values: dict[str, Any] = row
    return Clip(**values, similarity=float(similarity))
