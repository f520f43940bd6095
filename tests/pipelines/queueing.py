"""Stages that decode and classify slowly or at once, importable by Ray's workers. No video is opened."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidcnn.pipelines.stages import DecodeStage, PlanStage, ScoreStage, _decoded_row, _planned_row
from vidcnn.video.batching import ClipBatch
from vidcnn.video.stopwatch import StageTimes

BATCHES_PER_UNIT = 4
SECONDS_PER_BATCH = 0.2
SECONDS_PER_UNIT = 0.5


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


class SlowDecode(DecodeStage):
    """Takes its time over each unit, and notes when, in a file of the folder that stands in place of its settings."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        began = time.time()
        time.sleep(SECONDS_PER_UNIT * units.num_rows)
        folder: Any = self._settings
        with Path(folder, f"{os.getpid()}.txt").open("a") as file:
            file.write(f"{began} {time.time()}\n")
        yield _decoded_row(ClipBatch((), (), np.zeros((1, 1, 1, 1, 3), np.uint8)), None, StageTimes())


class FastScore(ScoreStage):
    """Takes no time."""

    seconds = 0.0

    def __init__(self, load: Any, row_format: Any) -> None:
        pass

    def __call__(self, batches: pa.Table) -> pa.Table:
        time.sleep(self.seconds)
        times = pickle.dumps(StageTimes(model_seconds=self.seconds))
        return pa.table({"news": pa.array([pickle.dumps([])], pa.large_binary()), "times": [times]})


class SlowScore(FastScore):
    """Takes its time over each batch."""

    seconds = SECONDS_PER_BATCH
