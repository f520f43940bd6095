"""Timelines in few bytes, as the script of a page reads them.

A cell is three bytes: two of its label (little-endian, 65535 for nothing and 65534 for an error), and its score in
steps of 1/255. Ten thousand videos of sixty clips take 2.4 MB as base64. Clips mostly follow each other in one step, so
times are four numbers for a video; where they do not, a pair for each cell.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcnn.pages.timelines import ERROR, NOTHING, Timelines

TOLERANCE_SECONDS = 0.05
"""Times that are packed may be wrong by so much: a page shows tenths of a second."""
_NOTHING, _ERROR = 65535, 65534


def packed_cells(timelines: Timelines) -> dict[str, str]:
    """Return labels and scores of all cells, two bytes and one each, as base64."""
    labels = timelines.labels.copy()
    labels[timelines.labels == NOTHING] = _NOTHING
    labels[timelines.labels == ERROR] = _ERROR
    scores = np.clip(np.round(timelines.scores * 255), 0, 255)
    return {"labels_of_cells": _base64(labels.astype("<u2")), "scores_of_cells": _base64(scores.astype("u1"))}


def packed_times(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> list[Any]:
    """Return when the cells of one video start and end.

    Args:
        starts: In seconds, (C,); not a number where that is not known.
        ends: The same.

    Returns:
        ``[first start, step, length, last end]``; or starts and ends in turn, in milliseconds, null where that is not
        known, in a list of their own: ``[[0, 640, 640, 1280]]``. An empty list where nothing is known.
    """
    known = np.isfinite(starts) & np.isfinite(ends)
    if not known.any():
        return []
    if known.all():
        step = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else 0.0
        length = ends[0] - starts[0]
        regular = starts[0] + step * np.arange(len(starts))
        is_even = np.abs(starts - regular).max() <= TOLERANCE_SECONDS
        if is_even and np.abs(ends - starts - length)[:-1].max(initial=0) <= TOLERANCE_SECONDS:
            return [round(float(number), 4) for number in (starts[0], step, length, ends[-1])]
    pairs = np.stack([starts, ends], axis=1).reshape(-1)
    return [[None if not np.isfinite(one) else round(one * 1000) for one in pairs.tolist()]]


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
