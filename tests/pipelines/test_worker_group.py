from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import command, environment
from vidcnn.demo import make_motion_videos
from vidcnn.training.restarts import MAX_FRUITLESS

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PATIENCE_SECONDS = 600
"""Time that a run may take to begin, or to end: on a busy machine ten times as long as on an idle one."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    make_motion_videos(folder, videos_per_class=1)
    return folder


@contextmanager
def training(videos: Path, run: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    given = {
        "data": videos, "out": run, "model": "simple3d", "crop": 32, "width": 0.25, "workers": 1, "precision": "fp32",
        "batch-size": 4, "val-fraction": 0, "flip": "off",
    } | options  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in given.items()]
    process = subprocess.Popen(
        command("train", *arguments, "--quiet"), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def processes(process: subprocess.Popen[str], name: str) -> set[int]:
    found = set()
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if name in " ".join(child.cmdline()):
                found.add(child.pid)
        except psutil.Error:
            continue
    return found


def until(happens: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = happens()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it does not happen")


def newest(run: Path) -> int:
    return max((int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt")), default=0)


def test_workers_that_die_more_often_than_may_be_in_a_row_do_not_end_a_run_that_gets_on(
    videos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    killed: set[int] = set()
    with training(videos, run, epochs=200, **{"checkpoint-seconds": 0.01}) as process:
        num_steps, num_kills = 200 * len(list(videos.rglob("*.mp4"))) // 4, 0
        while num_kills <= MAX_FRUITLESS:
            saved = newest(run)
            until(lambda saved=saved: newest(run) > saved, process)  # type: ignore[misc]
            assert newest(run) < num_steps, "the kill has to come before the end"
            (worker,) = until(lambda: processes(process, "RayTrainWorker") - killed, process)
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
            num_kills += 1
            if num_kills == 2:
                (status_actor,) = processes(process, "StatusActor")
                os.kill(status_actor, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, stderr
    assert f"trained {num_steps:,} steps" in stdout
    assert newest(run) == num_steps
    assert (run / "bundle" / "model.json").is_file()
    assert not (run / ".ray").exists()


def test_workers_that_die_without_progress_end_the_run_with_the_reason(videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed: set[int] = set()
    with training(videos, run, epochs=10_000, **{"checkpoint-seconds": 3600}) as process:
        for _ in range(MAX_FRUITLESS):
            worker = until(lambda: processes(process, "RayTrainWorker") - killed, process).pop()
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    reason, advice = stderr.splitlines()
    assert f"training failed {MAX_FRUITLESS} times before the first checkpoint" in reason
    assert re.search("the process of (a worker|worker 0) died", reason)
    assert "the same command" in advice
