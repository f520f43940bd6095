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
from tests.pipelines.status_actors import NUM_ACTORS
from vidcnn.cluster.embedded import local_ray
from vidcnn.errors import DataError
from vidcnn.pipelines.status_actor import is_told, start_status_actor, tell_confined
from vidcnn.sandbox.confinement import Strength
from vidcnn.training.state import RunState

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 300


def test_a_board_whose_process_is_killed_comes_back_empty_and_has_told_nobody_to_stop() -> None:
    with local_ray(num_gpus=0):
        status_actor = start_status_actor()
        stop = status_actor.wait_for_stop.remote()
        state, failure = RunState(step=3, seconds=1.0, first_step=0), DataError("no", "videos")
        ray.get([status_actor.post.remote(state), status_actor.fail.remote(failure)])
        full, weak = Strength(True, 7, 4, True), Strength(True, 0, 4, True)
        tell_confined(status_actor, (("a", full), ("b", full)))
        tell_confined(status_actor, (("b", weak),))
        found, told, confined = ray.get(status_actor.read.remote())
        assert (found, str(told)) == (state, str(failure))
        assert dict(confined) == {"a": full, "b": weak}
        process = ray.get(status_actor.__ray_call__.remote(_process))
        os.kill(process, signal.SIGKILL)
        assert ray.get(status_actor.read.remote(), timeout=PATIENCE_SECONDS) == (None, None, ())
        assert not is_told(stop)
        status_actor.stop.remote()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_told(stop):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ray.kill(status_actor)
        tell_confined(status_actor, (("a", full),))  # nobody hears it, and the run goes on


@pytest.mark.slow
def test_a_status_actor_is_on_the_node_of_the_driver() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.status_actors"],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["actors"] == [found["driver"]] * NUM_ACTORS


def _process(_: Any) -> int:
    return os.getpid()
