from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyarrow import fs as pafs

from tests.s3 import Server
from tests.storage.locks.leases import (
    DIRECTORY,
    QUICK,
    acquire,
    acquired_at_once,
    acquired_within,
    objects,
    process,
    put,
)
from vidcnn.errors import OutputBusyError
from vidcnn.predictions.output_storage import open_storage
from vidcnn.storage.locks.heartbeat import USUAL
from vidcnn.storage.locks.lease import look
from vidcnn.storage.s3_client import make_client
from vidcnn.storage.uris import split_uri
from vidcnn.storage.versions import VersionedStore


def test_a_lease_excludes_until_it_is_released_and_leaves_nothing(
    storage: pafs.FileSystem, store: VersionedStore
) -> None:
    lease = acquire(store)
    lease.check()
    with pytest.raises(OutputBusyError, match=rf"preds is held .*process {os.getpid()} on \S+ since 20") as raised:
        acquire(store)
    assert raised.value.exit_code == 75
    assert raised.value.hint == "wait until it ends, or choose another --out"
    (path,) = (path for path in objects(storage) if "lock-" in path)
    assert json.loads(storage.open_input_file(path).read())["state"] == "held"
    lease.release()
    assert objects(storage) == []
    lease.release()
    acquire(store).release()
    assert objects(storage) == []


def test_what_else_is_under_the_prefix_stays(storage: pafs.FileSystem, store: VersionedStore) -> None:
    with storage.open_output_stream(f"{DIRECTORY}/part-0.parquet") as sink:
        sink.write(b"rows")
    acquire(store).release()
    assert [path for path in objects(storage) if not path.endswith(".vidcnn")] == [f"{DIRECTORY}/part-0.parquet"]


def test_of_several_that_start_at_once_one_holds_the_lease(storage: pafs.FileSystem, store: VersionedStore) -> None:
    for _ in range(3):
        (lease,) = acquired_at_once(store)
        lease.check()
        lease.release()
        assert objects(storage) == []


def test_two_never_hold_the_lease_though_it_changes_hands_often(store: VersionedStore) -> None:
    inside = threading.Lock()
    num_held = [0]

    def contend() -> None:
        while num_held[0] < 15:
            try:
                lease = acquire(store)
            except OutputBusyError:
                continue
            assert inside.acquire(blocking=False), "two hold the lease"
            num_held[0] += 1
            inside.release()
            lease.release()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(contend) for _ in range(3)]:
            future.result(60)


def test_a_live_holder_is_told_from_a_killed_one(s3: Server, storage: pafs.FileSystem, store: VersionedStore) -> None:
    with process(s3, QUICK) as holder:
        time.sleep(QUICK.dead_seconds + 1.5)  # longer than silence would be taken for life
        with pytest.raises(OutputBusyError, match=f"process {holder.pid} on"):
            acquire(store)
        holder.kill()
        holder.wait()
        acquire(store).release()  # at once: on this machine, processes are known
    assert objects(storage) == []


def test_a_holder_on_another_machine_is_dead_after_a_silence(storage: pafs.FileSystem, store: VersionedStore) -> None:
    put(storage, "held")
    began = time.monotonic()
    with pytest.raises(OutputBusyError, match=r"process \d+ on other since") as raised:
        acquire(store)
    assert "if it was killed, the output is free 4 s later" in raised.value.hint
    acquired_within(15, store).release()
    assert time.monotonic() - began > QUICK.dead_seconds - 1
    assert objects(storage) == []


def test_one_that_died_while_it_took_the_lease_keeps_others_out_no_longer(
    storage: pafs.FileSystem, store: VersionedStore
) -> None:
    put(storage, "contending", token="0")
    with pytest.raises(OutputBusyError, match="on other since"):
        acquire(store, replace(QUICK, num_attempts=2))
    acquired_within(15, store).release()


def test_one_that_goes_again_leaves_the_lease_to_the_one_that_stays(
    storage: pafs.FileSystem, store: VersionedStore
) -> None:
    other = put(storage, "contending", token="0")
    timer = threading.Timer(0.5, storage.delete_file, [other])
    timer.start()
    acquire(store).release()
    timer.join()


