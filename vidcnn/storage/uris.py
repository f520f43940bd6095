"""Where bytes live: local paths and object storage behind `pyarrow.fs`.

A *location* is an absolute local path, or a URI such as ``s3://bucket/key``. Local paths may contain bytes that
are not UTF-8; they travel as `str` with surrogate escapes, as Python's own `os` functions return them.

The key of a URI is taken as it is, without percent-decoding, as the storage vendors' own command lines do. It
may be followed by options of the file system:
``s3://bucket/key?endpoint_override=127.0.0.1:9000&scheme=http``. It may contain a login,
``s3://KEY:SECRET@bucket/key``: a location with one is for this program's memory alone. What is printed, written, or
sent as the record of something is first passed to `public_location`, `public_values` or `vidcnn.logins.hide_logins`.
"""

from __future__ import annotations

import errno
import os
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from vidcnn.logins import cut_login, hide_logins, holds_login, is_signed, quoted_login

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEMES = ("s3", "gs", "gcs")
"""Schemes of the object storage that can be read and written."""

_REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")

# Only options that pyarrow.fs takes from a URI: a key may contain a question mark of its own.
_OPTION = (
    "(?:allow_bucket_creation|allow_bucket_deletion|allow_delayed_open|endpoint_override|project_id|region"
    "|retry_limit_seconds|scheme|smart_defaults|tls_ca_dir_path|tls_ca_file_path|tls_verify_certificates)=[^&?]*"
)
_QUERY = re.compile(rf"\?{_OPTION}(?:&{_OPTION})*$")

_GOOGLE_RETRY_SECONDS = 30
"""How long Google's client repeats a failing request; left alone it tries for 15 minutes."""

_MAX_FAILURE_CHARS = 300


class Uri(NamedTuple):
    """The parts of a location in object storage.

    Attributes:
        scheme: One of `SCHEMES`.
        login: Credentials before the bucket with their ``@``, or empty.
        bucket: Name of the bucket.
        key: Key of the object, or the prefix that is a folder; without slashes at its end.
        query: Options of the file system with their ``?``, or empty.
    """

    scheme: str
    login: str
    bucket: str
    key: str
    query: str

    @property
    def path(self) -> str:
        """The path inside the file system: ``bucket/key``."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    @property
    def root(self) -> str:
        """The URI of the bucket, with credentials and options: what one client is made from."""
        return f"{self.scheme}://{quoted_login(self.login)}{self.bucket}{self.query}"

    @property
    def public(self) -> str:
        """The URI as it may be shown: without credentials and options."""
        return f"{self.scheme}://{self.path}"

    def location_of(self, path: str) -> str:
        """Return the location of another path in the same file system."""
        return f"{self.scheme}://{self.login}{path}{self.query}"


def is_remote(location: str) -> bool:
    """Return whether a location is a URI of object storage rather than a local path."""
    return "://" in location and bool(_REMOTE.match(location)) and not location.startswith("file://")


def local_path(location: str) -> str:
    """Return a local location as a path: ``file://`` is taken off, and what it percent-encodes is decoded."""
    if not location.startswith("file://"):
        return location
    return unquote(location.removeprefix("file://").removeprefix("localhost"), errors="surrogateescape")


def split_uri(location: str) -> Uri:
    """Take the URI of a bucket, a folder or an object apart.

    Raises:
        ValueError: The scheme is not one of `SCHEMES`, there is no bucket, or a login is where none is read. The
            message does not repeat it.
    """
    scheme, _, rest = location.partition("://")
    if scheme.lower() not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"{scheme}:// is not one of {known}")
    query = split_options(location)[1]
    login, path = cut_login(rest.removesuffix(query))
    bucket, _, key = path.partition("/")
    if not bucket:
        raise ValueError("it names no bucket")
    if is_signed(key):
        raise ValueError("no login is read from options: write KEY:SECRET@ before the bucket, or set AWS_ACCESS_KEY_ID")
    return Uri(scheme.lower(), login, bucket, key.rstrip("/"), query)


def split_options(location: str) -> tuple[str, str]:
    """Return a location without the options of its file system, and these with their ``?``, or empty."""
    match = _QUERY.search(location) if is_remote(location) else None
    return (location[: match.start()], match.group()) if match else (location, "")


def public_location(location: str) -> str:
    """Return a location as it may be shown: a URI without its login and options. Two objects stay two locations."""
    if not is_remote(location):
        return location
    try:
        return split_uri(location).public
    except ValueError:
        shown = hide_logins(location)
        if not is_signed(location):
            return shown
        digest = sha256(location.encode(errors="surrogateescape")).hexdigest()
        return f"{shown.partition('?')[0]}?{digest[:8]}"


def public_values(value: Any) -> Any:
    """Return JSON values as they may be written or sent: no text in them contains a login."""
    match value:
        case str():
            return public_location(value) if is_remote(value) and holds_login(value) else hide_logins(value)
        case list() | tuple():
            return [public_values(item) for item in value]
        case dict():
            return {name: public_values(item) for name, item in value.items()}
    return value


def open_filesystem(location: str) -> tuple[FileSystem, str]:
    """Resolve a location to its file system and the path inside it.

    Raises:
        ValueError: The URI's scheme is unknown, or the URI is malformed.
        OSError: The storage cannot be reached.
    """
    from pyarrow import fs

    if not is_remote(location):
        return fs.LocalFileSystem(), local_path(location)
    uri = split_uri(location)
    return _remote_filesystem(uri.root), uri.path


def failure_text(error: Exception) -> str:
    """Return in plain words, on one line, why a file or folder cannot be read.

    Returns:
        A phrase that continues a sentence after the name, such as ``cannot be read: permission denied``.
    """
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    code = error.errno if isinstance(error, OSError) else None
    if isinstance(error, PermissionError):
        reason = "permission denied"
    elif code == errno.ELOOP:
        reason = "its symbolic links lead in a circle"
    elif code is not None:
        reason = os.strerror(code).lower()
    else:
        reason = hide_logins(re.sub(r" ?\(Request ID: [^)]*\)", "", " ".join(str(error).split())))
    if len(reason) > _MAX_FAILURE_CHARS:
        reason = f"{reason[:_MAX_FAILURE_CHARS]}..."
    return f"cannot be read: {reason}"


@lru_cache(maxsize=32)
def _remote_filesystem(root: str) -> FileSystem:
    """One client for each bucket: making one costs a look-up of region and credentials."""
    from pyarrow import fs

    if not root.startswith("s3:") and "retry_limit_seconds=" not in root:
        root += f"{'&' if '?' in root else '?'}retry_limit_seconds={_GOOGLE_RETRY_SECONDS}"
    filesystem, _ = fs.FileSystem.from_uri(root)
    return filesystem
