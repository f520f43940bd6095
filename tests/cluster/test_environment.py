from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.commands import environment
from vidcnn.cluster.environment import (
    BUSY_ENVIRONMENT,
    CLOSED_ENVIRONMENT,
    QUIET_ENVIRONMENT,
    forget_addresses,
    own_environment,
)
from vidcnn.errors import UsageError


def environment_after(code: str, **before: str) -> dict[str, str]:
    """Return the environment of a fresh process after some code of this module."""
    program = f"from vidcnn.cluster.environment import *; import json, os; {code}; print(json.dumps(dict(os.environ)))"
    environ = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ | before, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_what_is_prepared_is_quiet_and_leaves_the_clusters_of_the_user_alone() -> None:
    before = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": "theirs", "RAY_AUTH_MODE": "token"}
    found = environment_after("attach_to_cluster(); assert is_attached(); prepare_environment()", **before)
    assert QUIET_ENVIRONMENT.items() | before.items() <= found.items()


def test_what_the_user_has_set_stays() -> None:
    assert environment_after("prepare_environment()", RAY_DEDUP_LOGS="1")["RAY_DEDUP_LOGS"] == "1"


@pytest.fixture
def known_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray read tokens, without Ray."""
    monkeypatch.setattr("vidcnn.cluster.environment.reads_token_again", lambda: True)


@pytest.mark.usefixtures("known_tokens")
def test_a_ray_of_our_own_is_quiet_has_a_token_of_its_own_and_forgets_other_clusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_TQDM", raising=False)
    before, tokens = dict(os.environ), {"theirs"}
    for _ in range(2):
        with own_environment():
            assert (QUIET_ENVIRONMENT | BUSY_ENVIRONMENT | CLOSED_ENVIRONMENT).items() <= os.environ.items()
            assert "RAY_ADDRESS" not in os.environ
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
            os.environ["RAY_OF_OURS"] = "as Ray itself may set"
        assert os.environ == before
    assert len(tokens) == 3


def test_a_ray_that_reads_no_token_any_more_is_refused_and_the_environment_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vidcnn.cluster.environment.reads_token_again", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere")
    before = dict(os.environ)
    with pytest.raises(UsageError, match="imported before, without the token"), own_environment():
        raise AssertionError("there is no token")
    assert os.environ == before


def test_addresses_are_hidden_for_a_while_and_come_back_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)

    def fail() -> None:
        with forget_addresses():
            assert "RAY_ADDRESS" not in os.environ
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no words
        fail()
    assert os.environ["RAY_ADDRESS"] == "http://elsewhere"
    assert "RAY_API_SERVER_ADDRESS" not in os.environ
