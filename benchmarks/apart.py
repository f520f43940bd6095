"""Running a stage in a process of its own, so that its time and memory are its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any


def apart(stage: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return what a stage found in a process of its own, with the time and the most memory that it took."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (stage, *arguments))


def peak_gb() -> float:
    """Return the most memory that this process has taken, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def _measured(stage: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    began = time.perf_counter()
    found = stage(*arguments)
    taken = {"all_seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(time.process_time(), 1)}
    return {**found, **taken, "peak_gb": peak_gb()}
