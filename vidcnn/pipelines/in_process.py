"""The stages of an inference job in threads of this process, for a few videos: there is no Ray to start.

Planning and decoding run in child processes, as ever, so a video that crashes libav does no harm. Threads hand on what
these give, and each stage waits when the next one is behind::

    planner --units--> decoders --batches of clips--> models --news--> the caller
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

import pyarrow as pa

from vidcnn.cluster import ResourcePlan
from vidcnn.inference.scoring import News
from vidcnn.pipelines.channels import Channel, Writers
from vidcnn.pipelines.executors import StageSettings
from vidcnn.pipelines.scan_stage import ScanStage
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
from vidcnn.video.cell import Cell, take_cell
from vidcnn.video.planning import PlannedSegment, PlanSettings
from vidcnn.video.scanning import ScanSettings

_NUM_AHEAD = 2
"""Units that wait for each decoder, and batches of clips that wait for each model."""
_ENDING_SECONDS = 5.0
"""How long to wait for threads that are to end early: a batch in the model takes less."""


def score_videos(
    videos: Iterable[pa.Table], settings: StageSettings, resources: ResourcePlan, meter: Meter | None = None
) -> Generator[list[News], None, None]:
    """Plan, decode and classify videos (see `vidcnn.pipelines.executors.Executor`)."""
    num_decoders, num_models = resources.num_decoders, resources.max_actors
    units = Channel[pa.Table](num_writers=1, capacity=_NUM_AHEAD * num_decoders)
    batches = Channel[pa.Table](num_writers=num_decoders, capacity=_NUM_AHEAD * num_models)
    scored = Channel[pa.Table](num_writers=num_models, capacity=_NUM_AHEAD * num_models)

    def plan() -> None:
        # It has counted some clips already; and a thread that outlives its run must not share it with the next one.
        with take_cell(yields=False) as cell:
            schema, max_unit_frames = settings.row_format.schema, settings.max_unit_frames
            stage = PlanStage(settings.plan, schema, max_unit_frames=max_unit_frames, cell=cell)
            for table in videos:
                units.write_all(stage(table))

    def decode() -> None:
        with Cell(yields=resources.decoders_yield) as cell:
            stage = DecodeStage(settings.decode, low_priority=False, cell=cell)
            for unit in units:
                batches.write_all(stage(unit))

    def score(number: int) -> None:
        arguments = dict(settings.classifier)
        if num_models > 1 and arguments["device"] == "cuda":
            arguments["device"] = f"cuda:{number}"  # Ray shows each actor one GPU; here each thread sees them all
        stage = ScoreStage(lambda: load_classifier(settings.bundle, **arguments), settings.row_format)
        for batch in batches:
            scored.write_all([stage(batch)])

    work: list[tuple[Callable[[], None], Channel[pa.Table]]] = [(plan, units), *[(decode, batches)] * num_decoders]
    work += [(partial(score, number), scored) for number in range(num_models)]
    with Writers(work, ending_seconds=_ENDING_SECONDS):
        for table in scored:
            yield from unpack_news(table, meter)


def scan_videos(
    videos: Iterable[pa.Table], settings: ScanSettings, resources: ResourcePlan, meter: Meter
) -> Generator[list[News], None, None]:
    """Scan videos (see `vidcnn.pipelines.executors.Executor`)."""
    num_scanners = resources.num_decoders
    tables = Channel[pa.Table](num_writers=1, capacity=_NUM_AHEAD)
    scanned = Channel[pa.Table](num_writers=num_scanners, capacity=_NUM_AHEAD * num_scanners)

    def list_tables() -> None:
        tables.write_all(videos)

    def scan() -> None:
        with Cell() as cell:
            stage = ScanStage(settings, cell)
            for table in tables:
                scanned.write_all(stage(table))

    with Writers([(list_tables, tables), *[(scan, scanned)] * num_scanners], ending_seconds=_ENDING_SECONDS):
        for table in scanned:
            yield from unpack_news(table, meter)


def plan_videos(
    videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[tuple[list[PlannedSegment], list[News]]]:
    """Plan videos only (see `vidcnn.pipelines.executors.Executor`)."""
    stage = PlanStage(settings, schema, max_unit_frames=MAX_SEGMENT_FRAMES)
    for table in videos:
        for planned in stage(table):
            yield from unpack_plans(planned)


def count_plans(
    videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Generator[PlanCounts, None, None]:
    """Plan videos, and count what they would give (see `vidcnn.pipelines.executors.Executor`)."""
    stage = CountStage(settings, schema, max_unit_frames=MAX_SEGMENT_FRAMES)
    for table in videos:
        for counted in stage(table):
            yield from unpack_counts(counted)
