from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
    assert listed | {"progress": None} == json.loads(call("jobs", "status", "job-1", CLUSTER, "--json").stdout)
    assert (listed["status"], listed["exit_code"], listed["message"]) == ("FAILED", 137, "it ran out of memory")


def test_why_a_job_failed_is_said_and_of_a_good_one_nothing(call: Call, serve: Any) -> None:
    serve(Jobs(FAILED, DONE))
    said = call("jobs", "status", "job-1", CLUSTER).stdout.splitlines()
    assert said[0].startswith("job-1: failed (exit code 137), started ")
    assert said[1] == "it ran out of memory"
    assert len(call("jobs", "status", "job-2", CLUSTER).stdout.splitlines()) == 1


def test_what_a_job_says_goes_where_it_went(call: Call, serve: Any) -> None:
    serve(Jobs(DONE))
    assert call("jobs", "logs", "job-2", CLUSTER) == (0, "result of job-2\n", "a warning\n")


def test_a_job_that_failed_is_listed_as_what_it_is(call: Call, serve: Any) -> None:
    codes = {1: "failed", 2: "usage error", 3: "too many errors", 75: "output busy", 130: "stopped", None: "failed"}
    states = [replace(FAILED, id=f"job-{code}", exit_code=code) for code in codes]
    serve(Jobs(*states))
    rows = [re.split(r" {2,}", line) for line in call("jobs", "list", CLUSTER).stdout.splitlines()]
    found = {row[0].strip(): row[1] for row in rows if row[0].startswith("job-")}
    assert found == {f"job-{code}": outcome for code, outcome in codes.items()}
    assert call("jobs", "status", "job-75", CLUSTER).stdout.startswith("job-75: output busy (exit code 75), started ")


class Running(Jobs):
    """A job server with a job that runs."""

    def logs(self, job_id: str) -> str:
        lines = (marked("progress", "starting"), "first", "second", marked("progress", "3/7 videos"), "third")
        return "".join(f"{line}\n" for line in lines)


def test_how_far_a_job_is_is_shown_with_its_status_and_its_last_lines(call: Call, serve: Any) -> None:
    serve(Running(replace(DONE, status="RUNNING", exit_code=None, ended=None)))
    first, progress = call("jobs", "status", "job-2", CLUSTER).stdout.splitlines()
    assert first.startswith("job-2: running, started ")
    assert " runs for " in first
    assert progress == "3/7 videos"
    assert json.loads(call("jobs", "status", "job-2", CLUSTER, "--json").stdout)["progress"] == "3/7 videos"
    assert call("jobs", "logs", "job-2", CLUSTER) == (0, "", "first\nsecond\nthird\n3/7 videos\n")
    assert call("jobs", "logs", "job-2", CLUSTER, "--lines=2") == (0, "", "second\nthird\n3/7 videos\n")
    assert call("jobs", "logs", "job-2", CLUSTER, "-n", "0") == (0, "", "3/7 videos\n")


def test_a_job_that_has_ended_is_not_said_to_be_stopped(call: Call, serve: Any) -> None:
    jobs = Jobs(DONE, NEW)
    serve(jobs)
    assert call("jobs", "stop", "job-2", CLUSTER).stdout == "job-2: had ended before\n"
    assert call("jobs", "stop", "job-3", CLUSTER).stdout == "job-3: stopping\n"
    assert jobs.stopped == ["job-2", "job-3"]


def test_a_cluster_has_to_be_named(call: Call) -> None:
    assert call("jobs", "list").code == 2
