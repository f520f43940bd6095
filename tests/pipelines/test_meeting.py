"""The workers of a training run on one machine: where they meet, and what they listen on."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import PROJECT, command, environment
from vidcnn.demo import make_motion_videos

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")

# Joins a group of two in the file that is named, and adds up the numbers of its members.
MEMBER = """
import os, sys
from vidcnn.pipelines.meeting import meet_in_file
meet_in_file(sys.argv[1])
os.environ |= {"RANK": sys.argv[2], "WORLD_SIZE": "2"}
import torch
import torch.distributed as group
group.init_process_group("gloo", init_method="env://")
found = torch.tensor([1 + group.get_rank()])
group.all_reduce(found)
print(found.item())
"""


def test_processes_meet_in_a_file_without_an_address(tmp_path: Path) -> None:
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(tmp_path / "file"), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment(),
        )
        for rank in range(2)
    ]
    assert [member.communicate(timeout=300)[0] for member in members] == ["3\n", "3\n"]


def listening(process: psutil.Process) -> list[Any]:
    """Return the addresses at which a process and all that it has started listen."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found += [it.laddr for it in one.net_connections("tcp") if it.status == psutil.CONN_LISTEN]
    return found


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_train_together_listen_on_loopback_only(tmp_path: Path) -> None:
    make_motion_videos(tmp_path / "videos", videos_per_class=1)
    given = {
        "data": tmp_path / "videos", "out": tmp_path / "run", "model": "simple3d", "crop": 32, "width": 0.25,
        "workers": 2, "precision": "fp32", "batch-size": 4, "val-fraction": 0, "flip": "off", "epochs": 6,
    }  # fmt: skip
    arguments = command("train", *(f"--{name}={value}" for name, value in given.items()), "--quiet")
    patient = {"RAY_agent_register_timeout_ms": "300000", "RAY_worker_niceness": "0"}
    seen: set[Any] = set()
    with subprocess.Popen(arguments, env=environment() | patient) as run:
        while run.poll() is None:
            with suppress(psutil.NoSuchProcess):
                seen.update(listening(psutil.Process(run.pid)))
            time.sleep(0.2)
    assert run.returncode == 0
    assert len(seen) > 8, "the servers were not seen"
    assert [address for address in seen if address.ip not in LOOPBACK] == []
