"""Planning and decoding in a process that may die, hang, or be let down by the storage.

Takes videos or segments, returns for each of them what a good attempt gave, or its error after several
bad ones. Whatever is tried again starts from its beginning: clips of one attempt are never mixed with those of another.

    what happens                          tries   error after the last
    the storage fails, or hangs           4, 2    StorageError: left to the next run
    a file in object storage is bad       2       its VideoError: what was read may have been cut
    the process dies                      3       decoder_crash
    the process makes no headway          2       timeout
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from vidcnn.errors import StorageError, VideoError
from vidcnn.sources import SourceVideo
from vidcnn.storage.retrying import USUAL, RetryPolicy, retrying
from vidcnn.storage.uris import is_remote
from vidcnn.video.batching import ClipBatch, ClipRef, DecodeSettings, timed_batches
from vidcnn.video.cell import Cell, CellError
from vidcnn.video.cell_checks import are_plans, is_batch
from vidcnn.video.cell_worker import Preparation
from vidcnn.video.golden import decoding_with
from vidcnn.video.grants import Grant
from vidcnn.video.planning import Plan, PlannedSegment, PlanSettings, plan_each
from vidcnn.video.stopwatch import StageTimes

NUM_STORAGE_TRIES = USUAL.num_tries
_NUM_TRIES = {"crash": 3, "timeout": 2, "storage": 2}
_NUM_REMOTE_PLANS = 16
"""Videos in object storage that are planned at once: each takes some round trips."""

Loaded = TypeVar("Loaded")
Sleep = Callable[[float], object]
PlanWork = Callable[..., Iterator[list[Plan]]]
DecodeWork = Callable[..., Iterator[tuple[ClipBatch, StageTimes]]]


def plan_in_cell(
    videos: Sequence[SourceVideo],
    settings: PlanSettings,
    cell: Cell,
    *,
    work: PlanWork = plan_each,
    check: Callable[[Any, Sequence[SourceVideo]], bool] = are_plans,
    preparation: Preparation | None = None,
    sleep: Sleep = time.sleep,
) -> Iterator[tuple[int, Plan]]:
    """Plan videos.

    Args:
        videos: Videos of the source, at most one task's.
        settings: What the plans depend on.
        cell: Where they are read.
        work: Reads them there.
        check: Tells whether what came are plans of the first of some videos.
        preparation: What is called there before the process is confined, to load what the work needs.
        sleep: Waits for some seconds.

    Yields:
        Each index into `videos` once, with the plan, or with the error of the video.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """
    tries = _Tries(sleep)
    pending = list(range(len(videos)))
    num_at_once = _NUM_REMOTE_PLANS if any(is_remote(video.location) for video in videos) else 1
    while pending:
        asked, num_told, again = pending, 0, []
        tries.begin_round()
        failure: CellError | None = None
        try:
            asked_for = [videos[index] for index in asked]
            for plans in cell.run(
                work,
                asked_for,
                settings,
                num_at_once,
                seconds=settings.allowed_seconds,
                grant=Grant.of(asked_for),
                sandbox=settings.sandbox,
                preparation=preparation,
            ):
                if not check(plans, asked_for[num_told:]):
                    raise cell.nonsense("plans of other videos")
                for index, plan in zip(asked[num_told : num_told + len(plans)], plans, strict=True):
                    if isinstance(plan, tuple) or tries.is_last(index, plan, videos[index].location):
                        yield index, plan
                    else:
                        again.append(index)
                num_told += len(plans)
        except CellError as caught:
            failure = caught
        pending = asked[num_told:] + again
        if failure is not None and num_at_once > 1:
            num_at_once = 1  # to see which of them it was
        elif failure is not None and pending:
            index = _blamed(asked, pending, failure)
            error = tries.died(index, failure)
            pending.remove(index)
            if error is None:
                pending.append(index)
            else:
                yield index, error
        tries.pause()


def decode_in_cell(
    unit: Sequence[PlannedSegment],
    settings: DecodeSettings,
    cell: Cell,
    *,
    work: DecodeWork = timed_batches,
    sleep: Sleep = time.sleep,
) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Decode the clips of some segments.

    Args:
        unit: The segments.
        settings: What decoding depends on.
        cell: Where they are decoded.
        work: Decodes them there.
        sleep: Waits for some seconds.

    Yields:
        Batches, and what they took. For each segment there is one attempt whose batches contain each of its clips once,
        in `clips` or in `failures`; or all its clips are failures, with a `StorageError`, after attempts that are not
        whole.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """
    tries = _Tries(sleep)
    pending = list(range(len(unit)))
    number_of = {planned.key: number for number, planned in enumerate(unit)}
    while pending:
        attempt, asked = uuid.uuid4().hex, pending
        delivered: Counter[int] = Counter()
        tries.begin_round()
        failure: CellError | None = None
        try:
            asked_for = [unit[number] for number in asked]
            for value in cell.run(
                work,
                asked_for,
                settings,
                seconds=lambda planned: planned.allowed_seconds(settings.timeout_seconds),
                grant=Grant.of(asked_for),
                sandbox=settings.sandbox,
                preparation=decoding_with(settings.preprocessing, exact=settings.exact),
            ):
                if not is_batch(value, asked_for, settings):
                    raise cell.nonsense("clips that were not asked for")
                batch, times = value
                batch = replace(batch, segments=tuple(unit[number_of[planned.key]] for planned in batch.segments))
                numbers = [number_of[planned.key] for planned in batch.segments]
                kept = []
                for ref, error in batch.failures:
                    number = numbers[ref.segment]
                    if tries.is_last(number, error, unit[number].location):
                        kept.append((ref, error))
                delivered.update(numbers[ref.segment] for ref in (*batch.clips, *(ref for ref, _ in kept)))
                yield replace(batch, failures=tuple(kept), attempt=attempt), times
        except CellError as caught:
            failure = caught
        pending = [number for number in asked if delivered[number] < unit[number].segment.num_clips]
        if failure is not None and pending:
            number = _blamed(asked, pending, failure)
            error = tries.died(number, failure)
            pending.remove(number)
            if error is None:
                pending.append(number)
            else:
                yield _failed(unit[number], error), StageTimes()
        tries.pause()


