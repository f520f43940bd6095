"""Keep two runs from writing one output in object storage, which has no locks: a lease that is renewed.

Every run that wants the output writes an object of its own, then lists those of the others. The storage shows at once
what was written, so of two runs at least the later one sees the other, and gives way::

    .preds.parquet.vidcnn/lock-5f0c...    held, renewed every 20 s
    .preds.parquet.vidcnn/lock-a91e...    contending: written a moment ago, and about to go

An object that was not renewed for long is of a run that was killed, and is removed. Its age is measured by the
storage's own clock alone: from the modification time of one's own object, written just now. Of one that is dated in the
future, its age counts from when it was first seen, which another object records (``lock.seen-...``). A holder that
cannot renew its object stops writing well before others take it for dead.

A holder may stand still for longer than that, and go on without knowing it: its clock may have stood still as well. So
an object that was removed is not renewed, but lost (`vidcnn.storage.versions`), and a run removes only objects of
locks, one by one.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from vidcnn.errors import CONTINUES, OutputBusyError, OutputError, first_line
from vidcnn.storage.locks.heartbeat import USUAL, Heartbeat, LeaseTiming
from vidcnn.storage.locks.holder import Holder, State, busy, decode, this_process
from vidcnn.storage.versions import OutdatedError, VersionedStore

PREFIX = "lock-"
_SEEN = "lock.seen-"

_NUM_READS = 3
_SIZE_BYTES = 512
_FAILURES = (OSError, pa.ArrowException)


class Lease:
    """A lease that is held, once `acquire` has returned it.

    Args:
        store: The object storage.
        directory: Path of the prefix under which the locks are.
        out: What the lease is for, as messages name it.
        timing: When holders show that they live, and when they are dead.

    Attributes:
        path: The object that shows that the lease is held, as long as it is there.
    """

    def __init__(self, store: VersionedStore, directory: str, out: str, timing: LeaseTiming) -> None:
        self._store = store
        self._filesystem = store.filesystem
        self._directory = directory
        self._out = out
        self._timing = timing
        self._holder = this_process("contending")
        self.path = f"{directory}/{PREFIX}{self._holder.token}"
        self._version: str | None = None
        self._renewed = _now()
        self._problem = ""
        self._lost: OutputError | None = None
        self._heartbeat: Heartbeat | None = None

    @classmethod
    def acquire(cls, store: VersionedStore, directory: str, out: str, timing: LeaseTiming = USUAL) -> Lease:
        """Take the lease, without waiting for a holder.

        Args:
            store: The object storage.
            directory: Path of the prefix under which the locks are.
            out: What the lease is for, as messages name it.
            timing: When a holder is dead.

        Raises:
            OutputBusyError: Another run holds it; the message names it.
            OSError: The storage cannot be written.
        """
        lease = cls(store, directory, out, timing)
        try:
            lease._contend()
        except BaseException:
            with suppress(*_FAILURES):
                store.delete(lease.path)
            raise
        lease._heartbeat = Heartbeat(lease._renew, timing.renew_seconds)
        return lease

    def check(self) -> None:
        """Check that the lease is still held.

        Raises:
            OutputError: It was lost.
            OSError: The storage does not answer.
        """
        silent_seconds = _now() - self._renewed
        if self._lost is None and silent_seconds > self._timing.lost_seconds:
            why = f": {self._problem}" if self._problem else ""
            self._lose(f"it could not be renewed for {silent_seconds:.0f} s{why}")
        if self._lost is None and not self._filesystem.get_file_info(self.path).is_file:
            self._lose("it was removed")
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Give the lease back, and remove the prefix if nothing else is under it. Doing it again does nothing."""
        if self._heartbeat is None:
            return
        self._heartbeat.stop()
        self._heartbeat = None
        with suppress(*_FAILURES):
            self._store.delete(self.path)
            left = self._list()
            if not any(info.base_name.startswith(PREFIX) for info in left):
                for info in left:
                    if info.base_name.startswith(_SEEN):
                        self._store.delete(info.path)

    def _contend(self) -> None:
        """Try to become the holder.

        Raises:
            OutputBusyError: Another run is.
        """
        blocking = None
        for _ in range(self._timing.num_attempts):
            others: list[Holder] | None = None
            try:
                self._write("contending")
                others = self._others()
                if others == []:
                    self._renewed = _now()
                    self._write("held")
                    others = self._others()
                    if others is not None and all(other.state == "contending" for other in others):
                        return
            except OutdatedError:  # another run took this one for dead: it stood still
                self._version = None
            if others:
                blocking = next((other for other in others if other.state == "held"), others[0])
                if blocking.state == "held":
                    raise self._busy(blocking)
                if min(other.token for other in others) < self._holder.token:
                    # One of those that contend stays, and takes it when the others are gone.
                    self._store.delete(self.path)
                    self._version = None
            time.sleep(self._timing.retry_seconds * random.uniform(0.5, 1.5))
        raise self._busy(blocking or "others come and go")

    def _others(self) -> list[Holder] | None:
        """Return the other runs that hold the lease or try to, and remove those that are dead.

        Returns:
            None if one's own object is not there.
        """
        found = self._list()
        infos = {info.path: info for info in found if info.base_name.startswith(PREFIX)}
        seen = {info.path: info for info in found if info.base_name.startswith(_SEEN)}
        own = infos.pop(self.path, None)
        if own is None:
            return None
        others = []
        for path, info in infos.items():
            holder = self._read(path)
            if holder is None:
                continue  # it has just gone
            silent_seconds = (own.mtime_ns - info.mtime_ns) / 1e9
            if silent_seconds < -self._timing.dead_seconds:
                silent_seconds = self._silent_since_seen(holder, info, own, seen)
            if silent_seconds > self._timing.dead_seconds or holder.has_ended:
                self._store.delete(path)
            else:
                others.append(holder)
        return others

    def _silent_since_seen(self, holder: Holder, info: Any, own: Any, seen: dict[str, Any]) -> float:
        """Return for how long an object that is dated in the future is known; note it where it is met first."""
        path = f"{self._directory}/{_SEEN}{holder.token}-{info.mtime_ns}"
        if path in seen:
            silent_seconds: float = (own.mtime_ns - seen[path].mtime_ns) / 1e9
            return silent_seconds
        with suppress(OutdatedError):  # another run has noted it
            self._store.put(path, holder.encode(), None)
        return 0.0

    def _renew(self) -> float | None:
        """Show that this run lives.

        Returns:
            Seconds until the next time; None once the lease is lost.
        """
        began = _now()
        try:
            others = self._others()
            if others is None:
                self._lose("it was removed")
            elif held := [other for other in others if other.state == "held"]:
                text = f"the lock on {self._out} is held by another run too ({held[0]})"
                self._lost = OutputBusyError(text, CONTINUES)
            elif began - self._renewed <= self._timing.lost_seconds:
                self._write("held")
                self._renewed, self._problem = began, ""
        except OutdatedError:
            self._lose("it was removed")
        except _FAILURES as error:
            self._problem = first_line(error)
            return None if self._lost else self._timing.renew_seconds / 4
        return None if self._lost else self._timing.renew_seconds

    def _lose(self, why: str) -> None:
        self._lost = OutputError(f"the lock on {self._out} was lost: {why}", CONTINUES)

    def _busy(self, holder: Holder | str) -> OutputBusyError:
        if isinstance(holder, str) or holder.is_here:
            return busy(self._out, holder)
        seconds = self._timing.dead_seconds
        return busy(
            self._out, holder, f"wait until it ends; if it was killed, the output is free {seconds:.0f} s later"
        )

    def _list(self) -> list[Any]:
        infos: list[Any] = self._filesystem.get_file_info(pafs.FileSelector(self._directory, allow_not_found=True))
        return [info for info in infos if info.is_file]

    def _read(self, path: str) -> Holder | None:
        """Read another's object; None if it is not there any more."""
        for num_left in reversed(range(_NUM_READS)):
            try:
                with self._filesystem.open_input_file(path) as source:
                    content = source.read()
                break
            except FileNotFoundError:
                return None
            except OSError:
                # Between the look at its size and the reading, it went or was renewed.
                if not self._filesystem.get_file_info(path).is_file:
                    return None
                if not num_left:
                    raise
        return decode(content) or replace(this_process("held"), token="", pid=0, host="a machine unknown", started=None)

    def _write(self, state: State) -> None:
        """Write one's own object; others that read it meet one size.

        Raises:
            OutdatedError: It was removed.
        """
        content = replace(self._holder, state=state).encode().ljust(_SIZE_BYTES)
        self._version = self._store.put(self.path, content, self._version)


def look(store: VersionedStore, directory: str, out: str, timing: LeaseTiming = USUAL) -> None:
    """Check that nobody holds the lease, as far as this machine's clock shows, without taking it or changing anything.

    Args:
        store: The object storage.
        directory: Path of the prefix under which the locks are.
        out: What the lease is for, as messages name it.
        timing: When a holder is dead.

    Raises:
        OutputBusyError: Another run holds it.
        OSError: The storage cannot be read.
    """
    reader = Lease(store, directory, out, timing)
    for info in reader._list():
        if not info.base_name.startswith(PREFIX):
            continue
        holder = reader._read(info.path)
        if holder is None or holder.has_ended:
            continue
        is_fresh = abs(time.time() - info.mtime_ns / 1e9) < timing.dead_seconds
        if is_fresh or holder.is_certain:
            raise reader._busy(holder)


def _now() -> float:
    """Return a time in seconds that also advances while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
