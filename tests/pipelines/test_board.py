from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import ray

from tests.commands import PROJECT, environment
from tests.pipelines.boards import NUM_BOARDS
from vidcnn.cluster.embedded import local_ray
from vidcnn.errors import DataError
from vidcnn.pipelines.board import is_told, open_board
from vidcnn.training.state import RunState

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 300


def test_a_board_whose_process_is_killed_comes_back_empty_and_has_told_nobody_to_stop() -> None:
    with local_ray(num_gpus=0):
        board = open_board()
        stop = board.wait_for_stop.remote()
        state, failure = RunState(step=3, seconds=1.0, first_step=0), DataError("no", "videos")
        ray.get([board.post.remote(state), board.fail.remote(failure)])
        found, told = ray.get(board.read.remote())
        assert (found, str(told)) == (state, str(failure))
        process = ray.get(board.__ray_call__.remote(_process))
        os.kill(process, signal.SIGKILL)
        assert ray.get(board.read.remote(), timeout=PATIENCE_SECONDS) == (None, None)
        assert not is_told(stop)
        board.stop.remote()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_told(stop):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow
def test_a_board_is_on_the_node_of_the_driver() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.boards"],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["boards"] == [found["driver"]] * NUM_BOARDS


def _process(_: Any) -> int:
    return os.getpid()
