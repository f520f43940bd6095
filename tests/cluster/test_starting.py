from __future__ import annotations

import signal
from typing import Any

import pytest

from vidcnn.cluster.starting import RayStartError, init_ray


@pytest.fixture
def ray_says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let `ray.init` do something else."""
    import ray

    return lambda init: monkeypatch.setattr(ray, "init", init)


def test_rays_own_handler_of_the_end_is_kept_away(ray_says: Any) -> None:
    given: dict[str, Any] = {}

    def init(**options: Any) -> None:
        given.update(options)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    ray_says(init)
    before = signal.getsignal(signal.SIGTERM)
    init_ray(address="local", num_gpus=0)
    assert signal.getsignal(signal.SIGTERM) == before
    assert (given["address"], given["num_gpus"], given["log_to_driver"]) == ("local", 0, False)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Exception("it timed out during startup.\nand much more"), "it timed out during startup."),
        (ConnectionError(), "ConnectionError"),
    ],
)  # fmt: skip
def test_a_failure_is_told_in_one_line_and_keeps_its_cause(ray_says: Any, error: Exception, text: str) -> None:
    def init(**options: Any) -> None:
        raise error

    ray_says(init)
    with pytest.raises(RayStartError) as raised:
        init_ray()
    assert str(raised.value) == text
    assert raised.value.__cause__ is error
