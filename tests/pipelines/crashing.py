"""Stages that die over certain videos, importable by Ray's workers."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidcnn.pipelines.stages import (
    CheckStage,
    CountStage,
    DecodeStage,
    PlanStage,
    ScoreStage,
    count_clips,
    unpack_videos,
)
from vidcnn.planning import PlanSettings
from vidcnn.samples import Sample, SampleOrder

POISON = "poison"


def _die_over_poison(units: pa.Table) -> None:
    for unit in units["unit"]:
        if unit.is_valid and any(POISON in planned.video.name for planned in pickle.loads(unit.as_py())):
            os.kill(os.getpid(), signal.SIGKILL)


def _die_over_poisonous_block(videos: pa.Table) -> None:
    if any(POISON in video.name for video in unpack_videos(videos)):
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingDecode(DecodeStage):
    """Dies over every unit that holds a poisonous video."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        _die_over_poison(units)
        yield from super().__call__(units)


class CrashingCheck(CheckStage):
    """Dies as `CrashingDecode` does."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        _die_over_poison(units)
        yield from super().__call__(units)


class CrashingPlan(PlanStage):
    """Dies over every block that holds a poisonous video."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        _die_over_poisonous_block(videos)
        yield from super().__call__(videos)


class CrashingCount(CountStage):
    """Dies as `CrashingPlan` does."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        _die_over_poisonous_block(videos)
        yield from super().__call__(videos)


def crashing_count_clips(videos: pa.Table, settings: PlanSettings) -> tuple[int, int]:
    """Die as `CrashingPlan` does."""
    _die_over_poisonous_block(videos)
    return count_clips(videos, settings)


class OnceDyingScore(ScoreStage):
    """Dies over its first batch, once in each run."""

    def __call__(self, batches: pa.Table) -> pa.Table:
        marker = Path(os.environ["VIDCNN_TEST_MARKER"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batches)


class AlwaysDyingScore(ScoreStage):
    """Dies over every batch."""

    def __call__(self, batches: pa.Table) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingOrder(SampleOrder):
    """Dies over one sample, save in the process that made it."""

    def __init__(self, num_videos: int, poison: int, survivor: int) -> None:
        super().__init__(num_videos, seed=5)
        self._poison, self._survivor = poison, survivor

    def __reduce__(self) -> tuple[Any, ...]:
        return CrashingOrder, (self.num_videos, self._poison, self._survivor)

    def sample(self, number: int) -> Sample:
        if number == self._poison and os.getpid() != self._survivor:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(number)
