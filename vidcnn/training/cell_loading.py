"""Loading clips for training in a process that may die, hang, or be let down by the storage.

Takes numbers of samples or of validation videos, returns their clips. What kills or stalls the process costs the one
sample that does so. Storage that fails is waited for; then it ends the run, which continues with the same command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from vidcnn.annotations import LabelledVideo
from vidcnn.choices import Interpolation
from vidcnn.errors import DataError, VideoError
from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.training.augment import Augmentation, prepare_augmenting
from vidcnn.training.cache_folder import OwnEntries
from vidcnn.training.clips import LoadedClips, entry_of
from vidcnn.training.feed import DirectLoader, TrainingData
from vidcnn.training.first_samples import find_no_sample
from vidcnn.training.views import LoadedViews, ViewSettings, load_views
from vidcnn.video.attempts import attempt
from vidcnn.video.cell import Cell, CellError
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.cell_worker import Preparation
from vidcnn.video.golden import check_decoder
from vidcnn.video.grants import Grant
from vidcnn.video.planning import DEFAULT_TIMEOUT_SECONDS

STORAGE_TRIES = RetryPolicy(num_tries=7, first_wait_seconds=1.0, growth=3.0, max_wait_seconds=60.0)
"""About three minutes: a run of days should not end over a storage that is restarted."""

register(LoadedClips, LoadedViews)

_SECONDS_PER_CLIP = 120.0
_LOOK_SECONDS = 300.0


class LoadRequest(NamedTuple):
    """What is loaded in one go.

    Attributes:
        kind: ``samples``, of the training videos; or ``views``, of a validation video.
        numbers: Numbers of the samples; or index of the video.
    """

    kind: Literal["samples", "views"]
    numbers: range


def load_views_in_cell(video: LabelledVideo, settings: ViewSettings, cell: Cell) -> LoadedViews:
    """Load the views of a video as `vidcnn.training.views.load_views` does, in a cell.

    Raises:
        StorageError: The storage fails again and again.
        DecoderError: This machine's decoder gives wrong pixels.
    """

    def allowed_seconds(_: LabelledVideo) -> float:
        return settings.plan.allowed_seconds(video.video) + _SECONDS_PER_CLIP * (settings.plan.clips.num_clips or 1)

    def load() -> LoadedViews:
        (views,) = cell.run(
            _load_views_each,
            [video],
            settings,
            seconds=allowed_seconds,
            grant=Grant.of([video.video]),
            sandbox=settings.plan.sandbox,
            preparation=(_prepare, (settings.preprocessing.interpolation, settings.exact, None)),
        )
        found: LoadedViews = views
        return found

    views = attempt(load, STORAGE_TRIES)
    return LoadedViews([views]) if isinstance(views, VideoError) else views


def _load_views_each(videos: Sequence[LabelledVideo], settings: ViewSettings) -> Iterator[LoadedViews]:
    check_decoder(settings.preprocessing.interpolation, exact=settings.exact)
    for video in videos:
        yield load_views(video, settings)


def find_no_sample_in_cell(data: TrainingData, cell: Cell) -> DataError | None:
    """Look for a first sample as `vidcnn.training.first_samples.find_no_sample` does, in a cell.

    Returns:
        None also where a video kills or stalls the process: it costs the samples that are taken of it, and no more.

    Raises:
        StorageError: The storage fails again and again.
    """

    def look() -> tuple[DataError | None]:
        (failure,) = cell.run(
            _find_no_sample_each,
            [data],
            seconds=lambda _: _LOOK_SECONDS,
            grant=_grant_of(data),
            sandbox=data.clips.sandbox,
            preparation=_preparation(data),
        )
        return (failure,)

    found = attempt(look, STORAGE_TRIES)
    return None if isinstance(found, VideoError) else found[0]


def _find_no_sample_each(data: Sequence[TrainingData]) -> Iterator[DataError | None]:
    yield from map(find_no_sample, data)


def load_each(requests: Sequence[LoadRequest], data: TrainingData | None) -> Iterator[LoadedClips]:
    """Load requests in a process of their own, which `vidcnn.video.cell` can kill.

    Args:
        requests: What to load.
        data: The videos; None takes those of the call before.
    """
    global _loader
    if data is not None:
        check_decoder(data.clips.preprocessing.interpolation, exact=False)
        _loader = DirectLoader(data)
    assert _loader is not None
    for position, request in enumerate(requests):
        at(position)
        if request.kind == "samples":
            yield _loader.start_samples(request.numbers)
        else:
            yield _loader.start_views(request.numbers[0])


_loader: DirectLoader | None = None


class CellLoader:
    """Loads clips in a cell, when they are asked for.

    Args:
        data: The videos.
        cell: Where they are decoded.
        policy: How often storage that fails is tried again.
    """

    def __init__(self, data: TrainingData, cell: Cell, policy: RetryPolicy = STORAGE_TRIES) -> None:
        self._data = data
        self._cell = cell
        self._policy = policy
        self._known_to = -1  # the child that has the data
        self._grant = _grant_of(data)

    def start_samples(self, samples: range) -> LoadedClips:
        """Load samples of the training videos, by their numbers.

        Raises:
            StorageError: The storage fails again and again.
        """
        if len(samples) == 1:
            return self._load(LoadRequest("samples", samples))
        try:
            return retrying(lambda: self._load_once(LoadRequest("samples", samples)), policy=self._policy)
        except CellError:
            return _joined([self.start_samples(samples[n : n + 1]) for n in range(len(samples))])

    def start_views(self, video: int) -> LoadedClips:
        """Load the clips of a validation video, by its index.

        Raises:
            StorageError: The storage fails again and again.
        """
        return self._load(LoadRequest("views", range(video, video + 1)))

    def finish(self, started: LoadedClips) -> LoadedClips:
        """Return what was loaded."""
        return started

    def _load(self, request: LoadRequest) -> LoadedClips:
        loaded = attempt(lambda: self._load_once(request), self._policy)
        return self._failed(loaded) if isinstance(loaded, VideoError) else loaded

    def _load_once(self, request: LoadRequest) -> LoadedClips:
        sandbox, preparation = self._data.clips.sandbox, _preparation(self._data)
        generation = self._cell.ready(sandbox, preparation)
        data = None if generation == self._known_to else self._data
        arguments: tuple[Any, ...] = (data,)
        values = list(
            self._cell.run(
                load_each,
                [request],
                *arguments,
                seconds=self._allowed_seconds,
                grant=self._grant,
                sandbox=sandbox,
                preparation=preparation,
            )
        )
        self._known_to = self._cell.generation
        loaded: LoadedClips = values[0]
        return loaded

    def _allowed_seconds(self, request: LoadRequest) -> float:
        num_clips = len(request.numbers) if request.kind == "samples" else self._data.num_val_clips
        return DEFAULT_TIMEOUT_SECONDS + _SECONDS_PER_CLIP * num_clips

    def _failed(self, error: VideoError) -> LoadedClips:
        clips = self._data.clips
        shape = (1, clips.sampling.num_frames, *clips.preprocessing.crop, 3)
        nothing = np.zeros(1, np.bool_)
        return LoadedClips(np.zeros(shape, np.uint8), nothing, ((0, error),), nothing)


def _grant_of(data: TrainingData) -> Grant:
    videos = (*data.train, *data.val)
    entries = None
    if data.cache is not None:
        entries = OwnEntries(data.cache.folder(), lambda: frozenset(entry_of(video, data.clips) for video in videos))
    return Grant.of((labelled.video for labelled in videos), entries)


def _preparation(data: TrainingData) -> Preparation:
    return _prepare, (data.clips.preprocessing.interpolation, False, data.augmentation)


def _prepare(interpolation: Interpolation, exact: bool, augmentation: Augmentation | None) -> None:
    """Load what decoding and augmenting need, and use it once: much of it is only loaded then."""
    check_decoder(interpolation, exact=exact)
    np.random.default_rng(0).permutation(2)
    if augmentation is not None:
        prepare_augmenting(augmentation)


def _joined(parts: list[LoadedClips]) -> LoadedClips:
    failures = [(number, error) for number, part in enumerate(parts) for _, error in part.failures]
    return LoadedClips(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.flipped for part in parts]),
        tuple(failures),
        np.concatenate([part.short for part in parts]),
    )
