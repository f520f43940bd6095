from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from vidcnn.cluster import follow as following
from vidcnn.cluster.follow import JobPrinter, follow
from vidcnn.cluster.jobserver import JobState, LostConnectionError
from vidcnn.reporting.live import LiveLine
from vidcnn.reporting.relay import marked


class Script:
    """A job server that says what is written, and loses its connection where that is written."""

    def __init__(self, states: list[str], tails: list[list[str]], log: str, *, losses: int = 0) -> None:
        self._states = states
        self._tails = tails
        self._log = log
        self._losses = losses
        self.num_mended = 0

    def find(self, job_id: str) -> JobState:
        if self._losses:
            self._losses -= 1
            raise LostConnectionError("gone", "")
        status = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return JobState(job_id, status, "", 0, 1.0, None, {})

    def tail(self, job_id: str) -> Iterator[str]:
        for text in self._tails.pop(0):
            if text == "LOST":
                raise LostConnectionError("gone", "")
            yield text

    def logs(self, job_id: str) -> str:
        return self._log

    def mend(self) -> None:
        self.num_mended += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that advances only while somebody sleeps."""
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    monkeypatch.setattr(following.time, "sleep", sleep)
    monkeypatch.setattr(following.time, "monotonic", lambda: slept[0])
    return slept


LOG = (
    marked("progress", "begun") + "\n" + marked("result", "one") + "\n" + "a warning\n" + marked("result", "two") + "\n"
)


def test_results_go_to_stdout_and_the_rest_to_stderr_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    server: Any = Script(["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"], [[LOG[:20]], [LOG]], LOG)
    assert follow(server, "job", show_progress=False).status == "SUCCEEDED"
    assert capsys.readouterr() == ("one\ntwo\n", "a warning\n")


def test_a_connection_that_is_lost_is_made_again_and_no_line_is_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    server: Any = Script(["RUNNING", "RUNNING", "RUNNING", "FAILED"], [[LOG, "LOST"], ["LOST"], [LOG]], LOG)
    assert follow(server, "job", show_progress=False).status == "FAILED"
    assert capsys.readouterr().out == "one\ntwo\n"
    assert server.num_mended == 2


def test_a_server_that_does_not_answer_is_asked_for_two_minutes_and_no_longer(clock: list[float]) -> None:
    server: Any = Script(["SUCCEEDED"], [], LOG, losses=5)
    assert follow(server, "job", show_progress=False).is_over
    lost: Any = Script(["SUCCEEDED"], [], LOG, losses=10**6)
    clock[0] = 0.0
    with pytest.raises(LostConnectionError):
        follow(lost, "job", show_progress=False)
    assert 100 < clock[0] <= 120


def test_what_the_cluster_says_before_the_command_begins_is_shown_only_if_it_does_not_begin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = JobPrinter(LiveLine(enabled=False))
    began.take("unpacking\n" + marked("result", "one") + "\nlater\n")
    began.end()
    assert capsys.readouterr() == ("one\n", "later\n")
    did_not = JobPrinter(LiveLine(enabled=False))
    did_not.take("unpacking\nno room\n")
    did_not.end()
    assert capsys.readouterr() == ("", "unpacking\nno room\n")
