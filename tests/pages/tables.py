"""Small tables of predictions, written as a run writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidcnn.predictions import error_rows, prediction_rows, prediction_schema
from vidcnn.predictions.files import metadata, sort_rows, write_file
from vidcnn.predictions.section import LedgerWriter

SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
CLIP_SECONDS = 2.0
SETTINGS = {"model": "r3d_18", "weights_sha256": "ab" * 32, "num_frames": 16}

Clip = tuple[str, float] | None
"""Label and score of a clip; None: an error."""


def rows_of(video: str, clips: Sequence[Clip], message: str = "frames that this clip needs are damaged") -> pa.Table:
    """Return the rows of a video of clips of two seconds; of one without any, that it cannot be read."""
    if not clips:
        return error_rows(SCHEMA, video, kind="unreadable", message="it is no video")
    good = [index for index, clip in enumerate(clips) if clip is not None]
    bad = [index for index, clip in enumerate(clips) if clip is None]
    tables = []
    if good:
        known = [clip for clip in clips if clip is not None]
        tables.append(
            prediction_rows(
                SCHEMA, video, clips=np.array(good), start_seconds=np.array(good) * CLIP_SECONDS,
                end_seconds=(np.array(good) + 1) * CLIP_SECONDS, labels=[label for label, _ in known],
                top_indices=np.arange(len(good))[:, None], top_scores=np.array([[score] for _, score in known]),
            )
        )  # fmt: skip
    if bad:
        times = np.array(bad) * CLIP_SECONDS
        tables.append(
            error_rows(
                SCHEMA, video, kind="corrupt_frames", message=message, clips=np.array(bad), start_seconds=times,
                end_seconds=times + CLIP_SECONDS,
            )
        )  # fmt: skip
    return pa.concat_tables(tables)


def write_table(path: Path, videos: Mapping[str, Sequence[Clip]], settings: Mapping[str, Any] = SETTINGS) -> Path:
    """Write a table as one file."""
    rows = pa.concat_tables([rows_of(video, clips) for video, clips in videos.items()])
    with open(path, "wb") as file, LedgerWriter() as ledger:
        write_file(file, [sort_rows(rows)], SCHEMA, metadata(settings, "run", 1), ledger)
    return path