def attempt(load: Callable[[], Loaded], policy: RetryPolicy) -> Loaded | VideoError:
    """Do one piece of work in a cell, until it is done or it is clear why not.

    Args:
        load: Does it, in a process that may die.
        policy: How often it is tried while the storage fails.

    Returns:
        What it gave; or the error of the video.

    Raises:
        StorageError: The storage fails again and again.
    """
    tries = _Tries(time.sleep)
    while True:
        try:
            return retrying(load, policy=policy)
        except CellError as error:
            found = tries.died(0, error)
            if isinstance(found, StorageError):
                raise found from error
            if found is not None:
                return found


class _Tries:
    """How often each item was tried, and the pauses between."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._failures: Counter[tuple[int, str]] = Counter()
        self._waits = USUAL.waits()
        self._must_wait = False
        self._verdicts: dict[tuple[int, str], bool] = {}

    def begin_round(self) -> None:
        """Begin another attempt at whatever is left; all that an item gives in it counts once."""
        self._verdicts = {}

    def is_last(self, item: int, error: VideoError | StorageError, location: str) -> bool:
        """Count a failure, and return whether the item is given up with it."""
        reason = "error" if isinstance(error, StorageError) else error.kind
        verdict = self._verdicts.get((item, reason))
        if verdict is None:
            num_tries = NUM_STORAGE_TRIES if isinstance(error, StorageError) else 2 if is_remote(location) else 1
            verdict = self._count(item, reason) >= num_tries
            self._verdicts[item, reason] = verdict
            self._must_wait |= not verdict
        return verdict

    def died(self, item: int, failure: CellError) -> VideoError | StorageError | None:
        """Count a crash over an item, and return the item's error; None if it is tried again."""
        if self._count(item, failure.kind) < _NUM_TRIES[failure.kind]:
            self._must_wait |= failure.kind == "storage"
            return None
        if failure.kind == "storage":
            return StorageError(failure.message)
        if failure.kind == "timeout":
            return VideoError("timeout", f"reading it took too long, again and again ({failure.message})")
        return VideoError(
            "decoder_crash", f"the process that reads it died, again and again (the last time, {failure.message})"
        )

    def pause(self) -> None:
        """Wait before the next tries, if it was the storage that failed."""
        if self._must_wait:
            self._sleep(next(self._waits, USUAL.max_wait_seconds))
            self._must_wait = False

    def _count(self, item: int, reason: str) -> int:
        self._failures[item, reason] += 1
        return self._failures[item, reason]


def _blamed(asked: list[int], pending: list[int], failure: CellError) -> int:
    """Return the item over which a process died: the one it was at, or the next one where that is done already."""
    item = asked[min(failure.position, len(asked) - 1)]
    return item if item in pending else pending[0]


def _failed(planned: PlannedSegment, error: VideoError | StorageError) -> ClipBatch:
    """Return a batch in which all clips of a segment are failures."""
    refs = [ClipRef(0, clip) for clip in range(planned.segment.num_clips)]
    empty = np.empty((0, 0, 0, 0, 3), np.uint8)
    return ClipBatch((planned,), (), empty, tuple((ref, error) for ref in refs), uuid.uuid4().hex)
