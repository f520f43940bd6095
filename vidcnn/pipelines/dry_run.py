"""What an inference job would do, without doing it: all videos that are left are planned, and nothing is written."""

from __future__ import annotations

import math

from vidcnn.config import InferSpec
from vidcnn.errors import CONTINUES
from vidcnn.pipelines.counting import count_source
from vidcnn.pipelines.prepare import prepare
from vidcnn.pipelines.stages import PlanCounts
from vidcnn.predictions.output_storage import look_at
from vidcnn.reporting.results import SourcePlan
from vidcnn.video.stopwatch import weakest


def plan_source(spec: InferSpec) -> SourcePlan:
    """Return what an inference job would do, without doing it.

    Raises:
        VidcnnError: The job could not be done.
    """
    hint = CONTINUES
    with prepare(spec, look_at, hint=hint, computes=False) as prepared:
        job, pending = prepared.job, prepared.pending
        counts: list[PlanCounts] = []
        if pending.num_videos:
            executor, resources = prepared.choose_planner()
            counts = list(count_source(executor, pending, job.plan, job.schema, resources))
        return SourcePlan(
            num_videos=pending.num_listed,
            num_videos_done=pending.num_listed - pending.num_videos - pending.num_waiting,
            num_videos_waiting=pending.num_waiting,
            num_videos_planned=sum(count.num_videos for count in counts),
            num_clips=sum(count.num_clips for count in counts),
            num_short_clips=sum(count.num_short_clips for count in counts),
            seconds=math.fsum(count.seconds for count in counts),
            bad_videos=tuple(sorted(bad for count in counts for bad in count.bad_videos)),
            ignored=dict(job.listing.ignored),
            empty_sources=tuple(job.listing.empty_sources),
            unused_columns=dict(job.listing.unused_columns),
            confinement=dict(weakest(*(count.confined for count in counts))),
        )
