"""The inference pipeline as a Ray Data dataset.

Takes tables of videos, returns rows of segments, in no particular order, while Ray Data keeps planners, decoders and
model actors busy and slows each down when the next one is behind.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset, TaskPoolStrategy
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from vidcnn.cluster import ResourcePlan
from vidcnn.cluster.ray_internals import keep_no_block_statistics
from vidcnn.errors import CONTINUES, VidcnnError, first_line, is_debugging
from vidcnn.inference.scoring import News, RowFormat
from vidcnn.pipelines.stages import CountStage, DecodeStage, PlanCounts, PlanStage, ScoreStage
from vidcnn.reporting.bottleneck import Meter
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.planning import PlannedSegment, PlanSettings

_NUM_RETRIES = 1
"""How often planning and scoring are given to another process when their own has died."""
_NO_RETRIES = 0
"""A decoding task hands on batches before it is done: what it has not handed on when it dies is done again apart."""


@dataclass(frozen=True)
class StageSettings:
    """What the stages depend on.

    Attributes:
        plan: For planning.
        decode: For decoding.
        classifier: Arguments of the `Classifier`; `bundle` is a reference to the model bundle.
        row_format: How rows are made.
        max_unit_frames: Frames of a unit of work.
    """

    plan: PlanSettings
    decode: DecodeSettings
    classifier: dict[str, Any]
    row_format: RowFormat
    max_unit_frames: int


def score_videos(
    videos: Sequence[pa.Table], settings: StageSettings, resources: ResourcePlan, meter: Meter | None = None
) -> Generator[list[News], None, None]:
    """Plan, decode and classify videos.

    Args:
        videos: Tables of `vidcnn.pipelines.stages.video_table`, each planned by one task.
        settings: What the stages depend on.
        resources: How the stages share the cluster.
        meter: Takes what the stages measure of themselves.

    Yields:
        Some rows of some segments, and what cannot be done.

    Raises:
        VidcnnError: The model cannot be loaded or gives no numbers, or a stage failed through no fault of a video.
    """
    planned = _plan(videos, settings.plan, settings.row_format.schema, resources, settings.max_unit_frames)
    dataset = _decode(planned, settings, resources).map_batches(
        ScoreStage,
        fn_constructor_args=(settings.classifier, settings.row_format),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(min_size=resources.min_actors, max_size=resources.max_actors),
        num_cpus=resources.actor_cpus,
        num_gpus=resources.actor_gpus or None,
        ray_remote_args_fn=_actor_retries,
    )
    for block in _blocks(dataset):
        for packed, times in zip(block["news"], block["times"], strict=True):
            if meter is not None and times.is_valid:
                meter.add(pickle.loads(times.as_py()))
            yield _news(packed)


def plan_videos(
    videos: Sequence[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[tuple[list[PlannedSegment], list[News]]]:
    """Plan videos, and go no further.

    Yields:
        Planned segments, and the errors of videos that have none.
    """
    dataset = _plan(videos, settings, schema, resources, MAX_SEGMENT_FRAMES)
    for block in _blocks(dataset):
        for unit, news in zip(block["unit"], block["news"], strict=True):
            yield pickle.loads(unit.as_py()) if unit.is_valid else [], _news(news) if news.is_valid else []


def count_plans(
    videos: Sequence[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[PlanCounts]:
    """Plan videos, and count what they would give.

    Yields:
        Counts for a table of `videos`. There are none for a table whose process died.
    """
    for block in _blocks(_plan(videos, settings, schema, resources, MAX_SEGMENT_FRAMES, CountStage)):
        for packed in block["counts"]:
            counts = pickle.loads(packed.as_py())
            if isinstance(counts, Exception):
                raise counts
            yield counts


def _plan(
    videos: Sequence[pa.Table],
    settings: PlanSettings,
    schema: pa.Schema,
    resources: ResourcePlan,
    max_unit_frames: int,
    stage: type[PlanStage] | None = None,
) -> Dataset:
    configure_ray_data()
    return ray.data.from_arrow(list(videos)).map_batches(
        (stage or PlanStage)(settings, schema, max_unit_frames=max_unit_frames),
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=resources.num_planners),
        num_cpus=resources.planner_cpus,
        ray_remote_args_fn=_task_retries,
    )


def _decode(planned: Dataset, settings: StageSettings, resources: ResourcePlan) -> Dataset:
    return planned.map_batches(
        DecodeStage(settings.decode, low_priority=resources.decoders_yield),
        batch_size=1,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=resources.num_decoders),
        num_cpus=resources.decoder_cpus,
        memory=resources.decoder_memory_bytes,
        ray_remote_args_fn=_no_retries,
    )


def _blocks(dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the blocks of a dataset as they are finished."""
    block: Any
    try:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if block.num_rows:
                yield block
    except RayError as error:
        raise VidcnnError(f"Ray gave up: {type(error).__name__}: {first_line(error)}", CONTINUES) from error


def _news(packed: Any) -> list[News]:
    """Unpack news; a failure among them is raised."""
    news: list[News] = pickle.loads(packed.as_py())
    for one in news:
        if isinstance(one, Exception):
            raise one
    return news


def _task_retries() -> dict[str, Any]:
    return {"max_retries": _NUM_RETRIES}


def _no_retries() -> dict[str, Any]:
    return {"max_retries": _NO_RETRIES}


def _actor_retries() -> dict[str, Any]:
    return {"max_task_retries": _NUM_RETRIES}


def configure_ray_data() -> None:
    """Make each row a block of its own, so that it is a task of its own, and keep Ray Data quiet."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.target_min_block_size = 0
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.log_internal_stack_trace = False
    context.max_errored_blocks = -1  # what is lost is seen from what is not committed, and done again
    warnings.filterwarnings("ignore", module=r"ray\.")
    warnings.filterwarnings("ignore", message=".*ray_remote_args_fn", category=RayDeprecationWarning)
    if not is_debugging():
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    keep_no_block_statistics()
