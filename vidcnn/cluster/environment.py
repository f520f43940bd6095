"""Which Ray this process uses: one of its own, or that of the cluster whose job it is.

Ray reads its environment when it is imported, so this is settled before, and once.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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

_attached = False


def attach_to_cluster() -> None:
    """Let this process use the Ray whose job it is, instead of an embedded one."""
    global _attached
    assert _attached or "ray" not in sys.modules, "Ray was imported too early"
    _attached = True


def is_attached() -> bool:
    """Return whether this process is a job of a cluster."""
    return _attached


def prepare_environment(*, embedded: bool = True) -> None:
    """Set the environment that Ray reads; nothing changes once `ray` is imported.

    Args:
        embedded: Whether a Ray may be started in this process, rather than just asked.
    """
    if embedded and not _attached:
        # Ray's processes change their titles, which writes over a part of the environment that /proc shows: now and
        # then the mark by which they are found would be lost.
        os.environ["SPT_NOENV"] = "1"
    if "ray" in sys.modules:
        return
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if embedded and not _attached:
        # An embedded Ray listens where others can reach it: a token of its own keeps them out, and that of another
        # cluster is not for it.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.pop("RAY_ADDRESS", None)


@contextmanager
def forget_addresses() -> Iterator[None]:
    """Hide the environment's addresses of clusters, which Ray would prefer to the one that is named."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
