"""A cluster of several nodes on this machine, with a job server that wants a token.

It lives in a process of its own, so that a test's own Ray stays apart, and takes its orders from stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

import psutil

from tests.commands import environment

NUM_NODES = 3

_CPUS = "TEST_CLUSTER_CPUS"
_NAMES = "TEST_CLUSTER_NAMES"
_CLONE_NEWUTS = 0x04000000


@dataclass
class Nodes:
    """A running cluster.

    Attributes:
        address: URL of its job server.
        token: What its servers want.
        pid: Process whose descendants they all are.
    """

    address: str
    token: str
    pid: int
    _orders: IO[str]
    _answers: IO[str]

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {"RAY_AUTH_TOKEN": self.token}

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the processes in whose command lines all these words are."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if all(word in line for word in words):
                    found.append(process)
        return found

    def remove_node(self) -> None:
        """Let one of the nodes without the head go, with all that runs on it."""
        self._order("remove")

    def add_node(self) -> None:
        """Add a node."""
        self._order("add")

    def _order(self, order: str) -> None:
        print(order, file=self._orders, flush=True)
        assert self._answers.readline().strip() == "done"


def three_nodes(**variables: str) -> AbstractContextManager[Nodes]:
    """Run a cluster of three nodes of one processor each; see `open_nodes`."""
    return open_nodes(num_cpus=[1] * NUM_NODES, **variables)


@contextmanager
def open_nodes(*, num_cpus: list[int], names: list[str] | None = None, **variables: str) -> Iterator[Nodes]:
    """Run a cluster.

    Args:
        num_cpus: Processors of each node, that of the head first.
        names: Host name of each node, which only root can give; None leaves all that of this machine.
        **variables: Environment of all that runs on it.
    """
    token = secrets.token_hex(32)
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.nodes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment() | settings | variables | {_CPUS: json.dumps(num_cpus), _NAMES: json.dumps(names or [])},
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Nodes(process.stdout.readline().strip(), token, process.pid, process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _serve() -> None:
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Agents would all take the same port, and do without their server where another Ray of the machine has it.
    node = {"object_store_memory": 300 * 2**20, "dashboard_agent_listen_port": 0}
    first, *others = json.loads(os.environ[_CPUS])
    names = iter(json.loads(os.environ[_NAMES]))
    _take_name(names)
    head = {**node, "num_cpus": first, "include_dashboard": True, "dashboard_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    workers = []
    for count in others:
        _take_name(names)
        workers.append(cluster.add_node(**node, num_cpus=count))
    cluster.wait_for_nodes()
    print(f"http://{cluster.webui_url}", file=answers)
    for order in sys.stdin:
        if order.strip() == "remove":
            cluster.remove_node(workers.pop(), allow_graceful=False)
        else:
            workers.append(cluster.add_node(**node, num_cpus=1))
            cluster.wait_for_nodes()
        print("done", file=answers)
    cluster.shutdown()


def _take_name(names: Iterator[str]) -> None:
    """Take the next host name, if there is one, for this process and those that it starts from now on."""
    name = next(names, None)
    if name is None:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUTS):
        raise OSError(ctypes.get_errno(), "a host name of its own cannot be had")
    socket.sethostname(name)


if __name__ == "__main__":
    _serve()
