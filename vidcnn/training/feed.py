"""From numbered samples to the batches of a worker, loaded ahead while the network computes.

A `Loader` loads pieces of work, in this process or wherever else; a `Feed` asks it for the next steps before they are
needed, and makes batches of what comes back. Steps follow each other without regard to epochs, so nothing waits
where one ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vidcnn.annotations import LabelledVideo
from vidcnn.errors import ErrorKind
from vidcnn.training.augment import Augmentation, FlipRule
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.cache import FrameCache
from vidcnn.training.cache_folder import CacheFolder
from vidcnn.training.clips import ClipReader, ClipSettings, LoadedClips
from vidcnn.training.samples import SampleOrder
from vidcnn.video import file_client
from vidcnn.video.grants import EntryStore

_SAMPLES_PER_PIECE = 4
"""Samples that are loaded in one go: a piece of work that takes some tens of milliseconds."""

_MIN_STEPS_AHEAD = 3
_MIN_VIDEOS_AHEAD = 16
_PIECES_PER_PLACE = 2
"""Pieces that are asked for, for each that a loader works on: when one is done, the next one is there."""
_MAX_AHEAD_BYTES = 512 * 2**20
"""Clips that are loaded ahead of a worker, beyond the steps that always are."""


@dataclass(frozen=True)
class CacheSettings:
    """Where decoded frames are kept, on each machine that decodes.

    Attributes:
        directory: Absolute path, the same on each machine.
        max_bytes: Its size at most.
        began: When the run began, in seconds since 1970.
    """

    directory: Path
    max_bytes: int
    began: float

    def folder(self) -> CacheFolder:
        """Return the folder, on this machine."""
        return CacheFolder(self.directory, self.max_bytes, self.began)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The videos of a run, and what is done to their clips.

    Attributes:
        labels: Names of the K classes.
        train: Videos that are trained on.
        val: Videos that are validated on.
        order: The order in which training takes its videos.
        augmentation: What is done to clips in training.
        flips: What a clip that was flipped is a clip of.
        clips: How clips are taken.
        num_val_clips: Clips of each validation video.
        num_epochs: How often each video is seen, roughly.
        cache: Where decoded frames are kept; None keeps none.
    """

    labels: tuple[str, ...]
    train: tuple[LabelledVideo, ...]
    val: tuple[LabelledVideo, ...]
    order: SampleOrder
    augmentation: Augmentation
    flips: FlipRule
    clips: ClipSettings
    num_val_clips: int
    num_epochs: int
    cache: CacheSettings | None = None


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be decoded.

    Attributes:
        sample: Its number.
        video: Name of its video.
        kind: What is wrong with it, one of `vidcnn.errors.ERROR_KINDS`.
        message: The same in plain words.
    """

    sample: int
    video: str
    kind: ErrorKind
    message: str


class Loader(Protocol):
    """Loads clips, somewhere. What `start_` returns is for `finish` alone, and may be asked for in any order."""

    @property
    def num_at_once(self) -> int:
        """How many pieces of work it does beside each other for this worker."""

    def start_samples(self, samples: range) -> Any:
        """Begin to load samples of the training videos, by their numbers."""

    def start_views(self, video: int) -> Any:
        """Begin to load the clips of a validation video, by its index."""

    def finish(self, started: Any) -> LoadedClips:
        """Return what was begun, when it is there."""


class DirectLoader:
    """Loads clips in this process, when they are asked for.

    Args:
        data: The videos.
    """

    num_at_once = 1

    def __init__(self, data: TrainingData) -> None:
        self._data = data
        cache = FrameCache(_entries(data.cache)) if data.cache is not None else None
        self._reader = ClipReader(data.clips, cache, data.num_epochs * data.order.repeats)

    def start_samples(self, samples: range) -> LoadedClips:
        """Load samples of the training videos, by their numbers."""
        data = self._data
        found = [data.order.sample(number) for number in samples]
        return self._reader.load_samples([data.train[sample.video] for sample in found], found, data.augmentation)

    def start_views(self, video: int) -> LoadedClips:
        """Load the clips of a validation video, by its index."""
        return self._reader.load_views(self._data.val[video], self._data.num_val_clips)

    def finish(self, started: LoadedClips) -> LoadedClips:
        """Return what was loaded."""
        return started


def _entries(settings: CacheSettings) -> EntryStore:
    """Return where entries are: a process that is confined asks its parent for them."""
    asking = file_client.client()
    return settings.folder() if asking is None else file_client.AskedEntries(asking)


class Feed:
    """The batches of one worker.

    Args:
        data: The videos.
        loader: Loads their clips.
        worker: Rank of this worker and number of workers.
        batch_size: Samples of a step, all workers together.

    Attributes:
        seconds_waited: Time spent waiting for clips, all steps together.
    """

    def __init__(self, data: TrainingData, loader: Loader, worker: Worker, batch_size: int) -> None:
        self._data = data
        self._loader = loader
        self._worker = worker
        self._batch_size = batch_size
        self._num_ahead = _steps_ahead(loader.num_at_once, batch_size // worker.count, data.clips.clip_bytes)
        self.seconds_waited = 0.0

    def batches(self, steps: range) -> Iterator[tuple[Batch, list[BadSample]]]:
        """Yield this worker's share of some steps, in order; the first ones are begun before any is asked for."""
        started: deque[tuple[range, list[Any]]] = deque()
        waiting = iter(steps)
        self._start(waiting, started)
        return self._finish(waiting, started)

    def _start(self, waiting: Iterator[int], started: deque[tuple[range, list[Any]]]) -> None:
        for step in islice(waiting, self._num_ahead - len(started)):
            samples = self._worker.share(step, self._batch_size)
            started.append((samples, [self._loader.start_samples(piece) for piece in _pieces(samples)]))

    def _finish(
        self, waiting: Iterator[int], started: deque[tuple[range, list[Any]]]
    ) -> Iterator[tuple[Batch, list[BadSample]]]:
        while started:
            samples, pieces = started.popleft()
            self._start(waiting, started)
            began = time.perf_counter()
            loaded = [self._loader.finish(piece) for piece in pieces]
            self.seconds_waited += time.perf_counter() - began
            yield self._batch(samples, loaded)

    def views(self) -> Iterator[tuple[int, LoadedClips]]:
        """Yield the validation videos that fall to this worker, with their clips."""
        started: deque[tuple[int, Any]] = deque()
        waiting = iter(range(self._worker.rank, len(self._data.val), self._worker.count))
        most = _MAX_AHEAD_BYTES // (self._data.num_val_clips * self._data.clips.clip_bytes)
        num_ahead = max(_MIN_VIDEOS_AHEAD, min(_PIECES_PER_PLACE * self._loader.num_at_once, most))
        while True:
            for video in islice(waiting, num_ahead - len(started)):
                started.append((video, self._loader.start_views(video)))
            if not started:
                return
            video, views = started.popleft()
            yield video, self._loader.finish(views)

    def _batch(self, samples: range, loaded: Sequence[LoadedClips]) -> tuple[Batch, list[BadSample]]:
        data = self._data
        pixels = np.concatenate([piece.pixels for piece in loaded])
        flipped = np.concatenate([piece.flipped for piece in loaded])
        videos = [data.train[data.order.sample(number).video] for number in samples]
        targets = one_hot([video.labels for video in videos], len(data.labels))
        for row in np.flatnonzero(flipped):
            targets[row] = data.flips.targets(targets[row], True)
        weights = np.ones(len(samples), np.float32)
        bad = []
        first = 0
        for piece in loaded:
            for index, error in piece.failures:
                weights[first + index] = 0
                name = videos[first + index].video.name
                bad.append(BadSample(samples[first + index], name, error.kind, error.message))
            first += len(piece.pixels)
        fill_bad_samples(pixels, targets, weights)
        short = np.concatenate([piece.short for piece in loaded])
        return Batch(samples, pixels, targets, weights, num_short=int((short & (weights > 0)).sum())), bad