def test_an_object_that_is_not_understood_is_of_a_holder(storage: pafs.FileSystem, store: VersionedStore) -> None:
    with storage.open_output_stream(f"{DIRECTORY}/lock-x") as sink:
        sink.write(b"{")
    with pytest.raises(OutputBusyError, match="on a machine unknown"):
        acquire(store)
    acquired_within(15, store).release()


def test_a_second_run_on_an_output_is_refused_and_leaves_it_as_it_was(s3: Server, storage: pafs.FileSystem) -> None:
    out = f"s3://bkt/night/preds.parquet{s3.query}"
    first = open_storage(out, QUICK)
    held = [path for path in objects(storage) if "lock-" in path]
    with pytest.raises(OutputBusyError, match=r"s3://bkt/night/preds\.parquet is held by another run"):
        open_storage(out, QUICK)
    assert [path for path in objects(storage) if "lock-" in path] == held
    first.close()
    open_storage(out, QUICK).close()
    assert objects(storage) == []


class _Ahead:
    """Storage that dates the objects of some runs in the future."""

    def __init__(self, storage: pafs.FileSystem, token: str) -> None:
        self._storage, self._token = storage, token

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_file_info(self, what: Any) -> Any:
        found = self._storage.get_file_info(what)
        return [self._dated(info) for info in found] if isinstance(found, list) else self._dated(found)

    def _dated(self, info: Any) -> Any:
        if not info.base_name.startswith(f"lock-{self._token}"):
            return info
        ahead = SimpleNamespace(mtime_ns=info.mtime_ns + 10**15)
        for name in ("path", "base_name", "is_file", "size"):
            setattr(ahead, name, getattr(info, name))
        return ahead


def ahead_store(s3: Server) -> VersionedStore:
    """Return a store whose file system dates the objects of one run in the future."""
    location = f"s3://bkt{s3.query}"
    filesystem = _Ahead(VersionedStore.open(location)[0].filesystem, "theirs")
    return VersionedStore(filesystem, lambda: make_client(split_uri(location)))  # type: ignore[arg-type]


def test_an_object_that_is_dated_in_the_future_does_not_hold_for_ever(s3: Server, storage: pafs.FileSystem) -> None:
    path = put(storage, "held")
    ahead = ahead_store(s3)
    with pytest.raises(OutputBusyError, match="on other"):
        acquire(ahead)
    lease = acquired_within(60, ahead)
    assert path not in objects(storage)
    lease.release()
    assert objects(storage) == []


def test_a_holder_whose_objects_are_dated_in_the_future_keeps_its_lease(s3: Server, storage: pafs.FileSystem) -> None:
    ahead = ahead_store(s3)
    deadline = time.monotonic() + 1.5 * QUICK.dead_seconds
    while time.monotonic() < deadline:
        put(storage, "held")
        with pytest.raises(OutputBusyError, match="on other"):
            acquire(ahead)
        time.sleep(1.0)  # dates of objects are of whole seconds


def test_looking_at_a_lease_tells_whether_it_is_held_and_changes_nothing(
    s3: Server, storage: pafs.FileSystem, store: VersionedStore
) -> None:
    look(store, DIRECTORY, "preds", QUICK)
    assert objects(storage) == []
    lease = acquire(store)
    before = objects(storage)
    with pytest.raises(OutputBusyError, match=f"process {os.getpid()} on"):
        look(store, DIRECTORY, "preds", QUICK)
    assert objects(storage) == before
    lease.release()
    put(storage, "held")
    with pytest.raises(OutputBusyError, match="on other"):
        look(store, DIRECTORY, "preds", USUAL)
    look(ahead_store(s3), DIRECTORY, "preds", USUAL)


def test_of_several_that_find_a_dead_holder_at_once_one_takes_the_lease(
    storage: pafs.FileSystem, store: VersionedStore
) -> None:
    dead = put(storage, "held")
    time.sleep(QUICK.dead_seconds + 1.5)
    (lease,) = acquired_at_once(store)
    lease.check()
    assert dead not in objects(storage)
    lease.release()
    assert objects(storage) == []
