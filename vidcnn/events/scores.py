"""The scores of a table of predictions, video by video.

Of each clip the table has the best few classes, and with ``--probabilities`` all of them. Where it has only the best
few, a class that is not among them counts as 0, so that what is found does not depend on how many classes there are.

Letters: N clips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidcnn.predictions.table import Table

_COLUMNS = ("video", "start_seconds", "end_seconds")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoScores:
    """The scores of the clips of one video.

    Attributes:
        video: Its name.
        start_seconds: Where its clips start, (N,).
        end_seconds: Where they end, (N,).
        scores: Of each class that is wanted and known here, the probability in each clip, (N,).
        num_errors: Rows of it that have an error.
    """

    video: str
    start_seconds: Floats
    end_seconds: Floats
    scores: dict[str, Floats]
    num_errors: int


def read_scores(table: Table, labels: Collection[str] | None = None) -> Iterator[VideoScores]:
    """Yield the scores of each video of a table, by name.

    Args:
        table: The table.
        labels: Classes that are wanted; None for all.

    Raises:
        OutputError: A file is damaged.
    """
    if table.labels and "probabilities" in table.schema.names:
        return scores_of_videos(table.rows(table.entries(), [*_COLUMNS, "probabilities"]), labels, table.labels)
    return scores_of_videos(table.rows(table.entries(), [*_COLUMNS, "top_labels", "top_scores"]), labels)


def scores_of_videos(
    tables: Iterable[pa.Table], labels: Collection[str] | None = None, names: Sequence[str] | None = None
) -> Iterator[VideoScores]:
    """Yield the scores of each video of a table that comes in pieces.

    Args:
        tables: Rows of which those of a video follow each other.
        labels: Classes that are wanted; None for all.
        names: Those of the column `probabilities`; None where the best few are to be read.
    """
    kept: list[pa.Table] = []
    for table in tables:
        if not table.num_rows:
            continue
        videos = table["video"].combine_chunks()
        for start, end in pairwise([0, *_changes(videos), len(videos)]):
            if kept and kept[-1]["video"][0] != videos[start]:
                yield _of_video(pa.concat_tables(kept), labels, names)
                kept = []
            kept.append(table.slice(start, end - start))
    if kept:
        yield _of_video(pa.concat_tables(kept), labels, names)


def _changes(names: pa.Array) -> list[int]:
    """Return where a name differs from the one before it."""
    differs = pc.not_equal(names[1:], names[:-1])
    return [int(index) + 1 for index in np.flatnonzero(differs.to_numpy(zero_copy_only=False))]


def _of_video(rows: pa.Table, labels: Collection[str] | None, names: Sequence[str] | None) -> VideoScores:
    clips = rows.filter(rows["top_scores" if names is None else "probabilities"].is_valid()).combine_chunks()
    found = _of_best(clips) if names is None else _of_all(clips, names)
    return VideoScores(
        video=rows["video"][0].as_py(),
        start_seconds=clips["start_seconds"].to_numpy(),
        end_seconds=clips["end_seconds"].to_numpy(),
        scores={name: values for name, values in found.items() if labels is None or name in labels},
        num_errors=rows.num_rows - clips.num_rows,
    )


def _of_best(clips: pa.Table) -> dict[str, Floats]:
    number = np.repeat(np.arange(clips.num_rows), pc.list_value_length(clips["top_scores"]).to_numpy())
    label = pc.list_flatten(clips["top_labels"]).combine_chunks().dictionary_encode()
    values = pc.list_flatten(clips["top_scores"]).to_numpy().astype(np.float64)
    codes = np.asarray(label.indices)
    scores = np.zeros((len(label.dictionary), clips.num_rows))
    scores[codes, number] = values
    return dict(zip(label.dictionary.to_pylist(), scores, strict=True))


def _of_all(clips: pa.Table, names: Sequence[str]) -> dict[str, Floats]:
    values = pc.list_flatten(clips["probabilities"]).to_numpy().astype(np.float64).reshape(clips.num_rows, len(names))
    return dict(zip(names, values.T, strict=True))
