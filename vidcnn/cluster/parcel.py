"""What only a job itself may know, on its way to it: through the memory of the cluster's head, and nowhere else.

A parcel is left in the store of the head under a name that nobody can guess, over the connection on which the job is
submitted. It touches no disk, no command line, and no record of the job, which has its name at most. The job takes
locations out as the first thing it does, so that they are there no longer. Environment variables stay until the job
ends: each of its processes, on whatever machine, sets them when it starts (`set_variables`).
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress

from vidcnn.cluster.ray_internals import head_address, read_store, remove_from_store

VARIABLES = "VIDCNN_VARIABLES"
"""Environment variable with the name of the parcel of environment variables."""

_PREFIX, _SUFFIX = "_ray_pkg_", ".zip"


def new_name() -> str:
    """Return a name for a parcel, as Ray names what is sent to it."""
    return f"{_PREFIX}{secrets.token_hex(16)}{_SUFFIX}"


def pack(values: dict[str, str]) -> bytes:
    """Return the content of a parcel."""
    return json.dumps(values).encode()


def take(name: str) -> dict[str, str]:
    """Take a parcel out of the store of the head whose job this process is.

    Returns:
        Its values; none if it is not there any more.
    """
    values = _read(name, os.environ["RAY_ADDRESS"])
    _remove(name)
    return values


def remove_variables() -> None:
    """Take the environment variables that were sent along with this job out of the store of the head: it ends."""
    name = os.environ.get(VARIABLES)
    if name is not None:
        with suppress(Exception):  # the head may be what has gone
            _remove(name)


def _remove(name: str) -> None:
    remove_from_store(os.environ["RAY_ADDRESS"], _key(name))


def set_variables(address: str | None = None) -> bool:
    """Set the environment variables that were sent along with the job that this process belongs to.

    Ray calls this in each process that it starts for the job.

    Args:
        address: Address of the head; None asks Ray, which must be connected to it.

    Returns:
        False if there were some, and are not there any more.
    """
    name = os.environ.get(VARIABLES)
    if name is None:
        return True
    values = _read(name, address or head_address())
    os.environ.update(values)
    return bool(values)


def _read(name: str, address: str) -> dict[str, str]:
    content = read_store(address, _key(name))
    values: dict[str, str] = json.loads(content) if content else {}
    return values


def _key(name: str) -> bytes:
    return f"gcs://{name}".encode()
