"""Loading clips for training in Ray tasks, anywhere in the cluster.

A task loads a few samples by their numbers. It depends on nothing but these, so Ray may run it again wherever it likes.
What kills the process that decodes it costs the one sample that does so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import RayError

from vidcnn.cluster import Shares
from vidcnn.errors import VideoError
from vidcnn.pipelines.deaths import decoder_death
from vidcnn.processes import lower_priority
from vidcnn.training.clips import LoadedClips
from vidcnn.training.feed import DirectLoader, TrainingData

_NUM_RETRIES = 2


class _Started(NamedTuple):
    clips: Any
    samples: range | None


class RayLoader:
    """Loads clips in Ray tasks.

    Args:
        data: Reference to the `TrainingData`, in a list, so that Ray hands on the reference instead of the object.
        shares: How the stages share the cluster.
    """

    def __init__(self, data: list[Any], shares: Shares) -> None:
        self._data = data
        options = {
            "num_cpus": shares.decoder_cpus,
            "memory": shares.decoder_memory_bytes,
            "max_retries": _NUM_RETRIES,
        }
        self._yields = shares.decoders_yield
        self._samples = ray.remote(_load_samples).options(**options)
        self._views = ray.remote(_load_views).options(**options)

    def start_samples(self, samples: range) -> _Started:
        """Begin to load samples of the training videos, by their numbers."""
        return _Started(self._samples.remote(self._data, samples, self._yields), samples)

    def start_views(self, video: int) -> _Started:
        """Begin to load the clips of a validation video, by its index."""
        return _Started(self._views.remote(self._data, video, self._yields), None)

    def finish(self, started: _Started) -> LoadedClips:
        """Return what was begun, when it is there."""
        try:
            loaded: LoadedClips = ray.get(started.clips)
        except RayError as error:
            death = decoder_death(error)
            if death is None:
                raise
            if started.samples is None or len(started.samples) == 1:
                return self._failed(death)
            return _joined([self.finish(self.start_samples(range(n, n + 1))) for n in started.samples])
        return loaded

    def _failed(self, death: VideoError) -> LoadedClips:
        data: TrainingData = ray.get(self._data[0])
        shape = (1, data.clips.sampling.num_frames, *data.clips.preprocessing.crop, 3)
        return LoadedClips(np.zeros(shape, np.uint8), np.zeros(1, np.bool_), ((0, death),))


def _load_samples(data: list[Any], samples: range, yields: bool) -> LoadedClips:
    return _loader(data[0], yields).start_samples(samples)


def _load_views(data: list[Any], video: int, yields: bool) -> LoadedClips:
    return _loader(data[0], yields).start_views(video)


@lru_cache(maxsize=1)
def _loader(data: Any, yields: bool) -> DirectLoader:
    """Return this process's loader: the list of videos, which may be long, is unpacked once."""
    if yields:
        lower_priority()
    return DirectLoader(ray.get(data))


def _joined(parts: list[LoadedClips]) -> LoadedClips:
    failures = [(number, error) for number, part in enumerate(parts) for _, error in part.failures]
    return LoadedClips(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.flipped for part in parts]),
        tuple(failures),
    )
