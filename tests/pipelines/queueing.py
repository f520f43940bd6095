"""Stages that decode fast and classify slowly, importable by Ray's workers. No video is opened."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from vidcnn.pipelines.stages import DecodeStage, PlanStage, ScoreStage, _decoded_row, _planned_row
from vidcnn.video.batching import ClipBatch
from vidcnn.video.stopwatch import StageTimes

BATCHES_PER_UNIT = 4
SECONDS_PER_BATCH = 0.2


class ManyUnits(PlanStage):
    """Makes a unit of each row."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        for _ in range(videos.num_rows):
            yield _planned_row(pickle.dumps([]), None, StageTimes())


class NamedUnits(PlanStage):
    """Makes a unit of each row, which has what the row has."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        for row in videos["video"]:
            yield _planned_row(pickle.dumps([row.as_py()]), None, StageTimes())


class FastDecode(DecodeStage):
    """Makes batches of the shape that stands in place of its settings, without decoding anything."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        for _ in range(units.num_rows * BATCHES_PER_UNIT):
            pixels = np.zeros(self._settings, np.uint8)  # type: ignore[call-overload]
            yield _decoded_row(ClipBatch((), (), pixels), None, StageTimes(decode_seconds=0.001))


class SlowScore(ScoreStage):
    """Takes its time over each batch."""

    def __init__(self, load: Any, row_format: Any) -> None:
        pass

    def __call__(self, batches: pa.Table) -> pa.Table:
        time.sleep(SECONDS_PER_BATCH)
        times = pickle.dumps(StageTimes(model_seconds=SECONDS_PER_BATCH))
        return pa.table({"news": pa.array([pickle.dumps([])], pa.large_binary()), "times": [times]})
