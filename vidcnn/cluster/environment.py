"""Which Ray this process uses: one of its own, or that of the cluster whose job it is.

Ray reads its environment when it is imported and when it starts its processes, so this is settled before. What is set
for a Ray of our own is put back when that has ended, since a notebook or a service may use another Ray besides.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vidcnn.cluster.ray_internals import reads_token_again
from vidcnn.errors import UsageError

QUIET_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_TQDM": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing is downloaded, reported home, or printed by Ray itself."""

BUSY_ENVIRONMENT = {
    "RAY_DATA_CLUSTER_AUTOSCALER": "V2",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    "RAY_worker_niceness": "0",
}
"""For a Ray of our own, whose machine is there anyhow. The autoscaler that Ray Data uses by default grants a run what
it guesses the run to need, which may be two thirds of the machine. And Ray ends processes that have waited for a
second, each of which takes two seconds of a processor to start again. Its workers have a priority (15) below that of
decoders (`vidcnn.processes.lower_priority`), which would come before the model then."""

CLOSED_ENVIRONMENT = {
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    "RAY_enable_metrics_collection": "0",
}
"""For a Ray of our own, which nobody else looks at: servers of figures about it, which ask for no token, are not
started, and workers that train together talk on loopback. Two of those servers would take a fixed port, which only one
run of a machine can have; they find -1 to be none."""

if sys.platform != "linux":
    CLOSED_ENVIRONMENT |= {"GLOO_SOCKET_IFNAME": "lo0", "NCCL_SOCKET_IFNAME": "lo0"}

_OTHERS = ("LD_LIBRARY_PATH", "PYTHONBREAKPOINT", "SPT_NOENV", *CLOSED_ENVIRONMENT)
"""What Ray, and OpenCV where it is imported for a run, set or read besides the variables of Ray's name."""

_attached = False


def attach_to_cluster() -> None:
    """Let this process use the Ray whose job it is, instead of an embedded one."""
    global _attached
    assert _attached or "ray" not in sys.modules, "Ray was imported too early"
    _attached = True


def is_attached() -> bool:
    """Return whether this process is a job of a cluster."""
    return _attached


def prepare_environment() -> None:
    """Set what Ray reads when it is imported and started, where the user has not set it."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def own_environment() -> Iterator[None]:
    """Let the Ray that is started in the block be one of its own, and put the environment back as it was.

    Other users of the machine reach the ports on which it listens: a token of its own keeps them out, whatever
    ``RAY_AUTH_MODE`` says of the user's other clusters, and the address and the token of those are not for it.

    Raises:
        UsageError: Ray was imported before, and does not read these settings again.
    """
    with quiet_environment():
        # Ray's processes change their titles, which writes over a part of the environment that /proc shows: now and
        # then the mark by which they are found would be lost.
        os.environ["SPT_NOENV"] = "1"
        os.environ.pop("RAY_ADDRESS", None)
        for name, value in (BUSY_ENVIRONMENT | CLOSED_ENVIRONMENT).items():
            os.environ.setdefault(name, value)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        if not reads_token_again():
            raise UsageError(
                "Ray was imported before, without the token that keeps others out of the Ray of vidcnn",
                "call vidcnn in a process of its own, or set RAY_AUTH_MODE=token before this one starts",
            )
        yield


@contextmanager
def quiet_environment() -> Iterator[None]:
    """Prepare the environment for a block, and put all variables that Ray reads back as they were."""
    before = _variables_of_ray()
    try:
        prepare_environment()
        yield
    finally:
        for name in _variables_of_ray().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if "ray" in sys.modules:
            reads_token_again()


def _variables_of_ray() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_") or name in _OTHERS}


@contextmanager
def forget_addresses() -> Iterator[None]:
    """Hide the environment's addresses of clusters, which Ray would prefer to the one that is named."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
