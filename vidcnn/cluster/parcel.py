"""What only a job itself may know, on its way to it: through the memory of the cluster's head, and nowhere else.

A parcel is left in the store of the head under a name that nobody can guess, over the connection on which the job is
submitted. The job takes it out as the first thing it does, so that it is there no longer. It touches no disk, no
environment, no command line, and no record of the job.
"""

from __future__ import annotations

import json
import os
import secrets

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
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    client = GcsClient(address=os.environ["RAY_ADDRESS"])
    key = f"gcs://{name}".encode()
    content = client.internal_kv_get(key, None)
    client.internal_kv_del(key, False, None)
    values: dict[str, str] = json.loads(content) if content else {}
    return values
