"""How long an inference job would take, from running it on a sample of its source; no row is written.

Some videos are chosen from all over the source by size. They are planned whole, which shows how many clips the source
has; and some segments of each pass through the real stages for a bounded time, which shows how fast that is here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from vidcnn.cluster import ResourcePlan
from vidcnn.config import InferSpec
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.runtime import ModeError
from vidcnn.inference.scoring import SegmentRows
from vidcnn.pipelines.executors import Executor, StageSettings
from vidcnn.pipelines.pending import Pending
from vidcnn.pipelines.prepare import prepare
from vidcnn.pipelines.stages import pack_video, unpack_rows, unpack_videos, video_table
from vidcnn.predictions.output_storage import look_at
from vidcnn.reporting.bottleneck import Meter, find_bottleneck
from vidcnn.reporting.estimating import Range, Stratum, cut_strata, estimate_clips, estimate_seconds
from vidcnn.reporting.results import Estimate
from vidcnn.sources import SourceVideo
from vidcnn.video.planning import PlannedSegment

NUM_SAMPLED = 64
"""Videos that are planned; smaller sources are planned whole."""
MAX_SECONDS = 20.0
"""How long clips are classified, from the first rows on."""
_MAX_CLIPS = 50_000
"""Clips that are classified, at most."""


@dataclass(frozen=True)
class _Sample:
    """The videos that were planned.

    Attributes:
        videos: The chosen videos, from everywhere in the source.
        segments: What is left to do of each; nothing where it cannot be read.
        num_bad: How many cannot be read.
    """

    videos: list[SourceVideo]
    segments: list[list[PlannedSegment]]
    num_bad: int

    @property
    def num_clips(self) -> list[int]:
        return [sum(planned.segment.num_clips for planned in segments) for segments in self.segments]

    @property
    def num_short_clips(self) -> int:
        """How many clips are longer than their video."""
        return sum(
            planned.segment.num_clips for segments in self.segments for planned in segments if planned.segment.is_short
        )


def estimate_source(spec: InferSpec) -> Estimate:
    """Estimate what an inference job would take.

    Raises:
        VidcnnError: The job could not be done.
    """
    began = time.monotonic()
    with prepare(spec, look_at, hint="nothing was written", computes=True) as prepared:
        job, pending = prepared.job, prepared.pending
        pending.wait()
        if not pending.num_videos:
            return _nothing_to_do(pending)
        strata, rows = _choose(pending)
        planning = time.monotonic()
        sample = _plan(job, rows, *prepared.choose_planner())
        began += time.monotonic() - planning  # a run does this while it decodes
        clips = estimate_clips(strata, sample.num_clips)
        executor = prepared.choose_executor(int(clips.best))
        runtime = prepared.choose_runtime(int(clips.best))
        resources = prepared.plan_resources(int(clips.best))
        is_gpu = prepared.device == "cuda"
        trial: _Trial | None = None
        while trial is None:
            try:
                trial = _Trial(executor, sample, prepared.stage_settings(runtime, resources), resources, is_gpu=is_gpu)
            except ModeError:  # then a run does the same
                runtime = runtime.safer()
        starting = trial.first_rows - began if trial.arrivals else time.monotonic() - began
        is_whole = clips.is_exact and trial.is_complete and trial.num_clips == clips.best
        return Estimate(
            num_videos=pending.num_videos,
            num_videos_done=pending.num_listed - pending.num_videos - pending.num_waiting,
            num_sampled=len(sample.videos),
            num_bad=sample.num_bad,
            num_clips_sampled=trial.num_clips,
            clips=clips,
            seconds=estimate_seconds(clips, starting_seconds=starting, arrivals=trial.arrivals, is_whole=is_whole),
            num_machines=prepared.machine.num_nodes,
            clips_per_second=trial.clips_per_second,
            bottleneck=trial.bottleneck,
            num_clips_planned=sum(sample.num_clips),
            num_short_clips=sample.num_short_clips,
            confinement=dict(trial.confined),
        )


class _Trial:
    """Some segments of a sample, run through the real stages for a bounded time.

    Attributes:
        arrivals: When rows arrived, in seconds of `time.monotonic`, and for how many clips.
        num_clips: Clips that were classified, or could not be decoded.
        is_complete: Whether all of these segments were done in the time.
        bottleneck: What limited it.
        confined: What confined the processes that read or decoded.
    """

    def __init__(
        self,
        executor: Executor,
        sample: _Sample,
        settings: StageSettings,
        resources: ResourcePlan,
        *,
        is_gpu: bool,
    ) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.is_complete = False
        meter = Meter()
        tables = list(_trial_tables(sample))
        if tables:
            with closing(executor.score_videos(tables, settings, resources, meter)) as arriving:
                for news in arriving:
                    now = time.monotonic()
                    self.arrivals.append((now, sum(one.rows.num_rows for one in news if isinstance(one, SegmentRows))))
                    if now - self.arrivals[0][0] > MAX_SECONDS:
                        break
                else:
                    self.is_complete = True
        self.confined = meter.times.confined
        self.num_clips = sum(num_clips for _, num_clips in self.arrivals)
        figures = meter.figures(
            elapsed_seconds=0.0,
            num_planners=resources.num_planners,
            num_decoders=resources.num_decoders,
            uses_gpus=is_gpu,
        )
        self.bottleneck = None
        if figures is not None:
            steady = replace(figures, elapsed_seconds=figures.steady_seconds, starting_seconds=0.0)
            self.bottleneck = find_bottleneck(steady)

    @property
    def first_rows(self) -> float:
        """When the first rows arrived."""
        return self.arrivals[0][0]

    @property
    def clips_per_second(self) -> float | None:
        """Speed from the first rows to the last; None where that time is too short."""
        seconds = self.arrivals[-1][0] - self.arrivals[0][0] if self.arrivals else 0.0
        return (self.num_clips - self.arrivals[0][1]) / seconds if seconds > 1.0 else None


def _choose(pending: Pending) -> tuple[list[Stratum], list[bytes]]:
    """Choose videos from all over the source by size, as rows of `pack_video`."""
    sizes = (video.size_bytes for table in pending.videos for video in unpack_videos(table))
    strata = cut_strata(np.fromiter(sizes, np.int64, pending.num_videos), NUM_SAMPLED)
    chosen: dict[int, bytes] = {stratum.index: b"" for stratum in strata}
    start = 0
    for table in pending.videos:
        for index in chosen.keys() & range(start, start + table.num_rows):
            chosen[index] = table["video"][index - start].as_py()
        start += table.num_rows
    return strata, [chosen[stratum.index] for stratum in strata]


def _plan(job: InferenceJob, rows: Sequence[bytes], executor: Executor, resources: ResourcePlan) -> _Sample:
    videos = [video for video, _ in unpack_rows(rows)]
    segments: dict[str, list[PlannedSegment]] = {}
    num_bad = 0
    for unit, news in executor.plan_videos([video_table([row]) for row in rows], job.plan, job.schema, resources):
        num_bad += len(news)
        for planned in unit:
            segments.setdefault(planned.video.name, []).append(planned)
    return _Sample(videos, [segments.get(video.name, []) for video in videos], num_bad)


def _trial_tables(sample: _Sample) -> Iterator[pa.Table]:
    """Take a like number of segments of each video, spread over it, and leave out the others as if they were done.

    The videos come in an order of chance, since only the first few may be reached.
    """
    readable = [(video, segments) for video, segments in zip(sample.videos, sample.segments, strict=True) if segments]
    random.Random(0).shuffle(readable)
    share = _MAX_CLIPS // max(1, len(readable))
    for video, segments in readable:
        mean_clips = sum(planned.segment.num_clips for planned in segments) / len(segments)
        number = min(len(segments), max(1, int(share / mean_clips)))
        taken = {segments[len(segments) * position // number].segment.index for position in range(number)}
        count = segments[0].segment.count
        yield video_table([pack_video(video, (count, frozenset(range(count)) - taken))])


def _nothing_to_do(pending: Pending) -> Estimate:
    nothing = Range(0.0, 0.0, 0.0)
    return Estimate(0, pending.num_listed - pending.num_waiting, 0, 0, 0, nothing, nothing, 1, None, None)
