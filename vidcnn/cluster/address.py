"""Where a command is to run: the value of ``--cluster``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from vidcnn.errors import UsageError

AUTO = "auto"
"""Means the cluster whose job this process is."""

DASHBOARD_PORT = 8265
"""Where Ray's dashboard listens by default, which serves its jobs."""

_HINT = "--cluster takes a cluster-launcher file (.yaml), or the address of a job server such as http://HOST:8265"


def parse_cluster(text: str) -> str | Path:
    """Find out whether a text is an address or a launcher file.

    Returns:
        The URL of a job server, or the path of a launcher file.

    Raises:
        UsageError: It is neither.
    """
    path = Path(text)
    if path.suffix.lower() in (".yaml", ".yml") and "://" not in text:
        if not path.is_file():
            raise UsageError(f"there is no launcher file '{text}'", _HINT)
        return path
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        (url.hostname or "").encode("idna")
    except ValueError:  # also one that no resolver of names takes
        raise UsageError(f"'{text}' is neither an address nor a launcher file", _HINT) from None
    try:
        port = url.port or (DASHBOARD_PORT if url.scheme == "http" else 443)
    except ValueError:  # its words would repeat a part of a login
        raise UsageError(f"'{text}' is no address: what follows its last colon is no port", _HINT) from None
    if url.scheme == "ray":
        raise UsageError(f"'{text}' is the address of a Ray client", f"name the job server: http://{url.hostname}:8265")
    if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/"):
        raise UsageError(f"'{text}' is neither an address nor a launcher file", _HINT)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{port}"
