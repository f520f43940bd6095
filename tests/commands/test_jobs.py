from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.commands.conftest import Call
from vidcnn.cluster.jobserver import JobState
from vidcnn.reporting.relay import marked

DONE = JobState("job-2", "SUCCEEDED", "", 0, 1_000_000.0, 1_000_065.0, {"vidcnn_out": "s3://bkt/preds"})
FAILED = JobState("job-1", "FAILED", "it ran out of memory", 137, 1_000_000.0, 1_000_001.0, {})
NEW = JobState("job-3", "PENDING", "waiting", None, None, None, {})


class Jobs:
    """A job server that knows some jobs."""

    def __init__(self, *states: JobState) -> None:
        self._states = {state.id: state for state in states}
        self.stopped: list[str] = []

    def jobs(self) -> list[JobState]:
        return list(self._states.values())

    def find(self, job_id: str) -> JobState:
        return self._states[job_id]

    def logs(self, job_id: str) -> str:
        return f"{marked('result', f'result of {job_id}')}\na warning\n"

    def stop(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        return not self._states[job_id].is_over


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a job server answer at ``http://head:8265``."""

    def answer(server: Any) -> None:
        @contextmanager
        def connect(place: str) -> Iterator[Any]:
            assert place == "http://head:8265"
            yield server

        monkeypatch.setattr("vidcnn.cluster.remote.connect", connect)

    return answer


CLUSTER = "--cluster=http://head:8265"


def test_jobs_are_listed_with_how_long_they_took_and_what_they_write(call: Call, serve: Any) -> None:
    serve(Jobs(NEW, DONE))
    ended = call("jobs", "list", CLUSTER)
    heading, *lines = (line.split() for line in ended.stdout.splitlines())
    assert heading == ["job", "status", "started", "took", "output"]
    rows = {line[0]: line for line in lines if line[0].startswith("job-")}
    assert rows["job-3"][1:] == ["pending", "not", "yet"]
    assert (rows["job-2"][1], rows["job-2"][-1]) == ("succeeded", "s3://bkt/preds")
    assert "1 min 5 s" in ended.stdout
    serve(Jobs())
    assert call("jobs", "list", CLUSTER).stdout == "no jobs\n"


def test_json_has_all_that_is_known(call: Call, serve: Any) -> None:
    serve(Jobs(FAILED))
    (listed,) = json.loads(call("jobs", "list", CLUSTER, "--json").stdout)
    assert listed == json.loads(call("jobs", "status", "job-1", CLUSTER, "--json").stdout)
    assert (listed["status"], listed["exit_code"], listed["message"]) == ("FAILED", 137, "it ran out of memory")


def test_why_a_job_failed_is_said_and_of_a_good_one_nothing(call: Call, serve: Any) -> None:
    serve(Jobs(FAILED, DONE))
    said = call("jobs", "status", "job-1", CLUSTER).stdout.splitlines()
    assert said[0].startswith("job-1: failed, exit code 137, started ")
    assert said[1] == "it ran out of memory"
    assert len(call("jobs", "status", "job-2", CLUSTER).stdout.splitlines()) == 1


def test_what_a_job_says_goes_where_it_went(call: Call, serve: Any) -> None:
    serve(Jobs(DONE))
    assert call("jobs", "logs", "job-2", CLUSTER) == (0, "result of job-2\n", "a warning\n")


def test_a_job_that_has_ended_is_not_said_to_be_stopped(call: Call, serve: Any) -> None:
    jobs = Jobs(DONE, NEW)
    serve(jobs)
    assert call("jobs", "stop", "job-2", CLUSTER).stdout == "job-2: had ended before\n"
    assert call("jobs", "stop", "job-3", CLUSTER).stdout == "job-3: stopping\n"
    assert jobs.stopped == ["job-2", "job-3"]


def test_a_cluster_has_to_be_named(call: Call) -> None:
    assert call("jobs", "list").code == 2
