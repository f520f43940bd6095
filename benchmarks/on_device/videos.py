"""Decoding in child processes, as runs do it, alone and in front of the model."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import torch

from on_device.report import Figures
from vidcnn.inference.classifier import Classifier
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.segments import ClipSpec
from vidcnn.sources import Listing
from vidcnn.video.attempts import decode_in_cell
from vidcnn.video.batching import DecodeSettings, clips_per_task
from vidcnn.video.cell import Cell
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.planning import PlannedSegment, PlanSettings, plan_video


class Supply:
    """Threads that make things, each with what it needs of its own, and a short queue that they fill.

    Args:
        makers: For each thread a function that yields things without an end.
        ahead: Things that wait in the queue.
    """

    def __init__(self, makers: list[Callable[[], Iterator[Any]]], ahead: int) -> None:
        self._queue: Queue[Any] = Queue(ahead)
        self._is_over = threading.Event()
        self._failure: Exception | None = None
        self._threads = [threading.Thread(target=self._make, args=(maker,), daemon=True) for maker in makers]
        for thread in self._threads:
            thread.start()

    def take(self) -> Any:
        """Return the next thing."""
        while self._failure is None:
            try:
                return self._queue.get(timeout=0.2)
            except Empty:
                continue
        raise self._failure

    def close(self) -> None:
        """End the threads."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _make(self, maker: Callable[[], Iterator[Any]]) -> None:
        try:
            for thing in maker():
                while not self._is_over.is_set():
                    try:
                        self._queue.put(thing, timeout=0.2)
                        break
                    except Full:
                        continue
                if self._is_over.is_set():
                    return
        except Exception as error:
            self._failure = error


def measure(supply: Supply, work: Callable[[Any], int], seconds: float) -> tuple[float, float]:
    """Return how much is done per second of what is supplied, and which share of the time was spent on waiting.

    The first fifth of the time is left out, as all that comes before the first thing: queues fill in it.
    """
    work(supply.take())
    began = counted_from = time.perf_counter()
    done = 0
    waited = 0.0
    is_warm = False
    while time.perf_counter() - began < seconds:
        if not is_warm and time.perf_counter() - began > seconds / 5:
            is_warm, counted_from, done, waited = True, time.perf_counter(), 0, 0.0
        asked = time.perf_counter()
        thing = supply.take()
        waited += time.perf_counter() - asked
        done += work(thing)
    elapsed = time.perf_counter() - counted_from
    return done / elapsed, waited / elapsed


def decoding(video: Path, bundle: Bundle, batch_size: int, seconds: float, num_decoders: int) -> Figures:
    """Decoding alone with all processors, in clips/s."""
    supply = decoders(video, bundle, batch_size, num_decoders)
    try:
        speed, _ = measure(supply, lambda batch: len(batch.clips), seconds)
    finally:
        supply.close()
    return {"clips_per_second": speed, "decoders": num_decoders}


def pipeline(video: Path, bundle: Bundle, device: torch.device, seconds: float, num_decoders: int) -> Figures:
    """Decoding and the model at once, in clips/s."""
    judge = Classifier(bundle, device=str(device), precision="bf16")
    computed = needed = 0

    def score(batch: Any) -> int:
        nonlocal computed, needed
        computed += -(-len(batch.clips) // judge.batch_size) * judge.batch_size
        needed += len(batch.clips)
        return len(judge.predict(batch.pixels).probabilities) if batch.clips else 0

    supply = decoders(video, bundle, judge.batch_size, num_decoders)
    try:
        speed, waiting = measure(supply, score, seconds)
    finally:
        supply.close()
    return {
        "clips_per_second": speed,
        "model_waited": waiting,
        "share_of_batches_that_is_clips": needed / max(1, computed),
        "decoders": num_decoders,
    }


def decoders(video: Path, bundle: Bundle, batch_size: int, number: int) -> Supply:
    """Start decoders that decode a video over and over, into batches of clips."""
    plan = PlanSettings(ClipSpec(bundle.sampling), 15.0, MAX_PIXELS)
    clip_bytes = bundle.preprocessing.frame_bytes * bundle.sampling.num_frames
    settings = DecodeSettings(
        bundle.preprocessing, exact=False, batch_size=clips_per_task(batch_size, clip_bytes), max_pixels=MAX_PIXELS
    )
    (listed,) = Listing([str(video)])
    unit = plan_video(listed, plan)
    return Supply([lambda: _batches(unit, settings)] * number, ahead=2 + number)


def _batches(unit: list[PlannedSegment], settings: DecodeSettings) -> Iterator[Any]:
    with Cell() as cell:
        while True:
            for batch, _ in decode_in_cell(unit, settings, cell):
                if batch.failures:
                    raise batch.failures[0][1]
                yield batch


def num_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
