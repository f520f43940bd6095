"""Exact search for the clips of a table that are most like one: by the cosine of their embeddings, a block at a time.

Clips overlap, and a moment of a video would be found many times. So of clips that share a moment only the most similar
one counts, and none that shares one with the clip that is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from vidcnn.embeddings.clips import COLUMNS, PIECE_ROWS, Clip, FloatArray, clip_of, unit_rows
from vidcnn.predictions.table import Table


def find_similar(table: Table, direction: FloatArray, num: int, without: Clip | None = None) -> list[Clip]:
    """Return the most similar clips of a table, the most similar first.

    Args:
        table: The table.
        direction: What is looked for, float32 (E,), of length 1.
        num: How many.
        without: A clip of the table; what shares a moment with it is left out.

    Raises:
        OutputError: A file is damaged.
    """
    best: list[Clip] = []
    for rows in table.rows(table.entries(), COLUMNS):  # all rows of a video come together
        floor = best[-1].similarity if len(best) == num else -np.inf
        best += _moments(rows, direction, num, floor, without)
        best.sort(key=lambda clip: (-clip.similarity, clip.video, clip.clip))
        del best[num:]
    return best


def _moments(rows: pa.Table, direction: FloatArray, num: int, floor: float, without: Clip | None) -> Iterator[Clip]:
    """Yield the best clips of whole videos that share no moment, the best first.

    A clip gives way only to a better one of its own video, so those that are no better than `floor` change nothing.
    """
    indexes, similarities = _similarities(rows, direction)
    chosen = np.flatnonzero(similarities > floor)
    chosen = chosen[np.argsort(-similarities[chosen], kind="stable")]
    taken: dict[str, list[Clip]] = {} if without is None else {without.video: [without]}
    num_found = 0
    for place in chosen:
        clip = clip_of(rows, int(indexes[place]), similarities[place])
        others = taken.setdefault(clip.video, [])
        if any(clip.overlaps(other) for other in others):
            continue
        others.append(clip)
        yield clip
        num_found += 1
        if num_found == num:
            return


def _similarities(
    rows: pa.Table, direction: FloatArray
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], FloatArray]:
    """Return the indexes of rows with an embedding, int64 (N,), and the cosine of each, float32 (N,)."""
    indexes, similarities = [], []
    for start in range(0, max(rows.num_rows, 1), PIECE_ROWS):
        own, directions = unit_rows(rows.slice(start, PIECE_ROWS))
        indexes.append(own + start)
        similarities.append(directions @ direction)
    return np.concatenate(indexes), np.concatenate(similarities)
