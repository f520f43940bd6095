"""A process that runs another one, and ends it and all that it started when whoever asked for it is gone.

It is run by its path, as ``python -I keeper.py COMMAND...``, and needs nothing but the standard library. Whoever starts
it keeps the other end of its standard input: when that closes, for whatever reason, even SIGKILL, the command's process
group ends. Its exit status is that of the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_PATIENCE_SECONDS = 3.0


def main(command: list[str]) -> int:
    """Run a command to its end, or to the end of standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, unlike SIG_IGN, is not inherited by the command
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_end_with_input, daemon=True).start()
    status = child.wait()
    _end_group()
    return status if status >= 0 else 128 - status


def _end_with_input() -> None:
    # Not through sys.stdin, whose lock Python would want back when it ends while this thread waits.
    while os.read(0, 4096):
        pass
    _end_group()
    time.sleep(_PATIENCE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _end_group() -> None:
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
