"""The best classes of a clip or a video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def top_classes(probabilities: FloatArray, top_k: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the best classes, best first; of equal ones the first by index.

    Args:
        probabilities: float32 (N, K).
        top_k: How many, k; all K where there are fewer.

    Returns:
        int64 (N, k) indexes and float32 (N, k) probabilities.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(probabilities, order, axis=1)
