"""What a process of Ray Train asks the status actor and tells it: it posts, may have to stop, and reports a failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train
import ray.train.torch
import torch

from vidcnn.cluster import Machine, plan_resources
from vidcnn.errors import VidcnnError
from vidcnn.pipelines import train_worker
from vidcnn.pipelines.train_worker import WorkerConfig, work
from vidcnn.sandbox.confinement import Strength
from vidcnn.training import run
from vidcnn.training.state import RunSettings


class Remote:
    """A method of an actor, which notes its calls."""

    def __init__(self, result: Any = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._result = result

    def remote(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        return self._result


@pytest.fixture
def status_actor(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A status actor, in a process that Ray Train has started as the second of three."""
    context = SimpleNamespace(get_world_rank=lambda: 1, get_world_size=lambda: 3)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(train_worker, "RayLoader", lambda *_: "loader")
    monkeypatch.setattr(train_worker, "is_told", lambda stop: stop == "stop")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return SimpleNamespace(wait_for_stop=Remote("go on"), post=Remote(), fail=Remote())


def job(status_actor: SimpleNamespace, directory: Path) -> WorkerConfig:
    resources = plan_resources(Machine(2, 0, 2**32), use_gpus=False)
    return WorkerConfig(["bundle"], ["data"], "recipe", RunSettings(directory, 1, 1, 60.0, 1), resources, status_actor)  # type: ignore[arg-type]


def test_a_worker_trains_with_what_it_was_given_and_posts_its_state(
    status_actor: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def run_worker(*arguments: Any, watch: Any, must_stop: Any) -> None:
        seen.extend(arguments)
        watch("state")
        seen.append(must_stop())

    monkeypatch.setattr(run, "run_worker", run_worker)
    work({"job": job(status_actor, tmp_path)})
    bundle, recipe, data, loader, settings, worker, stops = seen
    assert (bundle, recipe, data, loader, stops) == ("bundle", "recipe", "data", "loader", False)
    assert settings.directory == tmp_path
    assert (worker.rank, worker.count) == (1, 3)
    assert (status_actor.post.calls, status_actor.fail.calls) == ([("state",)], [])


def test_a_worker_tells_what_confines_the_processes_that_load_its_clips(
    status_actor: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status_actor.note_confined = Remote()
    confined = (("a", Strength()),)
    monkeypatch.setattr(train_worker, "RayLoader", lambda *arguments: arguments[-1](confined))
    monkeypatch.setattr(run, "run_worker", lambda *_, **__: None)
    work({"job": job(status_actor, tmp_path)})
    assert status_actor.note_confined.calls == [(confined,)]


def test_a_worker_stops_when_it_is_told(
    status_actor: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(run, "run_worker", lambda *_, must_stop, **__: asked.append(must_stop()))
    status_actor.wait_for_stop = Remote("stop")
    work({"job": job(status_actor, tmp_path)})
    assert asked == [True]


def test_an_error_that_a_restart_does_not_mend_is_reported_and_ends_the_work(
    status_actor: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = VidcnnError("the loss is not a number")

    def run_worker(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(run, "run_worker", run_worker)
    work({"job": job(status_actor, tmp_path)})
    assert status_actor.fail.calls == [(error,)]


def test_any_other_error_is_raised_so_that_the_workers_are_started_again(
    status_actor: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_worker(*_: Any, **__: Any) -> None:
        raise RuntimeError("connection closed by peer")

    monkeypatch.setattr(run, "run_worker", run_worker)
    with pytest.raises(RuntimeError, match="connection closed"):
        work({"job": job(status_actor, tmp_path)})
    assert status_actor.fail.calls == []
