"""Loading clips for training in Ray tasks, anywhere in the cluster.

A task loads a few samples by their numbers. It depends on nothing but these, so Ray may run it again wherever it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Any

import ray
from ray.exceptions import RayTaskError

from vidcnn.cluster import ResourcePlan
from vidcnn.errors import DataError, VidcnnError
from vidcnn.pipelines.measuring import FromCell, confined
from vidcnn.processes import lower_priority
from vidcnn.training.cell_loading import CellLoader, find_no_sample_in_cell
from vidcnn.training.clips import LoadedClips
from vidcnn.training.feed import TrainingData
from vidcnn.video.cell import this_cell
from vidcnn.video.stopwatch import Confined, weakest

_NUM_RETRIES = 5


class RayLoader:
    """Loads clips in Ray tasks.

    Args:
        data: Reference to the `TrainingData`, in a list, so that Ray hands on the reference instead of the object.
        resources: How the stages share the cluster.
        num_workers: Processes that train together, and share what loads.
        tell: Is called with what confined the processes that loaded, whenever there is something new in it.
    """

    def __init__(
        self, data: list[Any], resources: ResourcePlan, num_workers: int, tell: Callable[[Confined], object]
    ) -> None:
        self._data = data
        self._tell = tell
        self._told: Confined = ()
        self.num_at_once = ceil(resources.num_decoders / num_workers)
        options = {
            "num_cpus": resources.decoder_cpus,
            "memory": resources.decoder_memory_bytes,
            "max_retries": _NUM_RETRIES,
        }
        self._yields = resources.decoders_yield
        self._samples = ray.remote(_load_samples).options(**options)
        self._views = ray.remote(_load_views).options(**options)

    def start_samples(self, samples: range) -> Any:
        """Begin to load samples of the training videos, by their numbers."""
        return self._samples.remote(self._data, samples, self._yields)

    def start_views(self, video: int) -> Any:
        """Begin to load the clips of a validation video, by its index."""
        return self._views.remote(self._data, video, self._yields)

    def finish(self, started: Any) -> LoadedClips:
        """Return what was begun, when it is there.

        Raises:
            StorageError: The storage fails again and again.
        """
        try:
            loaded: FromCell[LoadedClips] = ray.get(started)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, VidcnnError) else error from None
        confinement = weakest(self._told, loaded.confined)
        if confinement != self._told:
            self._tell(confinement)
            self._told = confinement
        return loaded.found


def find_no_sample(data: TrainingData, yields: bool) -> tuple[DataError | None, Confined]:
    """Look, before the workers start, whether there is anything to train on.

    Args:
        data: The videos.
        yields: Whether what loads clips has a low priority: then this process and its child may load some, too.

    Returns:
        An error if there is nothing, and what confined the process that looked.
    """
    cell = this_cell(yields=yields)
    failure = find_no_sample_in_cell(data, cell)
    return failure, confined(cell)


def _load_samples(data: list[Any], samples: range, yields: bool) -> FromCell[LoadedClips]:
    clips = _loader(data[0], yields).start_samples(samples)
    return FromCell(clips, confined(this_cell(yields=yields)))


def _load_views(data: list[Any], video: int, yields: bool) -> FromCell[LoadedClips]:
    clips = _loader(data[0], yields).start_views(video)
    return FromCell(clips, confined(this_cell(yields=yields)))


@lru_cache(maxsize=1)
def _loader(data: Any, yields: bool) -> CellLoader:
    """Return this process's loader: the list of videos, which may be long, is unpacked once."""
    if yields:
        lower_priority()
    return CellLoader(ray.get(data), this_cell(yields=yields))
