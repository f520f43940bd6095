"""Stages and work that go wrong over videos of certain names, importable by Ray's workers and by decoding processes.

What goes wrong once leaves a mark in the folder `MARKS` names, by which it is known to have happened.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidcnn.pipelines.stages import CountStage, DecodeStage, PlanStage, ScoreStage, count_clips
from vidcnn.sources import SourceVideo
from vidcnn.training.samples import Sample, SampleOrder
from vidcnn.video import cell
from vidcnn.video.batching import ClipBatch, DecodeSettings, timed_batches
from vidcnn.video.cell_status import at
from vidcnn.video.planning import Plan, PlannedSegment, PlanSettings, plan_each
from vidcnn.video.stopwatch import StageTimes

MARKS = "VIDCNN_TEST_MARKS"


_LOG = "marks"
_LOG_FILE = "VIDCNN_TEST_MARKS_FILE"


def _open_log() -> int:
    return os.open(Path(os.environ[MARKS]) / _LOG, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)


def _start_with_log(command: list[str], variables: dict[str, str], files: tuple[int, ...]) -> Any:
    """Start a decoding process, which can open no file itself, with the file of marks."""
    if MARKS not in os.environ:
        return _start(command, variables, files)
    log = _open_log()
    try:
        return _start(command, variables | {_LOG_FILE: str(log)}, (*files, log))
    finally:
        os.close(log)


_start = cell._start
cell._start = _start_with_log


def first_time(name: str) -> bool:
    """Tell whether something happens for the first time, and note that it did."""
    given = os.environ.get(_LOG_FILE)
    log = _open_log() if given is None else int(given)
    fcntl.lockf(log, fcntl.LOCK_EX)
    try:
        if name in os.pread(log, 1 << 20, 0).decode().splitlines():
            return False
        os.write(log, f"{name}\n".encode())
        return True
    finally:
        fcntl.lockf(log, fcntl.LOCK_UN)
        if given is None:
            os.close(log)


def marks_in(folder: Path) -> list[str]:
    """Return what has happened."""
    log = folder / _LOG
    return log.read_text().splitlines() if log.exists() else []


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def faulty_plans(videos: Sequence[SourceVideo], settings: PlanSettings, num_at_once: int) -> Iterator[list[Plan]]:
    """Plan, but for what the names of the videos say."""
    for position, video in enumerate(videos):
        at(position)
        if "plan_kills" in video.name or ("plan_dies" in video.name and first_time(f"plan-{video.name}")):
            die()
        if "plan_hangs" in video.name:
            time.sleep(600)
        if "plan_errs" in video.name:
            raise TypeError("an integer is required")
        yield from plan_each([video], settings, num_at_once)


def faulty_batches(unit: Sequence[PlannedSegment], settings: DecodeSettings) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Decode, but for what the names of the videos say."""
    for position, planned in enumerate(unit):
        at(position)
        name = planned.video.name
        if "decode_kills" in name:
            die()
        if "decode_hangs" in name:
            time.sleep(600)
        if "decode_errs" in name:
            raise TypeError("an integer is required")
        for number, batch in enumerate(timed_batches([planned], settings)):
            dies_after = re.search(r"decode_dies_after_(\d+)", name)
            if dies_after and number == int(dies_after[1]) and first_time(f"decode-{name}-{planned.segment.index}"):
                die()
            yield batch
            at(position)


class FaultyPlan(PlanStage):
    """Plans with `faulty_plans`."""

    work = staticmethod(faulty_plans)


class FaultyCount(CountStage):
    """Counts with `faulty_plans`."""

    work = staticmethod(faulty_plans)


def faulty_count_clips(videos: pa.Table, settings: PlanSettings) -> tuple[int, int]:
    """Count with `faulty_plans`."""
    return count_clips(videos, settings, faulty_plans)


class FaultyCellDecode(DecodeStage):
    """Decodes with `faulty_batches`."""

    work = staticmethod(faulty_batches)


class FaultyDecode(FaultyCellDecode):
    """The same, and the task itself dies over some videos, after some of its rows."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        names = [
            planned.video.name for unit in units["unit"] if unit.is_valid for planned in pickle.loads(unit.as_py())
        ]
        for number, table in enumerate(super().__call__(units)):
            for name in names:
                dies_after = re.search(r"task_dies_after_(\d+)", name)
                if dies_after and number == int(dies_after[1]) and first_time(f"task-{name}"):
                    die()
            yield table


class OnceDyingScore(ScoreStage):
    """Dies over its third batch, once in each run."""

    num_batches = 0

    def __call__(self, batches: pa.Table) -> pa.Table:
        self.num_batches += 1
        if self.num_batches == 3 and first_time("score"):
            die()
        return super().__call__(batches)


class AlwaysDyingScore(ScoreStage):
    """Dies over every batch."""

    def __call__(self, batches: pa.Table) -> Any:
        die()


class CrashingOrder(SampleOrder):
    """Dies over one sample, save in the process that made it."""

    def __init__(self, num_videos: int, poison: int, survivor: int) -> None:
        super().__init__(num_videos, seed=5)
        self._poison, self._survivor = poison, survivor

    def __reduce__(self) -> tuple[Any, ...]:
        return CrashingOrder, (self.num_videos, self._poison, self._survivor)

    def sample(self, number: int) -> Sample:
        if number == self._poison and os.getpid() != self._survivor:
            die()
        return super().sample(number)
