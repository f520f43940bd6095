from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vidcnn.cluster import environment
from vidcnn.errors import SourceError
from vidcnn.pipelines.hardware import ask_there


def whoami(number: int) -> tuple[int, int]:
    return os.getpid(), number


def fails() -> None:
    raise SourceError("it is gone")


def test_on_this_machine_it_is_asked_in_this_process() -> None:
    assert ask_there(whoami, 3, device="cpu") == (os.getpid(), 3)


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a Ray, and let this process pass for a job of it."""
    import ray

    environment.prepare_environment()
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    monkeypatch.setattr(environment, "_attached", True)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.usefixtures("attached")
def test_on_a_cluster_another_process_is_asked_which_has_what_the_model_needs() -> None:
    pid, number = ask_there(whoami, 3, device="cpu")
    assert (pid == os.getpid(), number) == (False, 3)
    with pytest.raises(SourceError, match="it is gone"):
        ask_there(fails, device="cpu")
