"""A run that lost its lease, or stood still while another took it, changes nothing any more."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyarrow import fs as pafs

from tests.predictions.cases import open_output, rows_of, segment
from tests.s3 import Server
from tests.storage.locks.leases import (
    DIRECTORY,
    QUICK,
    STRICT,
    acquire,
    acquired_within,
    failure,
    objects,
    process,
    put,
)
from vidcnn.errors import OutputBusyError, OutputError
from vidcnn.storage.s3_client import make_client
from vidcnn.storage.uris import split_uri
from vidcnn.storage.versions import VersionedStore


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
