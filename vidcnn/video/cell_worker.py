"""The decoding process: takes work from its parent, and ends with it.

It is started by `vidcnn.video.cell` as ``python -m vidcnn.video.cell_worker CHANNEL LIFELINE STATUS FILES YIELDS
SANDBOX MODULE``, with the numbers of four descriptors that it inherits, how it is confined, and the module that its
work is in. It is confined when it has loaded what its first work needs, before that begins (`vidcnn.sandbox`). Little
is imported here before the first step of that, as libraries start threads.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from vidcnn.processes import lower_priority
from vidcnn.sandbox import confinement

READY, CONFINED, VALUE, ERROR, END, STRANGE = "ready", "confined", "value", "error", "end", "strange"
"""What a message of this process is; `STRANGE` is about work that needs what can no longer be loaded."""
NEXT = "next"

Preparation = tuple[Callable[..., object], tuple[Any, ...]]
"""A function that is called before a process is confined, so that all that some work needs is loaded."""


def main() -> None:
    """Serve the parent until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    channel_file, lifeline, status_file, files, yields = map(int, sys.argv[1:6])
    wanted: Any = sys.argv[6]
    confinement.begin(wanted)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    if yields:
        lower_priority()
    from vidcnn.video import cell_status
    from vidcnn.video.cell_channel import send_plain

    cell_status.show(status_file)
    with socket.socket(fileno=channel_file) as channel, socket.socket(fileno=files) as file_channel:
        try:
            with suppress(Exception):  # what is wrong with it shows when its work arrives
                import_module(sys.argv[7])
            if wanted != "off":
                from vidcnn.video.warm_up import warm_up

                warm_up()
            send_plain(channel, (READY, None))
            is_confined = False
            while True:
                is_confined = _serve(channel, None if is_confined else (wanted, file_channel)) or is_confined
        except (EOFError, ConnectionError):
            return  # the parent has gone


def _serve(channel: socket.socket, confining: tuple[Any, socket.socket] | None) -> bool:
    """Take some work, and send what comes of it, one value each time that the parent asks.

    Args:
        channel: Leads to the parent.
        confining: How this process is to be confined before it begins, and what leads to who opens files for it; None
            where that is done.

    Returns:
        Whether it is confined.
    """
    from vidcnn.video import file_client
    from vidcnn.video.cell_channel import receive, send_plain

    is_asked = is_confined = False
    try:
        try:
            work, items, arguments, preparation = receive(channel)
        except (ImportError, AttributeError, PermissionError):
            if confining is not None:
                raise
            receive(channel)
            send_plain(channel, (STRANGE, None))
            return True
        if confining is not None:
            strength = _confine(*confining, preparation)
            is_confined = True
            send_plain(channel, (CONFINED, tuple(strength)))
        if (files := file_client.client()) is not None:
            files.begin()
        values: Iterator[Any] = iter(work(items, *arguments))
        while is_asked := receive(channel) == NEXT:
            try:
                value = next(values)
            except StopIteration:
                send_plain(channel, (END, None))
                break
            send_plain(channel, (VALUE, value))
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)).rstrip())
        if not is_asked and (confining is None or is_confined):
            receive(channel)  # the question that this answers
        send_plain(channel, (ERROR, error))
    finally:
        gc.collect()  # PyAV's objects refer to each other in circles
    return is_confined


def _confine(wanted: Any, file_channel: socket.socket, preparation: Preparation | None) -> confinement.Strength:
    from vidcnn.video import file_client, stopwatch

    if wanted != "off" and preparation is not None:
        with suppress(Exception):
            preparation[0](*preparation[1])
    if wanted != "off":
        stopwatch.keep_counter_open()
    strength = confinement.close(wanted)
    if strength.is_closed:
        file_client.connect(file_channel)
    return strength


def _end_with_parent(lifeline: int) -> None:
    """Wait until the parent goes, which closes the other end, and end this process whatever it is doing."""
    while os.read(lifeline, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
