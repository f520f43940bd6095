"""The script for SLURM starts a cluster in an allocation and runs a command on it; SLURM itself is stood in for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import PROJECT, environment, make_tiny_bundle
from tests.videos import write_video

TIMEOUT = 300

SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
VIDCNN = """#!/usr/bin/env bash
exec python -m vidcnn "$@"
"""


@pytest.mark.ray
@pytest.mark.nightly
@pytest.mark.skipif(not all(map(shutil.which, ("openssl", "curl", "ray"))), reason="openssl, curl or ray is not there")
def test_a_command_runs_on_the_nodes_of_an_allocation(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho 127.0.0.1\n"), ("vidcnn", VIDCNN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    video, bundle, out = write_video(tmp_path / "a.mp4", 40), make_tiny_bundle(tmp_path / "b"), tmp_path / "out.parquet"
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_NODELIST": "node1",
        "SLURM_CPUS_ON_NODE": "2",
    }
    command = [PROJECT / "jobs" / "clusters" / "slurm.sh", "infer", video, "--model", bundle, "--out", out]
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        script = subprocess.Popen(
            command, env=environment() | variables, stdout=file, stderr=file, start_new_session=True
        )
    try:
        assert script.wait(TIMEOUT) == 0, log.read_text()
    finally:  # the allocation ends, and the cluster with it
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGTERM)
    assert "this run: 1 video" in log.read_text()
    assert pq.read_table(out).num_rows > 0
