"""From pieces of rows to whole segments.

Pieces arrive in any order, some of them twice, and some never: a decoder dies after a few batches, a batch is scored
again, a segment is decoded again. A segment is whole when one attempt at it has given each of its clips once. Clips of
different attempts never make a segment together: between them, the video or the storage may have changed.

    attempt a   0 1 2 3 . . . .      its decoder died
    attempt b   0 1 . . 4 5 6 7      2 and 3 are on their way
    attempt b         2 3            whole: these rows are committed, and those of attempt a are dropped
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from vidcnn.inference.scoring import SegmentRows
from vidcnn.sources.keys import SegmentKey


def new_clips(delivered: int, clips: Sequence[int]) -> tuple[list[int], int]:
    """Find which of some arriving clips are there for the first time.

    Args:
        delivered: The clips that have come already, as bits: bit *i* is clip *i*.
        clips: Those that arrive now.

    Returns:
        Positions of the new ones in `clips`; and all that have come now.
    """
    places = []
    for place, clip in enumerate(clips):
        if not delivered >> clip & 1:
            delivered |= 1 << clip
            places.append(place)
    return places, delivered


def missing_clips(delivered: int, num_clips: int) -> list[int]:
    """Return which of the clips ``[0, num_clips)`` have not come.

    Args:
        delivered: Those that have, as bits.
        num_clips: How many there must be.
    """
    return [clip for clip in range(num_clips) if not delivered >> clip & 1]


class SegmentCollector:
    """Puts the pieces of segments together."""

    def __init__(self) -> None:
        self._attempts: dict[SegmentKey, dict[str, _Attempt]] = {}

    def add(self, piece: SegmentRows) -> pa.Table | None:
        """Take a piece.

        Returns:
            All rows of its segment, each clip once and in their order, if the piece makes one attempt whole.

        Raises:
            ValueError: The piece has rows of clips that are not in its segment.
        """
        if "clip" not in piece.rows.schema.names:  # rows of whole videos, which come in one piece
            return piece.rows
        attempts = self._attempts.setdefault(piece.segment, {})
        attempt = attempts.setdefault(piece.attempt, _Attempt())
        attempt.take(piece)
        if not attempt.is_whole(piece.num_clips):
            return None
        del self._attempts[piece.segment]
        return attempt.rows()

    def clear(self) -> None:
        """Forget all attempts that are not whole."""
        self._attempts.clear()


class _Attempt:
    """What has come of one attempt at a segment."""

    def __init__(self) -> None:
        self._delivered = 0
        self._rows: list[pa.Table] = []

    def take(self, piece: SegmentRows) -> None:
        clips = [0 if clip is None else clip - piece.first_clip for clip in piece.rows["clip"].to_pylist()]
        if any(not 0 <= clip < piece.num_clips for clip in clips):
            raise ValueError(f"{piece.segment} has {piece.num_clips} clips, but rows of {clips} arrived")
        places, self._delivered = new_clips(self._delivered, clips)
        self._rows.append(piece.rows if len(places) == len(clips) else piece.rows.take(pa.array(places, pa.int64())))

    def is_whole(self, num_clips: int) -> bool:
        return self._delivered == (1 << num_clips) - 1

    def rows(self) -> pa.Table:
        return pa.concat_tables(self._rows).sort_by("clip")
