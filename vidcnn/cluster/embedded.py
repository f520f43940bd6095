"""An embedded Ray, which begins and ends with the command, and prints nothing."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from vidcnn.cluster.environment import own_environment
from vidcnn.cluster.ray_internals import on_loopback, same_search_path
from vidcnn.cluster.resources import Machine
from vidcnn.cluster.room import check_room, start_error
from vidcnn.cluster.silence import silence
from vidcnn.cluster.starting import RayStartError, init_ray
from vidcnn.cluster.watch import MARK, Watch, find_servers
from vidcnn.cluster.witness import Witness
from vidcnn.errors import RayDiedError, UsageError
from vidcnn.interrupts import last_hint, uninterrupted
from vidcnn.processes import end_processes, processes_with
from vidcnn.storage.scratch import scratch_directory

_MIN_OBJECT_STORE_BYTES = 256 * 2**20
_MAX_OBJECT_STORE_BYTES = 4 * 2**30

RAY_FOLDER = "r"
"""Ray's folder in the scratch directory: Ray opens what is its own to everybody, so what is above it has to be closed.
The name is short, as those of sockets must be."""

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
        UsageError: This process has a Ray already.
        VidcnnError: Ray does not start, or has no room to.
    """
    import ray

    if ray.is_initialized():
        raise UsageError(
            "this process uses a Ray of its own already",
            "call ray.shutdown() first; or classify in this process with vidcnn.load, which takes no Ray",
        )
    base = _scratch_base()
    check_room(base)
    with (
        own_environment(),
        silence() if quiet else nullcontext(),
        scratch_directory("vidcnn-ray-", base, end_users=_end_users) as scratch,
        Witness(scratch, last_hint()) as witness,
    ):
        is_dead = False
        try:
            with _start_ray(num_gpus, scratch, witness):
                resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
                yield Machine(resources.get("CPU", 1.0), resources.get("GPU", 0.0), resources.get("memory", 2.0**30))
        except RayDiedError:
            is_dead = True
            witness.stay()
            raise
        finally:
            with uninterrupted():
                if not is_dead:
                    witness.ending()
                _end_ray(scratch, is_dead=is_dead)


def room_wanted() -> tuple[Path, int]:
    """Return the folder in which an embedded Ray would put its files, and how large its object store would be."""
    return _scratch_base(), _object_store_bytes()


def _end_ray(scratch: Path, *, is_dead: bool) -> None:
    """End Ray, and what it leaves: its agents outlive it by up to a minute."""
    import ray

    if is_dead:
        _end_users(scratch)
        atexit.unregister(ray.shutdown)  # it would wait for what is dead
    else:
        started = processes_with(MARK, str(scratch))
        ray.shutdown()
        end_processes(started)


def _end_users(scratch: Path) -> None:
    """End the processes of a Ray that is dead."""
    end_processes(processes_with(MARK, str(scratch)), patience_seconds=0)


def _scratch_base() -> Path:
    """Return where Ray's files go. The names of its sockets, which it puts there too, must stay short."""
    usual = Path(os.environ.get("RAY_TMPDIR", "/tmp"))
    return usual if os.access(usual, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _start_ray(num_gpus: int | None, scratch: Path, witness: Witness) -> ExitStack:
    """Start Ray, and return the watch over it, to be left when it is to end."""
    others: set[int] = set()  # what attempts that failed have started
    for num_left in reversed(range(_NUM_ATTEMPTS)):
        with ExitStack() as stack:
            watch = Watch(partial(_servers_besides, others, scratch), partial(_end_users, scratch))
            stack.enter_context(watch)
            os.environ[MARK] = str(scratch)  # no longer than it takes: other processes of this one are its own business
            try:
                with on_loopback():
                    init_ray(
                        address="local",
                        num_gpus=num_gpus,
                        include_dashboard=False,
                        object_store_memory=_object_store_bytes(),
                        job_config=same_search_path(),
                        _temp_dir=str(scratch / RAY_FOLDER),
                    )
            except RayStartError as error:
                watch.stop()
                if num_left and "timed out" in str(error):
                    others |= find_servers(str(scratch)).keys()
                    continue
                raise start_error(str(error), scratch) from error
            finally:
                os.environ.pop(MARK, None)
            watch.has_started()
            witness.watch(_servers_besides(others, scratch))
            return stack.pop_all()
    raise AssertionError("the last attempt returns or raises")


def _servers_besides(others: set[int], scratch: Path) -> dict[int, str]:
    return {pid: name for pid, name in find_servers(str(scratch)).items() if pid not in others}


def _object_store_bytes() -> int:
    """Return the size of the object store: enough for the clips in flight, and within the shared memory there is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = memory
    if os.path.isdir("/dev/shm"):
        status = os.statvfs("/dev/shm")
        shared = status.f_bavail * status.f_frsize
    wanted = min(0.15 * memory, 0.8 * shared, _MAX_OBJECT_STORE_BYTES)
    return int(max(_MIN_OBJECT_STORE_BYTES, wanted))
