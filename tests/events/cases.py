"""Tables of predictions whose scores are made, for the tests of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.predictions.cases import video
from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import error_rows, prediction_rows, prediction_schema
from vidcnn.sources.keys import SegmentKey

LABELS = ("fight", "normal")
STEP_SECONDS, CLIP_SECONDS = 1.0, 2.0
SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
FULL = prediction_schema(num_classes_for_probabilities=len(LABELS), embedding_size=None)


def rows(name: str, fight: Sequence[float], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Make the rows of a video of which the scores of ``fight`` are known, in overlapping clips of two seconds."""
    scores = np.stack([fight, 1 - np.asarray(fight)], axis=1).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")
    starts = np.arange(len(fight)) * STEP_SECONDS
    return prediction_rows(
        schema, name, clips=np.arange(len(fight)), start_seconds=starts, end_seconds=starts + CLIP_SECONDS,
        labels=LABELS, top_indices=order, top_scores=np.take_along_axis(scores, order, axis=1),
        probabilities=scores if "probabilities" in schema.names else None,
    )  # fmt: skip


def write_table(out: Path, videos: Mapping[str, Sequence[float] | None], schema: pa.Schema = SCHEMA) -> Path:
    """Write a table of predictions; a video without scores cannot be read."""
    settings = {"model": "made", "weights_sha256": "0" * 64, "labels": list(LABELS)}
    with Output.open(str(out), schema=schema, settings=settings) as output:
        for name, fight in videos.items():
            table = (
                error_rows(schema, name, kind="unreadable", message="no video")
                if fight is None
                else rows(name, fight, schema)
            )
            output.add(SegmentKey(video(name), 0, 1), table)
        output.commit()
        output.publish()
    return out
