"""Prints the last message of a command that ends without one, and ends the processes that it leaves.

When one of its connections breaks, Ray's native code may end the process that uses it on the spot: nothing of Python
gets to run, neither a `finally` nor another thread. A crash in a library and SIGKILL do the same. So a small process,
the witness, waits at the other end of a pipe. If the pipe closes before the command has sent that all is well, the
witness writes the line that the command could not, ends the processes of its Ray, and removes their files.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from vidcnn import interrupts
from vidcnn.cluster.watch import MARK
from vidcnn.processes import end_processes, is_ending, processes_with, run_module

_DONE = "done"
_ENDING = "ending"
_ABRUPT = "the command ended abruptly: it was killed, as where memory is short, or a library ended it"
_END_SECONDS = 5.0
_BURY_SECONDS = 0.2
_NUM_BURIALS = 10


class Witness:
    """The side of the command. Use it as a context manager, and start it before anything has the mark.

    Args:
        scratch: The directory of an embedded Ray.
        hint: What becomes of the work that is done.
    """

    def __init__(self, scratch: Path, hint: str) -> None:
        self._arguments = [str(os.getpid()), str(scratch), hint]
        self._process: subprocess.Popen[str] | None = None
        self._stays = False

    def __enter__(self) -> Self:
        stderr = None
        with suppress(OSError, ValueError):  # a stream of a test or a notebook
            stderr = sys.stderr.fileno()
        command, environment = run_module("vidcnn.cluster.witness")
        with suppress(OSError):  # without a witness a run is a run still
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stays:
            interrupts.when_all_is_told(self.dismiss)
        else:
            self.dismiss()

    def watch(self, servers: Mapping[int, str]) -> None:
        """Name the processes that the command cannot do without.

        Args:
            servers: What each is called, by its number.
        """
        self._say("".join(f"{pid} {name}\n" for pid, name in servers.items()))

    def ending(self) -> None:
        """Announce that the servers may end from now on."""
        self._say(f"{_ENDING}\n")

    def stay(self) -> None:
        """Keep the witness beyond the block, until the command has written its last line, since its Ray is dead."""
        self._stays = True

    def dismiss(self) -> None:
        """Announce that all is well, or that the command has printed what is not; a second call does nothing."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.write(f"{_DONE}\n")
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _say(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(text)
                self._process.stdin.flush()


def main(command: str, scratch: str, hint: str) -> None:
    """Wait for the end of a command, and print its last message if it ended without one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    cause = _wait(int(command))
    if cause is None:
        return
    start = "\n" if os.isatty(2) else ""  # the progress may be in this line
    with suppress(OSError):
        os.write(2, f"{start}vidcnn: {cause}\n        {hint}\n".encode())
    for _ in range(_NUM_BURIALS):
        left = processes_with(MARK, scratch)
        end_processes(left, patience_seconds=0)
        if not left:
            break
        time.sleep(_BURY_SECONDS)  # one that is just starting may start others
    shutil.rmtree(scratch, ignore_errors=True)


def _wait(command: int) -> str | None:
    """Wait for the end of the command, and return why it came; None if the command has announced it itself."""
    servers: dict[int, str] = {}
    death, text = "", b""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    while True:
        events = dict(poll.poll())
        for descriptor in events.keys() - {0}:
            # One that dies before the command is the cause; the kernel kills them when the command dies, too.
            if not death and not is_ending(command):
                death = servers[descriptor]
            poll.unregister(descriptor)
        if 0 not in events:
            continue
        heard = os.read(0, 4096)
        if not heard:
            return f"Ray's {death} on this machine died" if death else _ABRUPT
        *lines, text = (text + heard).split(b"\n")
        for line in map(bytes.decode, lines):
            if line == _DONE:
                return None
            if line == _ENDING:
                death = ""
                for descriptor in servers:
                    with suppress(KeyError):  # it has ended already
                        poll.unregister(descriptor)
                servers.clear()
                continue
            pid, _, name = line.partition(" ")
            try:
                descriptor = os.pidfd_open(int(pid))
            except ProcessLookupError:
                death = death or ("" if is_ending(command) else name)
            except (OSError, AttributeError):  # a system without such descriptors
                continue
            else:
                servers[descriptor] = name
                poll.register(descriptor, select.POLLIN)


if __name__ == "__main__":
    main(*sys.argv[1:])
