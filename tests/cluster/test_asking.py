from __future__ import annotations

import io
import sys

import pytest

from vidcnn.cluster.remote import ask_what_next


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Interrupted(Terminal):
    def readline(self, *_: object) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("typed", "wish"),
    [("d\n", "detach"), ("Stop\n", "stop"), ("c\n", "follow"), ("what?\n\ns\n", "stop"), ("", "detach")],
)
def test_the_user_says_what_becomes_of_a_job(typed: str, wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", screen)
    assert ask_what_next("job-1") == wish
    assert screen.getvalue().count("job job-1: (d)etach") == max(1, len(typed.splitlines()))


def test_ctrl_c_as_an_answer_detaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Interrupted())
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert ask_what_next("job-1") == "detach"


def test_where_there_is_nobody_to_ask_a_job_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s\n"))
    assert ask_what_next("job-1") == "detach"
