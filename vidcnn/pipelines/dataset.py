"""The inference pipeline as a Ray Data dataset.

Takes tables of videos, returns rows of segments, in no particular order, while Ray Data keeps planners, decoders and
model actors busy and slows each down when the next one is behind.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset, TaskPoolStrategy
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidcnn.cluster import ResourcePlan
from vidcnn.cluster.ray_internals import blocks_of, internals_put_back, keep_no_block_statistics, keep_queues_short
from vidcnn.errors import CONTINUES, VidcnnError, first_line, is_debugging
from vidcnn.inference.scoring import Model, News
from vidcnn.pipelines.executors import StageSettings
from vidcnn.pipelines.scan_stage import ScanStage
from vidcnn.pipelines.spool import Spool, load_table, read_spool
from vidcnn.pipelines.stages import (
    CountStage,
    DecodeStage,
    PlanCounts,
    PlanStage,
    ScoreStage,
    load_classifier,
    unpack_counts,
    unpack_news,
    unpack_plans,
)
from vidcnn.reporting.bottleneck import Meter
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES
from vidcnn.video.planning import PlannedSegment, PlanSettings
from vidcnn.video.scanning import ScanSettings

_NUM_RETRIES = 1
"""How often planning and scoring are given to another process when their own has died."""
_NO_RETRIES = 0
"""A decoding task hands on batches before it is done: what it has not handed on when it dies is done again apart."""
_NUM_FIRST_TABLES = 64
_NUM_WAITING = 16
"""Units that may wait for each decoder, and half as many tables of videos for each planner."""

_Planning = Callable[[pa.Table], Iterator[pa.Table]]


def score_videos(
    videos: Iterable[pa.Table], settings: StageSettings, resources: ResourcePlan, meter: Meter | None = None
) -> Generator[list[News], None, None]:
    """Plan, decode and classify videos (see `vidcnn.pipelines.executors.Executor`)."""
    load = partial(_load_classifier, [ray.put(settings.bundle)], settings.classifier)
    with _settings_for(resources):
        planned = _plan(videos, settings.plan, settings.row_format.schema, resources, settings.max_unit_frames)
        dataset = _decode(planned, settings, resources).map_batches(
            ScoreStage,
            fn_constructor_args=(load, settings.row_format),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ActorPoolStrategy(min_size=resources.min_actors, max_size=resources.max_actors),
            num_cpus=resources.actor_cpus,
            num_gpus=resources.actor_gpus or None,
            ray_remote_args_fn=_actor_retries,
        )
        for block in _blocks(dataset):
            yield from unpack_news(block, meter)


def plan_videos(
    videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[tuple[list[PlannedSegment], list[News]]]:
    """Plan videos only (see `vidcnn.pipelines.executors.Executor`)."""
    with _settings_for(resources):
        for block in _blocks(_plan(videos, settings, schema, resources, MAX_SEGMENT_FRAMES)):
            yield from unpack_plans(block)


def count_plans(
    videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Generator[PlanCounts, None, None]:
    """Plan videos, and count what they would give (see `vidcnn.pipelines.executors.Executor`)."""
    with _settings_for(resources):
        for block in _blocks(_plan(videos, settings, schema, resources, MAX_SEGMENT_FRAMES, CountStage)):
            yield from unpack_counts(block)


def scan_videos(
    videos: Iterable[pa.Table], settings: ScanSettings, resources: ResourcePlan, meter: Meter
) -> Generator[list[News], None, None]:
    """Scan videos (see `vidcnn.pipelines.executors.Executor`)."""
    with _settings_for(resources):
        scanned = _each_table(
            videos,
            ScanStage(settings),
            num_tasks=resources.num_decoders,
            num_cpus=resources.decoder_cpus,
            retries=_task_retries,  # what it hands on is the same each time
        )
        for block in _blocks(scanned):
            yield from unpack_news(block, meter)


def _settings_for(resources: ResourcePlan) -> AbstractContextManager[None]:
    return ray_data_settings(num_waiting=_NUM_WAITING * resources.num_decoders)


def _plan(
    videos: Iterable[pa.Table],
    settings: PlanSettings,
    schema: pa.Schema,
    resources: ResourcePlan,
    max_unit_frames: int,
    stage: type[PlanStage] | None = None,
) -> Dataset:
    return _each_table(
        videos,
        (stage or PlanStage)(settings, schema, max_unit_frames=max_unit_frames),
        num_tasks=resources.num_planners,
        num_cpus=resources.planner_cpus,
        retries=_task_retries,
    )


def _each_table(
    videos: Iterable[pa.Table],
    stage: _Planning,
    *,
    num_tasks: int,
    num_cpus: float,
    retries: Callable[[], dict[str, Any]],
) -> Dataset:
    """Let tasks do the tables of videos, which may still be listed."""
    if isinstance(videos, Spool) and not videos.is_short:
        listed, stage = _feed(videos), _PlanFed(stage)
    else:
        listed = ray.data.from_arrow(list(videos))
    return listed.map_batches(
        stage,
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=num_tasks),
        num_cpus=num_cpus,
        ray_remote_args_fn=retries,
    )


def _feed(videos: Spool) -> Dataset:
    """Let Ray Data read a spool while it grows: in a task on this machine, which has the file, and goes on for as long.

    If its process dies, another one begins again with the same tables. The first tables do not wait for it.
    """
    num_first = min(videos.num_tables, _NUM_FIRST_TABLES)
    first = [_one_table(content) for content in islice(read_spool(videos.path, videos.key), num_first)]
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    others = ray.data.from_arrow(pa.table({"path": [str(videos.path)], "key": [videos.key]})).map_batches(
        partial(_read_tables, start=num_first),
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=1),
        num_cpus=0,
        ray_remote_args_fn=lambda: {**_task_retries(), "scheduling_strategy": here},
    )
    return ray.data.from_arrow(first).union(others)


def _read_tables(spools: pa.Table, start: int) -> Iterator[pa.Table]:
    """Yield the tables of a spool from some on, each as one row."""
    for path, key in zip(spools["path"].to_pylist(), spools["key"].to_pylist(), strict=True):
        yield from map(_one_table, islice(read_spool(Path(path), key), start, None))


def _one_table(content: bytes) -> pa.Table:
    return pa.table({"table": pa.array([content], pa.large_binary())})


class _PlanFed:
    """Plans the videos of tables that `_one_table` returned."""

    def __init__(self, stage: _Planning) -> None:
        self._stage = stage

    def __call__(self, tables: pa.Table) -> Iterator[pa.Table]:
        for content in tables["table"]:
            yield from self._stage(load_table(content.as_buffer()))


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
        with blocks_of(dataset) as blocks:
            for block in blocks:
                if block.num_rows:
                    yield block
    except RayError as error:
        raise VidcnnError(f"Ray gave up: {type(error).__name__}: {first_line(error)}", CONTINUES) from error


def _load_classifier(bundle: list[Any], arguments: dict[str, Any]) -> Model:
    """Load a model in an actor; its bundle is a reference, in a list, so that Ray does not send it with each task."""
    return load_classifier(ray.get(bundle[0]), **arguments)


def _task_retries() -> dict[str, Any]:
    return {"max_retries": _NUM_RETRIES}


def _no_retries() -> dict[str, Any]:
    return {"max_retries": _NO_RETRIES}


def _actor_retries() -> dict[str, Any]:
    return {"max_task_retries": _NUM_RETRIES}


_SETTINGS: dict[str, Any] = {
    "target_max_block_size": 1,  # each row is a block of its own, and so a task of its own
    "target_min_block_size": 0,
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "log_internal_stack_trace": False,
    "max_errored_blocks": -1,  # what is lost is seen from what is not committed, and done again
    "execution_no_progress_timeout_s": -1,  # machines may be away, or nothing new be listed, for hours
}
"""Of Ray Data, as long as a run lasts."""


@contextmanager
def ray_data_settings(*, num_waiting: int) -> Iterator[None]:
    """Have Ray Data as a run needs it, and put back what it was: a notebook may use it for more than this.

    Args:
        num_waiting: Blocks that wait for a stage, after which the stage before it makes no more.
    """
    context = ray.data.DataContext.get_current()
    before = {name: getattr(context, name) for name in _SETTINGS if hasattr(context, name)}
    warnings.filterwarnings("ignore", module=r"ray\.")
    warnings.filterwarnings("ignore", message=".*ray_remote_args_fn", category=RayDeprecationWarning)
    if not is_debugging():
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with internals_put_back(context):
        keep_no_block_statistics()
        keep_queues_short(context, num_waiting)
        try:
            for name in before:
                setattr(context, name, _SETTINGS[name])
            yield
        finally:
            for name, value in before.items():
                setattr(context, name, value)
