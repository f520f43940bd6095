"""The decoding process: takes work from its parent, and ends with it.

It is started by `vidcnn.video.cell` as ``python -m vidcnn.video.cell_worker CHANNEL LIFELINE STATUS YIELDS MODULE``,
with the numbers of three descriptors that it inherits, and the module that its work is in.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from vidcnn.processes import lower_priority
from vidcnn.video import cell_status
from vidcnn.video.cell_channel import receive, send

READY, VALUE, ERROR, END = "ready", "value", "error", "end"
NEXT = "next"


def main() -> None:
    """Serve the parent until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    channel_file, lifeline, status_file, yields = map(int, sys.argv[1:5])
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    if yields:
        lower_priority()
    cell_status.show(status_file)
    with socket.socket(fileno=channel_file) as channel:
        try:
            with suppress(Exception):  # what is wrong with it shows when its work arrives
                import_module(sys.argv[5])
            send(channel, (READY, None))
            while True:
                _serve(channel)
        except (EOFError, ConnectionError):
            return  # the parent has gone


def _serve(channel: socket.socket) -> None:
    """Take some work, and send what comes of it, one value each time that the parent asks."""
    is_asked = False
    try:
        work, items, arguments = receive(channel)
        values: Iterator[Any] = iter(work(items, *arguments))
        while is_asked := receive(channel) == NEXT:
            try:
                value = next(values)
            except StopIteration:
                send(channel, (END, None))
                return
            send(channel, (VALUE, value))
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)).rstrip())
        if not is_asked:
            receive(channel)  # the question that this answers
        send(channel, (ERROR, error))
    finally:
        gc.collect()  # PyAV's objects refer to each other in circles


def _end_with_parent(lifeline: int) -> None:
    """Wait until the parent goes, which closes the other end, and end this process whatever it is doing."""
    while os.read(lifeline, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
