"""The way to a cluster's dashboard: from a `Launcher` to an address of this machine, for as long as a block lasts.

SSH itself forwards the port, rather than ``ray dashboard``: that starts a remote shell besides, shares its connection
with others in a master process that outlives it, accepts any host key, and reports a head that is down, a refused
key and a busy port in the same words.
"""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from vidcnn.cluster.children import Child
from vidcnn.cluster.head import Head, find_head, start_cluster
from vidcnn.cluster.launcher import Launcher
from vidcnn.cluster.ssh import UnreachableError, explain, is_port_taken, last_words, tunnel_command
from vidcnn.errors import VidcnnError
from vidcnn.storage.scratch import scratch_directory

_OPEN_SECONDS = 45.0
"""For SSH to open the tunnel: it gives up connecting by itself before that."""
_ANSWER_SECONDS = 10.0
_REQUEST_SECONDS = 5.0
_START_SECONDS = 90.0
"""For the dashboard of a head that was just started to answer."""
_STALL_SECONDS = 30.0
"""For a dashboard that has answered before: SSH takes half of it to find a dead connection."""
_POLL_SECONDS = 0.1
_REOPEN_WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds to wait before each try to open a broken tunnel again."""
_PORT_TRIES = 5


class Tunnel:
    """A port of this machine that leads to the dashboard of a cluster's head.

    Args:
        head: The way to the head.
        launcher: The cluster.
        scratch: Folder for what SSH remembers and prints.
        say: Prints what the user should know.
    """

    def __init__(self, head: Head, launcher: Launcher, scratch: Path, say: Callable[[str], None]) -> None:
        self._head, self._launcher, self._scratch, self._say = head, launcher, scratch, say
        self._port = 0
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Where the dashboard answers, as ``http://127.0.0.1:PORT``; the same all along."""
        return f"http://127.0.0.1:{self._port}"

    def open(self, patience_seconds: float) -> None:
        """Open the tunnel.

        Args:
            patience_seconds: How long to wait for the dashboard to answer.

        Raises:
            UnreachableError: The head does not answer, or its dashboard does not.
            VidcnnError: SSH refuses.
        """
        for remaining in reversed(range(_PORT_TRIES)):
            self._port = _free_port()
            try:
                self._open()
                break
            except _PortTakenError:
                if not remaining:
                    raise
        self._wait_for_answer(patience_seconds)

    def check(self) -> None:
        """Make sure that the dashboard can be reached, and open the tunnel again if it broke.

        To be called when a request failed, and now and then besides.

        Raises:
            VidcnnError: It stays broken, or the dashboard does not answer any more.
        """
        if self._is_open():
            try:
                self._wait_for_answer(_STALL_SECONDS)
                return
            except UnreachableError:
                if self._is_open():
                    raise
        words = last_words(self._said())
        self._say(
            f"the tunnel to cluster '{self._launcher.name}' broke{f': {words}' if words else ''}; opening it again"
        )
        for index, seconds in enumerate(_REOPEN_WAITS, 1):
            time.sleep(seconds)
            try:
                self._open()
                self._wait_for_answer(_ANSWER_SECONDS)
            except (UnreachableError, _PortTakenError) as error:
                if index == len(_REOPEN_WAITS):
                    raise VidcnnError(
                        f"{error.message} (tried {index} times)",
                        "what was submitted continues; the same command follows it again when the head is back",
                    ) from error
            else:
                self._say(f"the tunnel to cluster '{self._launcher.name}' is back")
                return

    def close(self) -> None:
        """Close the tunnel."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _open(self) -> None:
        self.close()
        remembered, printed = self._scratch / "known_hosts", self._scratch / "printed"
        printed.unlink(missing_ok=True)
        command = tunnel_command(self._head, self._port, self._launcher.dashboard_port, remembered)
        with printed.open("ab") as output:
            self._child = Child(command, stdout=output, stderr=output, environment={"LC_ALL": "C"})
        deadline = time.monotonic() + _OPEN_SECONDS
        while not _listens(self._port):
            if self._child.status is not None or time.monotonic() > deadline:
                self.close()
                if is_port_taken(self._said()):
                    raise _PortTakenError(f"the local port {self._port} is taken by something else")
                raise explain(self._said(), self._head, self._launcher)
            time.sleep(_POLL_SECONDS)
        if self._child.status is not None:  # somebody else listens there
            raise _PortTakenError(f"the local port {self._port} is taken by something else")

    def _wait_for_answer(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not _answers(self._port):
            if not self._is_open():
                raise explain(self._said(), self._head, self._launcher)
            if time.monotonic() > deadline:
                raise self._silence()
            time.sleep(5 * _POLL_SECONDS)

    def _is_open(self) -> bool:
        return self._child is not None and self._child.status is None

    def _silence(self) -> VidcnnError:
        """Return the error for a dashboard that does not answer."""
        words = last_words(self._said())
        if "administratively prohibited" in words:
            return explain(words, self._head, self._launcher)
        name, file = self._launcher.name, self._launcher.path.name
        message = (
            f"the head of cluster '{name}' ({self._head.host}) lets us in, but Ray's dashboard does not answer on its "
            f"port {self._launcher.dashboard_port}{f': {words}' if words else ''}"
        )
        if "Connection refused" in words:
            return _NoRayError(message, "--up starts Ray there")
        return UnreachableError(message, f"`ray exec {file} 'ray status'` shows its state")

    def _said(self) -> str:
        return (self._scratch / "printed").read_text(errors="replace")


class _PortTakenError(VidcnnError):
    """Another program listens on the local port."""


class _NoRayError(UnreachableError):
    """Nothing listens where Ray's dashboard would, so that starting Ray disturbs nobody."""


@contextmanager
def reach_cluster(launcher: Launcher, *, up: bool, say: Callable[[str], None]) -> Iterator[Tunnel]:
    """Open the way to a cluster's dashboard, and close it with the block.

    A cluster that runs is left as it is, with or without `up`: ``ray up`` would start its Ray again, and end every job.

    Args:
        launcher: The cluster.
        up: Whether to start it with ``ray up`` if it does not run.
        say: Prints a line that the user should know.

    Raises:
        VidcnnError: The cluster does not run and may not be started, does not start, or cannot be reached.
    """
    with scratch_directory("vidcnn-ssh-", Path(tempfile.gettempdir())) as scratch:
        head = find_head(launcher)
        if head is None and not up:
            raise VidcnnError(f"cluster '{launcher.name}' does not run", "--up starts it")
        with ExitStack() as tunnels:
            if head is not None:
                tunnel = tunnels.enter_context(closing(Tunnel(head, launcher, scratch, say)))
                try:
                    tunnel.open(_ANSWER_SECONDS)
                except _NoRayError:
                    if not up:
                        raise
                    head = None
            if head is None:
                start_cluster(launcher, say)
                head = find_head(launcher)
                if head is None:
                    raise VidcnnError(f"`ray up` ended well, but cluster '{launcher.name}' has no head")
                tunnel = tunnels.enter_context(closing(Tunnel(head, launcher, scratch, say)))
                tunnel.open(_START_SECONDS)
            with _without_proxy():
                yield tunnel


@contextmanager
def _without_proxy() -> Iterator[None]:
    """Keep what is meant for the tunnel from the proxy that the environment may name."""
    before = os.environ.get("no_proxy")
    others = before or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{others},127.0.0.1" if others else "127.0.0.1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(port: int) -> bool:
    """Return whether an HTTP server answers, even if only that it wants a token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS)
    try:
        connection.request("GET", "/api/version")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
