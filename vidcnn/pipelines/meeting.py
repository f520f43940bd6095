"""How the workers of a training run find each other, where all of them are processes of this machine.

Of itself torch lets the first of them listen at all addresses of the machine, for whoever connects. Here they meet in a
file of their Ray's folder, which no other user may enter.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from vidcnn.cluster.ray_internals import session_folder


class LocalTorchConfig(TorchConfig):
    """A `TorchConfig` for workers that are all on this machine."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray Train connects the workers with."""
        return _FileBackend


class _FileBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(meet_in_file, os.path.join(session_folder(), f"workers-{time.time_ns()}"))
        super().on_start(worker_group, backend_config)


def meet_in_file(path: str) -> None:
    """Let this process find the others in a file when it connects by what is in its environment (``env://``).

    Args:
        path: The file, which is not there yet and is the same for all of them.
    """
    # A module of the same name as a function of its package: an import statement would give the function.
    rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")

    def meet(url: str, **options: Any) -> Iterator[tuple[Any, int, int]]:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        store = rendezvous.FileStore(path, size)
        if "timeout" in options:
            store.set_timeout(options["timeout"])
        yield store, rank, size

    rendezvous._rendezvous_handlers["env"] = meet
