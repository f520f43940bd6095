"""Why workers of a training run crashed, or an attempt of Ray Train failed otherwise, in one line."""

from __future__ import annotations

from ray.exceptions import RayError
from ray.train import ControllerError, WorkerGroupError

_MAX_CHARS = 300
_CRASHED = "WorkerHealthCheckFailedError"
"""The exception of Ray Train, which it does not export, for a worker whose process crashed."""

_CRASHED_AT_START = "WorkerGroupStartupFailedError"
"""For a worker that crashed before it did anything; the text is a traceback inside Ray."""

_NO_ROOM = "WorkerGroupStartupTimeoutError"
"""For workers that found no room for a minute."""


def describe_attempt(error: BaseException | None) -> str:
    """Return why an attempt failed.

    Where a worker died or raised an error, the others lose their connection to it: their errors are left out.

    Args:
        error: What Ray Train raised; None if it took the work for done.
    """
    if error is None:
        return "the workers ended before the last step"
    if isinstance(error, ControllerError):
        if type(error.controller_failure).__name__ == _CRASHED_AT_START:
            return "the process of a worker died before it began"
        return _line(error.controller_failure)
    if not isinstance(error, WorkerGroupError):
        return _line(error)
    failures = sorted(error.worker_failures.items(), key=lambda item: (_order(item[1]), item[0]))
    if not failures:
        return _line(error)
    rank, failure = failures[0]
    if _order(failure) == 0:
        return f"the process of worker {rank} died ({_line(getattr(failure, 'health_check_failure', failure))})"
    return f"worker {rank}: {_line(failure)}"


def waited_in_vain(error: BaseException | None) -> bool:
    """Return whether an attempt ended before it began, as the cluster had no room for the workers yet.

    A node may be about to start, or another job to end: that is nothing that the workers failed in.
    """
    return isinstance(error, ControllerError) and type(error.controller_failure).__name__ == _NO_ROOM


def _order(failure: BaseException) -> int:
    """Rank errors by how likely they are the first cause: crashes, then errors, then lost connections."""
    if isinstance(failure, RayError) or type(failure).__name__ == _CRASHED:
        return 0
    return 2 if isinstance(failure, RuntimeError) else 1


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    text = text if isinstance(error, RayError) and text else f"{name}: {text}" if text else name
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}..."
