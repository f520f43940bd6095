from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.commands import environment
from vidcnn.cluster.environment import QUIET_ENVIRONMENT, forget_addresses


def environment_after(code: str, **before: str) -> dict[str, str]:
    """Return the environment of a fresh process after some code of this module."""
    program = f"from vidcnn.cluster.environment import *; import json, os; {code}; print(json.dumps(dict(os.environ)))"
    environ = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ | before, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_an_embedded_ray_is_quiet_has_a_token_of_its_own_and_forgets_other_clusters() -> None:
    before = {"RAY_ADDRESS": "http://elsewhere", "RAY_AUTH_TOKEN": "theirs"}
    first, second = (environment_after("prepare_environment()", **before) for _ in range(2))
    assert QUIET_ENVIRONMENT.items() <= first.items()
    assert "RAY_ADDRESS" not in first
    assert first["RAY_AUTH_MODE"] == "token"
    assert len({first["RAY_AUTH_TOKEN"], second["RAY_AUTH_TOKEN"], "theirs"}) == 3
    assert len(first["RAY_AUTH_TOKEN"]) == 64


def test_a_job_of_a_cluster_keeps_its_address_and_token() -> None:
    before = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": "theirs", "RAY_AUTH_MODE": "token"}
    found = environment_after("attach_to_cluster(); assert is_attached(); prepare_environment()", **before)
    assert before.items() <= found.items()
    assert QUIET_ENVIRONMENT.items() <= found.items()


def test_what_the_user_has_set_stays() -> None:
    assert environment_after("prepare_environment()", RAY_DEDUP_LOGS="1")["RAY_DEDUP_LOGS"] == "1"


def test_once_ray_is_imported_nothing_is_changed_any_more() -> None:
    code = "import sys; sys.modules['ray'] = sys; prepare_environment()"
    assert "RAY_AUTH_TOKEN" not in environment_after(code)


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
