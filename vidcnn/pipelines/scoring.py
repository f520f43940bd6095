"""Scores of labelled videos: views are loaded in Ray tasks, and a pool of model actors scores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from vidcnn.annotations import LabelledVideo
from vidcnn.cluster import Machine, ResourcePlan, plan_resources
from vidcnn.config import EvaluateSpec
from vidcnn.errors import PrecisionError, VidcnnError, VideoError, first_line
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines.measuring import FromCell, confined
from vidcnn.processes import lower_priority
from vidcnn.training.cell_loading import load_views_in_cell
from vidcnn.training.views import LoadedViews, ViewSettings
from vidcnn.video.cell import this_cell

_NUM_AHEAD = 2
"""Videos that each model actor has before it: one is scored while the other is loaded."""


class VideoScores(NamedTuple):
    """What the clips of a video score.

    Attributes:
        scores: float32 (n, K), the mean over the crops of each clip.
        is_short: Whether the video is shorter than one clip.
    """

    scores: Any
    is_short: bool


Scored: TypeAlias = FromCell[VideoScores | VideoError]
"""The scores of a video, or why there are none; and what confined the process that loaded it."""


def score_videos(
    samples: tuple[LabelledVideo, ...],
    bundle: Bundle,
    views: ViewSettings,
    spec: EvaluateSpec,
    machine: Machine,
    device: str,
) -> Iterator[tuple[int, Scored]]:
    """Yield the index of each video with the scores of its clips, or why there are none, as they are ready.

    Args:
        samples: The videos.
        bundle: The model.
        views: What is loaded of each video.
        spec: The job, with its precision and batch chosen.
        machine: What there is to share.
        device: Of the model actors, `cpu` or `cuda`.

    Raises:
        PrecisionError: The model does not compute rightly in this precision; its actors are gone.
        VidcnnError: Ray or the storage gave up.
    """
    num_views = len(samples) * spec.clips * views.num_crops
    resources = plan_resources(machine, use_gpus=device == "cuda", num_decoders=spec.decoders, num_clips=num_views)
    load = ray.remote(_load).options(
        num_cpus=resources.decoder_cpus, memory=resources.decoder_memory_bytes, max_retries=1
    )
    options = {
        "num_cpus": resources.actor_cpus,
        "num_gpus": resources.actor_gpus or None,
        "max_restarts": 2,
        "scheduling_strategy": "SPREAD",  # of themselves, those that reserve little come all to one machine
    }
    reference = ray.put(bundle)
    actors = [
        _Scorer.options(**options, max_task_retries=2).remote(reference, _classifier(spec, device, resources))  # type: ignore[attr-defined]
        for _ in range(resources.max_actors)
    ]

    def start(video: int, actor: Any) -> Any:
        return actor.score.remote(load.remote(samples[video], views, resources.decoders_yield))

    try:
        yield from _pump(range(len(samples)), actors, start)
    except PrecisionError:
        for actor in actors:  # others are to take their processors
            ray.kill(actor)
        raise


def _classifier(spec: EvaluateSpec, device: str, resources: ResourcePlan) -> dict[str, Any]:
    return {
        "device": device,
        "precision": spec.precision,
        "batch_size": spec.batch_size,
        "num_threads": resources.actor_threads,
    }


def _pump(videos: range, actors: list[Any], start: Callable[[int, Any], Any]) -> Iterator[tuple[int, Scored]]:
    """Keep every actor busy, and yield what is done."""
    waiting = iter(videos)
    running: dict[Any, tuple[int, Any]] = {}
    idle = actors * _NUM_AHEAD
    while True:
        for video in islice(waiting, len(idle)):
            actor = idle.pop(0)
            running[start(video, actor)] = (video, actor)
        if not running:
            return
        (done,), _ = ray.wait(list(running))
        video, actor = running.pop(done)
        idle.append(actor)
        yield video, _result(done)


def _result(done: Any) -> Scored:
    """Return the scores of a video, or why there are none."""
    try:
        scored: Scored = ray.get(done)
    except RayError as error:
        if isinstance(error, RayTaskError) and isinstance(error.cause, VidcnnError):
            raise error.cause from None
        raise VidcnnError(f"Ray gave up: {first_line(error)}", "run the same command again") from error
    return scored


def _load(sample: LabelledVideo, views: ViewSettings, yields: bool) -> FromCell[LoadedViews]:
    if yields:
        lower_priority()
    cell = this_cell(yields=yields)
    return FromCell(load_views_in_cell(sample, views, cell), confined(cell))


@ray.remote
class _Scorer:
    """A model actor."""

    def __init__(self, bundle: Bundle, classifier: dict[str, Any]) -> None:
        from vidcnn.inference.classifier import Classifier

        self._failure: VidcnnError | None = None
        try:
            self._classifier = Classifier(bundle, **classifier)
        except VidcnnError as error:  # from here it would reach the driver as the death of the actor
            self._failure = error

    def score(self, loaded: FromCell[LoadedViews]) -> Scored:
        """Return the scores of a video; or why no clip can be scored."""
        if self._failure is not None:
            raise self._failure
        return FromCell(self._score(loaded.found), loaded.confined)

    def _score(self, views: LoadedViews) -> VideoScores | VideoError:
        good = [view for view in views.clips if not isinstance(view, VideoError)]
        if not good:
            error = views.clips[0]
            assert isinstance(error, VideoError)
            return error
        num_crops = len(good[0])
        scores = self._classifier.predict(np.concatenate(good)).probabilities  # (n * num_crops, K)
        if num_crops > 1:
            scores = scores.reshape(len(good), num_crops, -1).mean(axis=1)
        return VideoScores(scores, views.is_short)
