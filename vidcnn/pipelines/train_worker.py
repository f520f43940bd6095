"""What runs in the processes of Ray Train, and the board on which they say how far they are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import ray

from vidcnn.cluster import Shares
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.loading import RayLoader
from vidcnn.training.recipe import Recipe
from vidcnn.training.state import RunSettings, RunState


@dataclass(frozen=True, eq=False)
class Job:
    """What a worker is given.

    Attributes:
        bundle: Reference to the network to begin with, in a list, so that Ray hands on the reference.
        data: Reference to the `TrainingData`, in a list.
        recipe: How the network is trained.
        run: How the run goes on.
        shares: How trainers and decoders share the cluster.
        board: The `Board`.
    """

    bundle: list[Any]
    data: list[Any]
    recipe: Recipe
    run: RunSettings
    shares: Shares
    board: Any


@ray.remote
class Board:
    """Where the first worker says how far the run is, any worker why it cannot go on, and the driver to stop."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._state: RunState | None = None
        self._failure: VidcnnError | None = None

    async def post(self, state: RunState) -> None:
        """Say how far the run is."""
        self._state = state

    async def fail(self, failure: VidcnnError) -> None:
        """Say why the run cannot go on."""
        self._failure = failure

    async def read(self) -> tuple[RunState | None, VidcnnError | None]:
        """Return what was said last."""
        return self._state, self._failure

    async def stop(self) -> None:
        """Say that the run is to be saved, and to stop."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Wait until somebody says so."""
        await self._stop.wait()


def work(config: dict[str, Any]) -> None:
    """Train in one of the processes that Ray Train has started and connected."""
    import ray.train.torch  # the board, which is in this module too, need not wait for torch
    import torch

    from vidcnn.training.batch import Worker
    from vidcnn.training.mirror import working_copy
    from vidcnn.training.run import run_worker

    job: Job = config["job"]
    context = ray.train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    if job.shares.actor_threads is not None:
        torch.set_num_threads(job.shares.actor_threads)
    stop = job.board.wait_for_stop.remote()
    try:
        with working_copy(job.run, writes=worker.rank == 0) as run:
            run_worker(
                ray.get(job.bundle[0]),
                job.recipe,
                ray.get(job.data[0]),
                RayLoader(job.data, job.shares),
                run,
                worker,
                watch=job.board.post.remote,
                must_stop=lambda: bool(ray.wait([stop], timeout=0)[0]),
            )
    except VidcnnError as error:
        # Starting the workers again would not help: so for Ray Train, this is the end of the work.
        ray.get(job.board.fail.remote(error))
