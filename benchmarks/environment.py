"""On what, and with what, figures were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Return what a report begins with: the day, the machine, how busy it is, and the versions of packages."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "processor": processor(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": installed_versions(packages),
    }


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages, by name; those that are not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
