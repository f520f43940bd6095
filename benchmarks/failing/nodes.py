"""A cluster of two nodes on this machine, one of which answers nothing any more."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from failing.stage import LocalTrial, MissedError, Stage, environment

SERVER = """
import sys
from ray.cluster_utils import Cluster
node = {"object_store_memory": 200 * 2**20, "dashboard_agent_listen_port": 0}
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 1})
other = cluster.add_node(**node, num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, other.all_processes["raylet"][0].process.pid, file=sys.__stderr__, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def silent_node(stage: Stage, rng: random.Random) -> None:
    """Stop all processes of a node for good while it works."""
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=environment() | given,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = psutil.Process(server.pid)
    stopped: list[psutil.Process] = []
    try:
        address, raylet = _read_address(server)
        trial = LocalTrial(stage, stage.new_folder(), rng)
        trial.line = [*stage.command(stage.source, trial.place.out, "off"), "--cluster", "auto"]
        trial.moment = rng.choice(("begun", "later"))
        run = trial.start(variables={**given, "RAY_ADDRESS": address})
        trial.reach(run)
        stopped = [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]
        for process in stopped:
            with suppress(psutil.Error):
                process.suspend()
        os.kill(run.process.pid, signal.SIGCONT)
        code = stage.end(run)
        stage.compare(trial.place.read(), is_whole=code == 0)
        trial.line = stage.command(stage.source, trial.place.out)
        trial.conclude(is_whole=code == 0)
    finally:
        left = [*started.children(recursive=True), *stopped]
        assert server.stdin is not None
        server.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        for process in [*left, started]:
            with suppress(psutil.Error):
                process.kill()
        server.wait()


def _read_address(server: subprocess.Popen[str]) -> tuple[str, int]:
    assert server.stderr is not None
    deadline = time.monotonic() + 300
    for line in server.stderr:
        address, _, pid = line.strip().partition(" ")
        if pid.isdigit() and ":" in address:
            return address, int(pid)
        if time.monotonic() > deadline:
            break
    raise MissedError
