"""How many files and processes this process, and those that it starts, may have."""

from __future__ import annotations

import os
import resource

from vidcnn.cluster.control_groups import Limits
from vidcnn.reporting.findings import Finding

TOPIC = "limits"
_USUAL_FILES = 4096
"""Ray itself warns of fewer. It starts with far fewer, and fails when it has many workers and connections."""
_BASE_PROCESSES, _PROCESSES_PER_CORE = 400, 100
"""Processes and threads of an embedded Ray, and what each processor adds: its workers and a decoder."""


def check_files() -> Finding:
    """Look at the limit of open files. Ray raises the soft limit as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _words(hard)
    value = _words(soft) if soft == hard else f"{_words(soft)}, which Ray raises to up to {most}"
    facts = {"soft": _number(soft), "hard": _number(hard)}
    remedy = f"ulimit -n {_USUAL_FILES * 16}, LimitNOFILE= (systemd), --ulimit nofile=65536 (Docker)"
    if hard != resource.RLIM_INFINITY and hard < _USUAL_FILES:
        problem = f"a process may open {most} files: with many processors or machines, connections will fail"
        return Finding(TOPIC, "open files", value, "warning", problem, remedy, facts)
    return Finding(TOPIC, "open files", value, facts=facts)


def check_processes(limits: Limits, cores: float) -> Finding:
    """Look at the limit of processes and threads.

    Args:
        limits: Limits of the container.
        cores: Processors that are used.
    """
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    is_bound = soft != resource.RLIM_INFINITY and os.geteuid() != 0  # root is not held to it
    candidates = [number for number in (soft if is_bound else None, limits.num_processes_left) if number is not None]
    wanted = int(_BASE_PROCESSES + _PROCESSES_PER_CORE * cores)
    facts = {"user": _number(soft), "container": limits.num_processes, "wanted": wanted}
    if not candidates:
        return Finding(TOPIC, "processes", "no limit", facts=facts)
    most = min(candidates)
    remedy = "ulimit -u, TasksMax= (systemd), --pids-limit (Docker), podPidsLimit (Kubernetes)"
    if most < _BASE_PROCESSES // 2:
        problem = f"there may be {most:,} more processes and threads: Ray needs some {wanted:,}"
        return Finding(TOPIC, "processes", f"{most:,}", "failure", problem, remedy, facts)
    if most < wanted:
        problem = (
            f"there may be {most:,} more processes and threads: a run on {cores:g} processors has up to {wanted:,}"
        )
        return Finding(TOPIC, "processes", f"{most:,}", "warning", problem, remedy, facts)
    return Finding(TOPIC, "processes", f"{most:,} with their threads", facts=facts)


def _number(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _words(limit: int) -> str:
    return "no limit" if limit == resource.RLIM_INFINITY else f"{limit:,}"