def one_hot(labels: Sequence[tuple[int, ...]], num_classes: int) -> npt.NDArray[np.float32]:
    """Return float32 (N, K): 1 for each class of a sample, else 0."""
    targets = np.zeros((len(labels), num_classes), np.float32)
    for row, classes in zip(targets, labels, strict=True):
        row[list(classes)] = 1
    return targets


def fill_bad_samples(
    pixels: npt.NDArray[np.uint8], targets: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> None:
    """Put something ordinary in the place of samples without pixels, in place.

    They count for nothing in the loss. But batch statistics are taken of all samples, and mixing blends each with its
    partner: so a bad sample becomes a copy of its partner, or of any good sample of the batch.

    Args:
        pixels: uint8 (N, T, H, W, 3).
        targets: float32 (N, K).
        weights: float32 (N,), 0 for bad samples.
    """
    good = np.flatnonzero(weights)
    for row in np.flatnonzero(weights == 0):
        partner = row ^ 1
        if not (partner < len(weights) and weights[partner]):
            if not len(good):
                continue
            partner = good[row % len(good)]
        pixels[row], targets[row] = pixels[partner], targets[partner]


def _steps_ahead(num_at_once: int, num_samples: int, clip_bytes: int) -> int:
    """Return how many steps are loaded before they are needed, so that all that loads has something to do.

    Args:
        num_at_once: Pieces that are loaded beside each other.
        num_samples: Samples of a step that are this worker's.
        clip_bytes: Size of each.
    """
    pieces_per_step = max(1, ceil(num_samples / _SAMPLES_PER_PIECE))
    wanted = ceil(_PIECES_PER_PLACE * num_at_once / pieces_per_step)
    return max(_MIN_STEPS_AHEAD, min(wanted, _MAX_AHEAD_BYTES // max(1, num_samples * clip_bytes)))


def _pieces(samples: range) -> list[range]:
    return [samples[start : start + _SAMPLES_PER_PIECE] for start in range(0, len(samples), _SAMPLES_PER_PIECE)]
