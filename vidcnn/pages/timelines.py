"""What was seen when in each video that a page lists: cells of one clip, or of several neighbours, with the best label.

A long video has more clips than anybody can see. So clips are put together, as many as it takes, the same number all
over a video::

    clips   0  1  2 | 3  4  5 | 6        3 clips to a cell
    cells      0    |    1    | 2        the cell has the label and the score of its best clip

Letters: V videos, C cells of all videos together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

COLUMNS = ("video", "clip", "start_seconds", "end_seconds", "label", "score", "error", "error_kind")
NOTHING = -1
"""The label of a cell of which no row was met."""
ERROR = -2
"""The label of a cell all of whose clips have errors."""


@dataclass(frozen=True)
class Timelines:
    """The cells of some videos, one video's after the other's.

    Attributes:
        videos: Names of the videos.
        clips_per_cell: Of each video, int64 (V,).
        first_cell: Where the cells of each video begin, int64 (V + 1,).
        labels: Index of the label of each cell, or `NOTHING` or `ERROR`, int64 (C,).
        scores: Its score, float32 (C,).
        starts: When its first clip starts, in seconds, float64 (C,); not a number where that is not known.
        ends: When its last clip ends.
        best_times: When its best clip starts and ends, float64 (C, 2).
        num_errors: Rows with an error of each video, int64 (V,).
        first_errors: Kind and message of the first of these.
        num_predictions: Rows without one, int64 (V,).
        score_sums: Sum of their scores, float64 (V,).
    """

    videos: list[str]
    clips_per_cell: NDArray[np.int64]
    first_cell: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    best_times: NDArray[np.float64]
    num_errors: NDArray[np.int64]
    first_errors: dict[int, tuple[str, str]]
    num_predictions: NDArray[np.int64]
    score_sums: NDArray[np.float64]


def clips_per_cell(num_clips: NDArray[np.int64], *, max_cells: int, max_cells_of_one: int) -> NDArray[np.int64]:
    """Return how many clips to put into one cell of each video.

    Args:
        num_clips: Clips of each video, (V,).
        max_cells: Cells of all videos together, at most; a video with clips has one in any case.
        max_cells_of_one: Cells of one video, at most.

    Returns:
        At least 1 for each, (V,).
    """
    low, high = 1, max(1, max_cells_of_one)
    while low < high:  # the largest number of cells of one video with which all fit
        middle = (low + high + 1) // 2
        if int(np.minimum(num_clips, middle).sum()) <= max_cells:
            low = middle
        else:
            high = middle - 1
    return np.maximum(1, -(-num_clips // low))


def read_timelines(
    pieces: Iterable[pa.Table],
    listed: Mapping[str, int],
    labels: Sequence[str],
    *,
    max_cells: int,
    max_cells_of_one: int,
) -> Timelines:
    """Read the timelines of some videos.

    Args:
        pieces: Tables with the columns of `COLUMNS`, dictionaries decoded; rows of other videos are passed over.
        listed: The videos, each with the largest index of its clips, or -1.
        labels: Names of the K labels.
        max_cells: Cells of all videos together, at most; a video with clips has one in any case.
        max_cells_of_one: Cells of one video, at most.
    """
    videos = list(listed)
    num_clips = np.fromiter(listed.values(), np.int64, len(videos)) + 1
    per_cell = clips_per_cell(num_clips, max_cells=max_cells, max_cells_of_one=max_cells_of_one)
    first_cell = np.concatenate([[0], np.cumsum(-(-num_clips // per_cell))]).astype(np.int64)
    num_cells = int(first_cell[-1])
    found = Timelines(
        videos=videos,
        clips_per_cell=per_cell,
        first_cell=first_cell,
        labels=np.full(num_cells, NOTHING, np.int64),
        scores=np.zeros(num_cells, np.float32),
        starts=np.full(num_cells, np.nan),
        ends=np.full(num_cells, np.nan),
        best_times=np.full((num_cells, 2), np.nan),
        num_errors=np.zeros(len(videos), np.int64),
        first_errors={},
        num_predictions=np.zeros(len(videos), np.int64),
        score_sums=np.zeros(len(videos), np.float64),
    )
    names, label_names = pa.array(videos, pa.string()), pa.array(list(labels), pa.string())
    first_bad: dict[int, int] = {}
    for piece in pieces:
        place = pc.index_in(piece["video"], names)
        rows = piece.append_column("place", place).filter(pc.is_valid(place))
        if rows.num_rows:
            _take(found, rows, label_names, first_bad)
    return found


def _take(found: Timelines, rows: pa.Table, label_names: pa.Array, first_bad: dict[int, int]) -> None:
    videos = rows["place"].to_numpy().astype(np.int64)
    clips = pc.fill_null(rows["clip"], -1).to_numpy().astype(np.int64)
    is_error = pc.is_valid(rows["error"]).to_numpy()
    cells = found.first_cell[videos] + clips // found.clips_per_cell[videos]
    has_cell = (clips >= 0) & (cells < found.first_cell[videos + 1])
    starts, ends = (pc.fill_null(rows[name], np.nan).to_numpy() for name in ("start_seconds", "end_seconds"))
    np.fmin.at(found.starts, cells[has_cell], starts[has_cell])
    np.fmax.at(found.ends, cells[has_cell], ends[has_cell])
    scores = np.nan_to_num(pc.fill_null(rows["score"], 0.0).to_numpy().astype(np.float32))
    labels = pc.fill_null(pc.index_in(pc.fill_null(rows["label"], ""), label_names), NOTHING).to_numpy()

    bad = cells[has_cell & is_error]
    found.labels[bad[found.labels[bad] == NOTHING]] = ERROR
    good = np.flatnonzero(has_cell & ~is_error)
    good = good[(found.labels[cells[good]] < 0) | (scores[good] > found.scores[cells[good]])]
    order = good[np.lexsort((-clips[good], scores[good]))]  # the best comes last and stays; of equals, the first
    found.labels[cells[order]] = labels[order]
    found.scores[cells[order]] = scores[order]
    found.best_times[cells[order]] = np.stack([starts[order], ends[order]], axis=1)

    np.add.at(found.num_predictions, videos[~is_error], 1)
    np.add.at(found.score_sums, videos[~is_error], scores[~is_error])
    np.add.at(found.num_errors, videos[is_error], 1)
    for row in np.flatnonzero(is_error):
        video, clip = int(videos[row]), int(clips[row])
        if clip < first_bad.get(video, np.iinfo(np.int64).max):
            first_bad[video] = clip
            found.first_errors[video] = (rows["error_kind"][row].as_py() or "unknown", rows["error"][row].as_py())
