"""Tables with embeddings for the tests of what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.predictions import Output, SegmentKey, VideoKey, error_rows, prediction_rows, prediction_schema

SETTINGS = {
    "model": "tiny",
    "weights_sha256": "ab" * 32,
    "backbone_sha256": "cd" * 32,
    "max_pixels": 10**6,
    "image_fps": 25.0,
}
LABELS = ("run", "jump", "fall")
Array = NDArray[Any]


def schema_of(size: int | None) -> pa.Schema:
    return prediction_schema(num_classes_for_probabilities=None, embedding_size=size)


def video_rows(name: str, embeddings: Array, *, step: float = 1.0, length: float = 1.0, label: int = 0) -> pa.Table:
    """Return the rows of a video whose clip i covers ``[i * step, i * step + length)``."""
    num = len(embeddings)
    starts = np.arange(num) * step
    return prediction_rows(
        schema_of(embeddings.shape[1]),
        name,
        clips=np.arange(num),
        start_seconds=starts,
        end_seconds=starts + length,
        labels=LABELS,
        top_indices=np.full((num, 1), label),
        top_scores=np.full((num, 1), 0.5, np.float32),
        embedding=embeddings,
    )


def bad_rows(name: str, size: int) -> pa.Table:
    return error_rows(schema_of(size), name, kind="unreadable", message="it is empty")


def write_table(out: Path, videos: dict[str, pa.Table], **settings: Any) -> Path:
    """Write a table, each video in a part of its own where it is a dataset."""
    schema = next(iter(videos.values())).schema
    with Output.open(str(out), schema=schema, settings=SETTINGS | settings) as output:
        for name, rows in videos.items():
            output.add(SegmentKey(VideoKey(name, 1, 1), 0, 1), rows)
            output.commit()
        output.publish()
    return out


def random_videos(seed: int, *, num: int = 6, size: int = 8, step: float = 0.5) -> dict[str, pa.Table]:
    """Return videos of overlapping clips, a bad one among them."""
    rng = np.random.default_rng(seed)
    made = {
        f"v{number}.mp4": video_rows(
            f"v{number}.mp4",
            rng.normal(size=(int(rng.integers(1, 12)), size)).astype(np.float16),
            step=step,
            length=1.2,
            label=number % 3,
        )
        for number in range(num)
    }
    return {**made, "empty.mp4": bad_rows("empty.mp4", size)}
