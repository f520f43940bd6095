from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyarrow import fs as pafs

from tests.commands import environment
from tests.predictions.cases import open_output, rows_of, segment
from tests.s3 import Server
from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.predictions.output_storage import open_storage
from vidcnn.storage.locks.heartbeat import USUAL, LeaseTiming
from vidcnn.storage.locks.holder import State, this_process
from vidcnn.storage.locks.lease import Lease, look
from vidcnn.storage.s3_client import make_client
from vidcnn.storage.uris import split_uri
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


@pytest.fixture
def store(s3: Server) -> VersionedStore:
    return VersionedStore.open(f"s3://bkt{s3.query}")[0]


@pytest.fixture
def storage(store: VersionedStore) -> pafs.FileSystem:
    return store.filesystem


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


def test_a_holder_that_stood_still_for_too_long_stops(s3: Server, store: VersionedStore) -> None:
    with process(s3, STRICT) as holder:
        holder.send_signal(signal.SIGSTOP)
        lease = acquired_within(20, store)
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout is not None
        assert "the lock on preds was lost" in holder.stdout.readline()
        lease.check()
        lease.release()


class Failing:
    """A storage, or a client of one, that can be made to fail."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.fails = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.fails:
                raise OSError("the network is down\nat line 3")
            return getattr(self._storage, name)(*arguments, **options)

        return call


class FailingStore(VersionedStore):
    """A store of which all can be made to fail."""

    def __init__(self, s3: Server) -> None:
        location = f"s3://bkt{s3.query}"
        self._failing = [
            Failing(VersionedStore.open(location)[0].filesystem),
            Failing(make_client(split_uri(location))),
        ]
        super().__init__(self._failing[0], lambda: self._failing[1])

    def fail(self, fails: bool) -> None:
        for failing in self._failing:
            failing.fails = fails


def test_a_holder_that_cannot_renew_stops_before_others_take_it_for_dead(s3: Server) -> None:
    failing = FailingStore(s3)
    lease = acquire(failing, STRICT)
    failing.fail(True)
    time.sleep(STRICT.lost_seconds + 0.2)
    error = failure(lease)
    assert "the lock on preds was lost: it could not be renewed for" in error.message
    assert "the network is down" in error.message
    assert "\n" not in str(error)
    failing.fail(False)
    time.sleep(2 * QUICK.renew_seconds)
    with pytest.raises(OutputError, match="was lost"):  # and it stays lost
        lease.check()
    lease.release()


def test_a_short_failure_is_survived(s3: Server, storage: pafs.FileSystem) -> None:
    failing = FailingStore(s3)
    lease = acquire(failing)
    failing.fail(True)
    time.sleep(3 * QUICK.renew_seconds)
    failing.fail(False)
    time.sleep(3 * QUICK.renew_seconds)
    lease.check()
    lease.release()
    assert objects(storage) == []


def test_a_holder_whose_object_was_removed_stops(storage: pafs.FileSystem, store: VersionedStore) -> None:
    lease = acquire(store, replace(QUICK, renew_seconds=60))
    storage.delete_dir_contents(DIRECTORY)
    assert "it was removed" in failure(lease).message
    lease.release()


def test_a_holder_beside_which_another_appears_stops(storage: pafs.FileSystem, store: VersionedStore) -> None:
    lease = acquire(store)
    other = put(storage, "held")
    error = failure(lease)
    assert isinstance(error, OutputBusyError)
    assert "is held by another run too (process" in error.message
    lease.release()
    assert other in objects(storage)


def test_nothing_is_written_once_the_lease_is_lost(s3: Server, storage: pafs.FileSystem) -> None:
    with open_output(f"s3://bkt/night/preds{s3.query}") as output:
        output.add(segment("a"), rows_of(segment("a")))
        output.commit()
        before = {path for path in objects(storage) if "part-" in path}
        storage.delete_dir_contents(DIRECTORY)
        output.add(segment("b"), rows_of(segment("b")))
        with pytest.raises(OutputError, match="was lost: it was removed"):
            output.commit()
    assert {path for path in objects(storage) if "part-" in path} == before


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


def test_a_holder_that_stood_still_does_not_bring_its_object_back(
    storage: pafs.FileSystem, store: VersionedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire(store)
    put, taken = store.put, []

    def put_late(path: str, *rest: Any) -> str:
        if path == lease.path and not taken:
            store.delete(path)  # as a run does that finds it dead
            taken.append(acquire(VersionedStore(store.filesystem, store._make), replace(QUICK, renew_seconds=60)))
        return put(path, *rest)

    monkeypatch.setattr(store, "put", put_late)
    assert lease._heartbeat is not None
    lease._heartbeat._thread.join(30)
    assert "it was removed" in failure(lease).message
    lease.release()
    assert [path for path in objects(storage) if "lock-" in path] == [taken[0].path]
    taken[0].check()
    taken[0].release()


def test_one_that_stood_still_while_it_gave_the_lease_back_removes_nothing_of_another(
    storage: pafs.FileSystem, store: VersionedStore
) -> None:
    lease = acquire(store)
    look, taken = lease._list, []

    def look_and_stand_still() -> list[Any]:
        found = look()
        if not taken:
            store.delete(lease.path)
            taken.append(acquire(store))
            store.put(f"{DIRECTORY}/part-0.parquet", b"rows", None)
        return found

    lease._list = look_and_stand_still  # type: ignore[method-assign]
    lease.release()
    taken[0].check()
    assert f"{DIRECTORY}/part-0.parquet" in objects(storage)
    taken[0].release()


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
