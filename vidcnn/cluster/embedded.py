"""An embedded Ray, which begins and ends with the command, and says nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from vidcnn.cluster.environment import prepare_environment
from vidcnn.cluster.resources import Machine
from vidcnn.cluster.silence import silence
from vidcnn.cluster.starting import RayStartError, init_ray
from vidcnn.errors import VidcnnError
from vidcnn.processes import descendants, end_processes, runs
from vidcnn.scratch import scratch_directory

_MIN_OBJECT_STORE_BYTES = 256 * 2**20
_MAX_OBJECT_STORE_BYTES = 4 * 2**30

_NUM_ATTEMPTS = 3
"""Ray gives up where its processes take more than 30 seconds to start, as they may on a machine that is busy."""


@contextmanager
def local_ray(*, num_gpus: int | None = None, quiet: bool = True) -> Iterator[Machine]:
    """Start an embedded Ray and end it with the block.

    Args:
        num_gpus: GPUs to use; None finds them.
        quiet: Keep what Ray prints from the user.

    Yields:
        What the machine offers.

    Raises:
        VidcnnError: Ray does not start.
    """
    prepare_environment()
    import ray

    with silence() if quiet else nullcontext(), scratch_directory("vidcnn-ray-", _scratch_base()) as scratch:
        others = set(descendants())
        try:
            _start_ray(num_gpus, scratch)
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield Machine(resources.get("CPU", 1.0), resources.get("GPU", 0.0), resources.get("memory", 2.0**30))
        finally:
            started = [process for process in descendants() if process not in others and runs(process, "ray")]
            ray.shutdown()
            end_processes(started)


def _scratch_base() -> Path:
    """Return where Ray's files go. The names of its sockets, which it puts there too, must stay short."""
    usual = Path(os.environ.get("RAY_TMPDIR", "/tmp"))
    return usual if os.access(usual, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _start_ray(num_gpus: int | None, scratch: Path) -> None:
    for num_left in reversed(range(_NUM_ATTEMPTS)):
        try:
            init_ray(
                address="local",
                num_gpus=num_gpus,
                include_dashboard=False,
                object_store_memory=_object_store_bytes(),
                _temp_dir=str(scratch),
            )
        except RayStartError as error:
            if num_left and "timed out" in str(error):
                continue
            raise VidcnnError(f"Ray does not start on this machine: {error}", "--debug shows more") from error
        return


def _object_store_bytes() -> int:
    """Return the size of the object store: enough for the clips in flight, and within the shared memory there is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = memory
    if os.path.isdir("/dev/shm"):
        status = os.statvfs("/dev/shm")
        shared = status.f_bavail * status.f_frsize
    wanted = min(0.15 * memory, 0.8 * shared, _MAX_OBJECT_STORE_BYTES)
    return int(max(_MIN_OBJECT_STORE_BYTES, wanted))
