"""What an inference job would do, without doing it: all videos that are left are planned, and nothing is written."""

from __future__ import annotations

import math
from contextlib import ExitStack
from functools import partial

from vidcnn.cluster import open_ray, share_resources
from vidcnn.config import InferSpec
from vidcnn.interrupts import interruptible
from vidcnn.pipelines.counting import count_source
from vidcnn.pipelines.infer import Job, look_at_output, start_and_load
from vidcnn.pipelines.stages import PlanCounts
from vidcnn.reporting.results import SourcePlan


def plan_source(spec: InferSpec) -> SourcePlan:
    """Tell what an inference job would do, without doing it.

    Raises:
        VidcnnError: The job could not be done.
    """
    with ExitStack() as stack:
        stack.enter_context(interruptible("what was committed stays; the same command continues"))
        storage = look_at_output(spec)
        start_ray = partial(stack.enter_context, open_ray(use_gpus=False))
        machine, bundle = start_and_load(spec, start_ray, loads_torch=False)
        job = Job(spec, bundle)
        output = stack.enter_context(job.open_output(storage))
        job.recorded_runtime(output)
        todo = job.todo(output)
        counts: list[PlanCounts] = []
        if todo.num_videos:
            shares = share_resources(machine or start_ray(), use_gpus=False)
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
