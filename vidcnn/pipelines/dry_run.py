"""What an inference job would do, without doing it: all videos that are left are planned, and nothing is written."""

from __future__ import annotations

import math

from vidcnn.cluster import share_resources
from vidcnn.config import InferSpec
from vidcnn.pipelines.counting import count_source
from vidcnn.pipelines.prepare import prepare
from vidcnn.pipelines.stages import PlanCounts
from vidcnn.predictions.places import look_at
from vidcnn.reporting.results import SourcePlan


def plan_source(spec: InferSpec) -> SourcePlan:
    """Tell what an inference job would do, without doing it.

    Raises:
        VidcnnError: The job could not be done.
    """
    hint = "what was committed stays; the same command continues"
    with prepare(spec, look_at, hint=hint, computes=False) as prepared:
        job, todo = prepared.job, prepared.todo
        counts: list[PlanCounts] = []
        if todo.num_videos:
            shares = share_resources(prepared.machine, use_gpus=False)
            counts = list(count_source(todo, job.plan, job.schema, shares))
        return SourcePlan(
            num_videos=todo.num_listed,
            num_videos_done=todo.num_listed - todo.num_videos - todo.num_waiting,
            num_videos_waiting=todo.num_waiting,
            num_videos_planned=sum(count.num_videos for count in counts),
            num_clips=sum(count.num_clips for count in counts),
            seconds=math.fsum(count.seconds for count in counts),
            bad_videos=tuple(sorted(bad for count in counts for bad in count.bad_videos)),
            ignored=dict(job.listing.ignored),
            empty_sources=tuple(job.listing.empty_sources),
            unused_columns=dict(job.listing.unused_columns),
        )
