"""What runs in the processes of Ray Train."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from vidcnn.cluster import ResourcePlan
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.loading import RayLoader
from vidcnn.pipelines.status_actor import is_told, tell_confined
from vidcnn.training.recipe import Recipe
from vidcnn.training.state import RunSettings


@dataclass(frozen=True, eq=False)
class WorkerConfig:
    """What a worker is given.

    Attributes:
        bundle: Reference to the network to begin with, in a list, so that Ray hands on the reference.
        data: Reference to the `TrainingData`, in a list.
        recipe: How the network is trained.
        run: How the run continues.
        resources: How trainers and decoders share the cluster.
        status_actor: The `StatusActor`.
    """

    bundle: list[Any]
    data: list[Any]
    recipe: Recipe
    run: RunSettings
    resources: ResourcePlan
    status_actor: Any


def work(config: dict[str, Any]) -> None:
    """Train in one of the processes that Ray Train has started and connected."""
    import ray.train.torch
    import torch

    from vidcnn.training.batch import Worker
    from vidcnn.training.mirror import working_copy
    from vidcnn.training.run import run_worker

    job: WorkerConfig = config["job"]
    context = ray.train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    if job.resources.actor_threads is not None:
        torch.set_num_threads(job.resources.actor_threads)
    stop = job.status_actor.wait_for_stop.remote()
    tell = partial(tell_confined, job.status_actor)
    try:
        with working_copy(job.run, writes=worker.rank == 0) as copy:
            run_worker(
                ray.get(job.bundle[0]),
                job.recipe,
                ray.get(job.data[0]),
                RayLoader(job.data, job.resources, worker.count, tell),
                copy.run,
                worker,
                watch=job.status_actor.post.remote,
                must_stop=lambda: is_told(stop) or copy.is_cut_off(),
            )
    except VidcnnError as error:
        # Starting the workers again would not help: so for Ray Train, this is the end of the work.
        ray.get(job.status_actor.fail.remote(error))
