"""The Ray that a command runs on, and how its processors are shared out.

`local_ray` starts an embedded Ray that begins and ends with the command and says nothing. `share_resources` decides,
from counts alone, how many decoders and model actors run at once and what each reserves.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from vidcnn.errors import UsageError, VidcnnError
from vidcnn.processes import descendants, end_processes, runs
from vidcnn.scratch import scratch_directory

LOW_PRIORITY = 10
"""Niceness of decoders that share processors with the model."""

_MIN_OBJECT_STORE_BYTES = 256 * 2**20
_MAX_OBJECT_STORE_BYTES = 4 * 2**30

_ACTOR_BYTES = 1_200_000_000
"""What a model actor on processors takes: torch itself, and a network of the zoo."""
_MAX_CPU_ACTORS = 16
"""Beyond this, actors get more threads instead."""
_MIN_CLIPS_PER_ACTOR = 32
"""While a further actor starts, which takes seconds of a processor, those that run do about this many clips."""

_QUIET_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_TQDM": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing is downloaded, reported home, or printed by an embedded Ray."""


@dataclass(frozen=True)
class Machine:
    """What a cluster offers, all nodes together.

    Attributes:
        num_cpus: Processors.
        num_gpus: GPUs.
        memory_bytes: Memory for tasks, without the object store.
    """

    num_cpus: float
    num_gpus: float
    memory_bytes: float


@dataclass(frozen=True)
class Shares:
    """How a pipeline's stages share a cluster.

    Attributes:
        min_actors: Model actors to start with.
        max_actors: Model actors at most.
        actor_cpus: Processors that each actor reserves.
        actor_gpus: GPUs that each actor reserves.
        actor_threads: Threads that each actor computes with; None leaves it to the GPU's host.
        num_decoders: Decoding tasks that run at once.
        decoder_cpus: Processors that each decoding task reserves.
        decoder_memory_bytes: Memory that each decoding task reserves.
        planner_cpus: Processors that each planning task reserves.
        decoders_yield: Whether decoders run at low priority, since the model needs the same processors.
    """

    min_actors: int
    max_actors: int
    actor_cpus: float
    actor_gpus: float
    actor_threads: int | None
    num_decoders: int
    decoder_cpus: float
    decoder_memory_bytes: int
    planner_cpus: float
    decoders_yield: bool


def share_resources(
    machine: Machine,
    *,
    use_gpus: bool,
    actors: tuple[int, int] | None = None,
    num_decoders: int | None = None,
    num_clips: int | None = None,
) -> Shares:
    """Decide how the stages of a pipeline share a cluster.

    With GPUs, each actor has one, and the processors decode. Without, both stages need the same processors, and which
    of them needs more is not known before the run. So as many decoders as processors may run, at low priority, beside
    actors that use all of them: the operating system then gives the model all it can use, and the decoders the rest.
    Actors of one thread each do not wait for each other, as the threads of one actor do whenever one is interrupted:
    that makes them faster together, so there are as many as memory allows.

    Args:
        machine: What the cluster offers.
        use_gpus: Whether the model runs on GPUs.
        actors: Smallest and largest number of actors, if the user wants any.
        num_decoders: Number of decoders, if the user wants any.
        num_clips: Clips of the whole run, as far as that is known.

    Raises:
        UsageError: GPUs are wanted and there are none, or more than there are.
    """
    cpus = max(1.0, machine.num_cpus)
    if use_gpus:
        available = int(machine.num_gpus)
        low, high = actors or (1, _worthwhile_actors(available, num_clips))
        if high > available:
            raise UsageError(
                f"{high} model actors on GPUs do not fit on {available} GPUs", "lower --actors, or use --device cpu"
            )
        reserved = min(1.0, cpus / (2 * high))  # for each actor
        decoders = num_decoders or max(1, int(cpus - high * reserved))
        decoder_cpus = min(1.0, 0.9 * (cpus - high * reserved) / decoders)
        threads = None
    else:
        low, high = actors or (2 * (_worthwhile_actors(_cpu_actors(machine), num_clips),))
        reserved = cpus / 2 / high
        decoders = num_decoders or max(1, int(cpus))
        decoder_cpus = 0.4 * cpus / decoders
        threads = max(1, int(cpus) // high)
    return Shares(
        min_actors=low,
        max_actors=high,
        actor_cpus=reserved,
        actor_gpus=1.0 if use_gpus else 0.0,
        actor_threads=threads,
        num_decoders=decoders,
        decoder_cpus=decoder_cpus,
        decoder_memory_bytes=int(min(512 * 2**20, 0.3 * machine.memory_bytes / decoders)),
        planner_cpus=min(0.05 * cpus, 0.5),
        decoders_yield=not use_gpus,
    )


def prepare_environment() -> None:
    """Set the environment of an embedded Ray; it must happen before `ray` is imported, which reads it once."""
    if "ray" in sys.modules:
        return
    for name, value in _QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # An embedded Ray listens where others can reach it: a token of its own keeps them out, and that of another cluster
    # is not for it.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ.pop("RAY_ADDRESS", None)


def _cpu_actors(machine: Machine) -> int:
    """Return how many model actors use a machine's processors best."""
    in_memory = int(0.5 * machine.memory_bytes / _ACTOR_BYTES)
    return max(1, min(int(machine.num_cpus), in_memory, _MAX_CPU_ACTORS))


def _worthwhile_actors(num_actors: int, num_clips: int | None) -> int:
    """Return how many of some model actors find enough to do."""
    return num_actors if num_clips is None else max(1, min(num_actors, -(-num_clips // _MIN_CLIPS_PER_ACTOR)))


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

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    terminate = signal.getsignal(signal.SIGTERM)
    with _silence() if quiet else nullcontext(), scratch_directory("vidcnn-ray-", _scratch_base()) as scratch:
        others = set(descendants())
        try:
            _start_ray(num_gpus, scratch)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)  # Ray puts its own handler in place
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
    import ray

    try:
        ray.init(
            address="local",
            num_gpus=num_gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=_object_store_bytes(),
            _temp_dir=str(scratch),
        )
    except (RuntimeError, OSError, ValueError, ConnectionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise VidcnnError(f"Ray does not start on this machine: {reason}", "--debug shows more") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Ray from the user: what its native code writes to stderr, and what its threads print on stdout.

    Python's own `sys.stderr` goes on as it was, for the progress; results are printed when Ray has ended.
    """
    sys.stderr.flush()
    saved, python_stderr = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    if python_stderr is sys.__stderr__:
        sys.stderr = open(saved, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        with open(os.devnull, "w") as discarded, redirect_stdout(discarded):
            yield
    finally:
        sys.stderr.flush()
        sys.stderr = python_stderr
        os.dup2(saved, 2)
        os.close(saved)


def _object_store_bytes() -> int:
    """Return the size of the object store: enough for the clips in flight, and within the shared memory there is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = memory
    if os.path.isdir("/dev/shm"):
        status = os.statvfs("/dev/shm")
        shared = status.f_bavail * status.f_frsize
    wanted = min(0.15 * memory, 0.8 * shared, _MAX_OBJECT_STORE_BYTES)
    return int(max(_MIN_OBJECT_STORE_BYTES, wanted))
