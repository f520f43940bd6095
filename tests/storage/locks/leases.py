"""Leases that tests take, hold in other processes, and lose."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pyarrow import fs as pafs

from tests.commands import environment
from tests.s3 import Server
from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.storage.locks.heartbeat import LeaseTiming
from vidcnn.storage.locks.holder import State, this_process
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.versions import VersionedStore

DIRECTORY = "bkt/night/.preds.vidcnn"
QUICK = LeaseTiming(renew_seconds=0.3, lost_seconds=60, dead_seconds=4, retry_seconds=0.05, num_attempts=100)
"""Others are dead soon, and a busy machine makes nobody lose the lease."""
STRICT = replace(QUICK, lost_seconds=1.5)

PROGRAM = """
import sys, time
from vidcnn.storage.locks.heartbeat import LeaseTiming
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.versions import VersionedStore

store, _ = VersionedStore.open(sys.argv[1])
lease = Lease.acquire(store, sys.argv[2], "preds", LeaseTiming(0.3, float(sys.argv[3]), 4, 0.05, 100))
print("held", flush=True)
while True:
    time.sleep(0.1)
    try:
        lease.check()
    except Exception as error:
        print(error, flush=True)
        break
"""


def acquire(store: VersionedStore, timing: LeaseTiming = QUICK) -> Lease:
    return Lease.acquire(store, DIRECTORY, "preds", timing)


def objects(storage: pafs.FileSystem) -> list[str]:
    infos = storage.get_file_info(pafs.FileSelector("bkt", recursive=True))
    return [info.path for info in infos if info.is_file or info.base_name.startswith(".")]


def put(storage: pafs.FileSystem, state: State, token: str = "theirs", **changed: Any) -> str:
    """Write the object of a run on another machine."""
    holder = replace(this_process(state), token=token, host="other", machine="another", **changed)
    with storage.open_output_stream(f"{DIRECTORY}/lock-{token}") as sink:
        sink.write(holder.encode())
    return f"{DIRECTORY}/lock-{token}"


@contextmanager
def process(s3: Server, timing: LeaseTiming) -> Iterator[subprocess.Popen[str]]:
    """Hold the lease in another process until it is lost."""
    line = [sys.executable, "-c", PROGRAM, f"s3://bkt{s3.query}", DIRECTORY, str(timing.lost_seconds)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment()) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "held\n"
        try:
            yield started
        finally:
            started.kill()


def acquired_within(seconds: float, store: VersionedStore) -> Lease:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return acquire(store)
        except OutputBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def acquired_at_once(store: VersionedStore) -> list[Lease]:
    """Let four try to take the lease in the same moment, and return those of them that got it."""
    ready = threading.Barrier(4)

    def start() -> Lease | None:
        ready.wait(30)
        try:
            return acquire(store)
        except OutputBusyError:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(start) for _ in range(4)]]
    return [lease for lease in results if lease is not None]


def failure(lease: Lease, seconds: float = 15) -> OutputError:
    """Wait until a lease is lost."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            lease.check()
        except OutputError as error:
            return error
        time.sleep(0.05)
    pytest.fail("the lease is still held")
