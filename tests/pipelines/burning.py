"""Decoding that takes long, importable by decoding processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from vidcnn.video.batching import ClipBatch, DecodeSettings, timed_batches
from vidcnn.video.planning import PlannedSegment
from vidcnn.video.stopwatch import StageTimes, Stopwatch

SECONDS_PER_BATCH = 2.0


def burning_batches(unit: Sequence[PlannedSegment], settings: DecodeSettings) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Decode, and keep a processor busy for some seconds over each batch."""
    for batch, times in timed_batches(unit, settings):
        watch, end = Stopwatch(), time.thread_time() + SECONDS_PER_BATCH
        while time.thread_time() < end:
            pass
        spent = watch.read()
        burnt = StageTimes(spent.seconds, spent.cpu_seconds, decode_queue_seconds=spent.queue_seconds)
        yield batch, times.plus(burnt)
