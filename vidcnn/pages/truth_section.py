"""What a page shows of a comparison with the truth: from its counts to the values of the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vidcnn.pages.figures import reliability_svg
from vidcnn.pages.pictures import take_pictures
from vidcnn.pages.truth import NUM_BINS, Score, Truth
from vidcnn.sources import SourceVideo

MAX_MATRIX = 30
"""Classes of the matrix that is shown: more nobody reads."""
_NUM_SHADES = 5


def truth_values(score: Score, truth: Truth, videos: Mapping[str, SourceVideo]) -> dict[str, Any]:
    """Return what the template shows.

    Args:
        score: The comparison.
        truth: What it was compared with.
        videos: Where videos are, by name, for the pictures of mistakes.
    """
    worst = take_pictures(score.worst, videos)
    number, scores, right = score.bins
    shares = [
        (float(scores[index] / number[index]), float(right[index] / number[index])) if number[index] else None
        for index in range(NUM_BINS)
    ]
    text = (
        f"Reliability curve of {score.num_clips:,} clips: share that is right by score; expected calibration error "
        f"{score.calibration_error:.1%}"
    )
    known = [index for index in range(len(score.labels)) if score.num_true[index] or score.num_predicted[index]]
    shown = _most_mistaken(score, known)
    of_one = score.num_videos_of_one_class
    return {
        "right": score.num_right / score.num_clips,
        "videos_right": score.num_videos_right / of_one if of_one else None,
        "error": score.calibration_error,
        "num_clips": score.num_clips,
        "num_videos": score.num_videos,
        "num_unseen": len(truth.samples) - score.num_videos,
        "classes": [_class_values(score, index) for index in known],
        "reliability_svg": reliability_svg(shares, text=text),
        "bins": [
            {
                "range": f"{index / NUM_BINS:.2f} to {(index + 1) / NUM_BINS:.2f}",
                "clips": int(number[index]),
                "score": "" if share is None else f"{share[0]:.3f}",
                "right": "" if share is None else f"{share[1]:.1%}",
            }
            for index, share in enumerate(shares)
        ],
        "matrix": _matrix(score, shown),
        "num_hidden": len(known) - len(shown),
        "worst": worst,
        "num_pictures": sum(one.image is not None for one in worst),
    }


def _class_values(score: Score, index: int) -> dict[str, Any]:
    true, predicted, hits = (int(some[index]) for some in (score.num_true, score.num_predicted, score.num_hits))
    return {
        "label": score.labels[index],
        "clips": true,
        "precision": f"{hits / predicted:.1%}" if predicted else "",
        "recall": f"{hits / true:.1%}" if true else "",
    }


def _most_mistaken(score: Score, known: list[int]) -> list[int]:
    """Return the classes of the matrix, in the order of their names: where there are too many, the worst."""
    wrong = score.confusion.sum(axis=0) + score.confusion.sum(axis=1) - 2 * score.confusion.diagonal()
    return sorted(sorted(known, key=lambda index: (-int(wrong[index]), index))[:MAX_MATRIX])


def _matrix(score: Score, shown: list[int]) -> list[dict[str, Any]]:
    if not score.confusion.any():
        return []
    rows = []
    for true in shown:
        total = max(1, int(score.confusion[true].sum()))
        cells = [
            {
                "clips": int(score.confusion[true, predicted]),
                "shade": int(np.ceil((_NUM_SHADES - 1) * score.confusion[true, predicted] / total)),
                "is_right": true == predicted,
            }
            for predicted in shown
        ]
        rows.append({"label": score.labels[true], "cells": cells})
    return rows
