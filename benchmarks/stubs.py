"""Stages of an inference run without videos and without a network, for what is measured around them.

A module of its own, since the processes that decode import what they run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from vidcnn.pipelines.stages import CountStage, DecodeStage, PlanStage, ScoreStage
from vidcnn.sources import SourceVideo
from vidcnn.video.batching import ClipBatch, DecodeSettings, timed_batches
from vidcnn.video.planning import Plan, PlannedSegment, PlanSettings, plan_each
from vidcnn.video.stopwatch import StageTimes

MARKER = "VIDCNN_BENCHMARK_MARKER"
"""Names the file into which the time of the first decoding is written."""


def plans(videos: Sequence[SourceVideo], settings: PlanSettings, num_at_once: int) -> Iterator[list[Plan]]:
    """Plan as if every video were ten seconds long, without opening any."""
    import vidcnn.video.planning
    from vidcnn.sampling.segments import FrameTimes

    times = FrameTimes(np.arange(250, dtype=np.int64), 250, Fraction(1, 25), np.arange(0, 250, 50, dtype=np.int64))
    vidcnn.video.planning.read_times = lambda *_, **__: (times, "pts")
    yield from plan_each(videos, settings, num_at_once)


def batches(unit: Sequence[PlannedSegment], settings: DecodeSettings) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Decode without opening files: every clip is black."""
    import vidcnn.video.batching
    from vidcnn.video.assembly import DecodedClip

    def decode_segment(request: Any) -> Iterator[DecodedClip]:
        pixels = np.zeros((request.segment.frames.shape[1], *settings.preprocessing.crop, 3), np.uint8)
        return (DecodedClip(index, pixels, None) for index in range(request.segment.num_clips))

    vidcnn.video.batching.decode_segment = decode_segment  # type: ignore[attr-defined]
    yield from timed_batches(unit, settings)


class StubbedPlan(PlanStage):
    """Plans without opening files."""

    work = staticmethod(plans)


class StubbedCount(CountStage):
    """Counts without opening files."""

    work = staticmethod(plans)


class StubbedDecode(DecodeStage):
    """Decodes without opening files, and notes when it first does: its child may not write."""

    work = staticmethod(batches)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Decode a unit."""
        marker = Path(os.environ[MARKER])
        if not marker.exists():
            marker.write_text(str(time.time()))
        return super().__call__(table)


class StubbedModel:
    """Gives every clip one class."""

    def predict(self, clips: np.ndarray[Any, Any]) -> Any:
        """Classify clips."""
        return SimpleNamespace(probabilities=np.ones((len(clips), 1), np.float32), embeddings=None)


class StubbedScore(ScoreStage):
    """Scores without a network."""

    def __init__(self, load: Any, row_format: Any) -> None:
        super().__init__(StubbedModel, row_format)
