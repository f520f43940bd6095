from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)

from vidcnn.pipelines.worker_crashes import describe_attempt, waited_in_vain

LOST = RuntimeError("[gloo] Connection closed by peer")
CRASH = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerGroupError("...", {0: LOST, 1: TypeError("no\nnumber")}), "worker 1: TypeError: no number"),
        (WorkerGroupError("...", {0: LOST, 1: CRASH}), "the process of worker 1 died (The actor died"),
        (WorkerGroupError("...", {0: LOST}), "worker 0: RuntimeError: [gloo] Connection closed by peer"),
        (WorkerGroupError("all is lost", {}), "WorkerGroupError: Training failed due to worker errors: all is lost"),
        (ControllerError(ValueError("none")), "ValueError: none"),
        (ControllerError(WorkerGroupStartupFailedError("Traceback")), "the process of a worker died before it began"),
        (KeyError(), "KeyError"),
        (None, "the workers ended before the last step"),
    ],
)
def test_the_first_cause_of_a_failed_attempt_is_told_in_one_line(error: BaseException | None, expected: str) -> None:
    assert describe_attempt(error).startswith(expected)


def test_a_long_reason_is_cut() -> None:
    assert len(describe_attempt(ValueError("x" * 10_000))) < 350


def test_waiting_for_room_is_no_failure() -> None:
    assert waited_in_vain(ControllerError(WorkerGroupStartupTimeoutError(2)))
    assert not waited_in_vain(ControllerError(ValueError("none")))
    assert not waited_in_vain(WorkerGroupError("...", {0: LOST}))
    assert not waited_in_vain(None)
