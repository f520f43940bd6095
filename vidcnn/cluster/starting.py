"""`ray.init`, with its handler of SIGTERM kept away and its failures in one line."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from vidcnn.cluster.ray_internals import written_command
from vidcnn.errors import first_line


class RayStartError(Exception):
    """Ray can neither be started nor reached; the message is one line."""


def init_ray(**options: Any) -> None:
    """Start a Ray, or connect to one.

    Args:
        **options: For `ray.init`.

    Raises:
        RayStartError: It cannot be done.
    """
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with written_command():
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:  # a plain Exception, too, is what Ray raises where it starts too slowly
        raise RayStartError(first_line(error)) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray puts its own in place
