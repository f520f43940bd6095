"""A video's scores over time, as a strip of blocks for each class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vidcnn.safe_text import one_line

_BLOCKS = " ▁▂▃▄▅▆▇█"
_UNKNOWN, _ERROR = "·", "×"
_COLUMNS = 80
_LABEL = 16
_NUM_LABELS = 10

Floats = NDArray[np.float64]


def timeline_text(
    start_seconds: Floats,
    end_seconds: Floats,
    scores: Mapping[str, Floats],
    error_seconds: NDArray[np.float64],
    *,
    columns: int = _COLUMNS,
) -> str:
    """Return a strip for each class, those of the highest scores first, and the times below them.

    Each block is the mean score of the clips that cover its part of the time; a dot is a part that no clip covers, and
    a cross in the last strip one with errors.

    Args:
        start_seconds: Where clips start, (N,).
        end_seconds: Where they end, (N,).
        scores: Of each class, the probability in each clip, (N,).
        error_seconds: Start and end of each row that is an error, (M, 2).
        columns: Width of the text.
    """
    ends = np.concatenate([end_seconds, error_seconds[:, 1]])
    starts = np.concatenate([start_seconds, error_seconds[:, 0]])
    if not len(ends):
        return "no clip of it has a time"
    width = columns - _LABEL - 2
    bounds = np.linspace(starts.min(), ends.max(), width + 1)
    covers = covered(bounds, start_seconds, end_seconds)
    peaks = sorted(scores, key=lambda label: (-float(scores[label].max(initial=0.0)), label))
    lines = [f"{_short(label)}  {strip(mean_of(covers, scores[label]))}" for label in peaks[:_NUM_LABELS]]
    if len(error_seconds):
        wrong = covered(bounds, error_seconds[:, 0], error_seconds[:, 1]).sum(axis=1)
        lines.append(f"{'errors':<{_LABEL}}  {''.join(_ERROR if one else ' ' for one in wrong)}".rstrip())
    places = [moment(bounds[0]), moment((bounds[0] + bounds[-1]) / 2), moment(bounds[-1])]
    room = width - sum(map(len, places))
    left = room // 2
    lines.append(f"{'':<{_LABEL}}  {places[0]}{' ' * left}{places[1]}{' ' * (room - left)}{places[2]}")
    return "\n".join(lines)


def covered(bounds: Floats, starts: Floats, ends: Floats) -> NDArray[np.bool_]:
    """Return which clips reach into which part of the time, (parts, N)."""
    inside: NDArray[np.bool_] = (starts[None, :] < bounds[1:, None]) & (ends[None, :] > bounds[:-1, None])
    return inside


def mean_of(covers: NDArray[np.bool_], scores: Floats) -> Floats:
    """Return the mean score of the clips of each part, (parts,); NaN where there are none."""
    counts = covers.sum(axis=1)
    means: Floats = np.divide(covers @ scores, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def strip(values: Floats) -> str:
    """Return a block for each value in [0, 1]; a dot for NaN."""
    heights = np.nan_to_num(np.clip(values, 0, 1)) * (len(_BLOCKS) - 1)
    return "".join(
        _UNKNOWN if np.isnan(value) else _BLOCKS[round(float(height))]
        for value, height in zip(values, heights, strict=True)
    )


def moment(seconds: float) -> str:
    """Return a moment of a video: ``0:01:12.5``."""
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 10:02}.{rest % 10}"


def _short(label: str) -> str:
    text = one_line(label)
    return f"{text if len(text) <= _LABEL else text[: _LABEL - 1] + '…':<{_LABEL}}"
