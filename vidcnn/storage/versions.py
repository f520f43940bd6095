"""Writing to object storage so that it replaces one version of an object, and no other.

A process may stand still at any moment, for hours, and then go on as if nothing had been: also between a look at its
lock and the write that it looked for. So a write names the version that it replaces, and the storage refuses it where
that is not there any more::

    see which version is there -> see that the lock is held -> replace that version
                                                            ^ whoever takes the lock over here changes the version

S3 does this (``If-Match`` and ``If-None-Match``), through boto3. Where the storage cannot (Google's, as pyarrow writes
to it; servers that answer 501) or boto3 finds no login, the version is looked at just before the write.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from pyarrow import fs as pafs

from vidcnn.errors import first_line
from vidcnn.logins import hide_logins
from vidcnn.storage.s3_client import has_no_login, make_client
from vidcnn.storage.uris import open_filesystem, split_uri

_WRITER = "vidcnn-writer"
_NUM_TRIES = 4
_NUM_CONFLICTS = 5
_ANSWER_SECONDS = 60
PIECE_BYTES = 64 * 2**20
"""An object that is larger is sent in pieces of this size, or of what makes 10,000 of them."""
_MAX_PIECES = 10_000


class OutdatedError(OSError):
    """An object is not the version that was to be replaced."""


class _RefusedError(OSError):
    """The storage says that a condition does not hold, or that somebody writes at the same moment."""


class _UnknownConditionError(OSError):
    """The storage knows no conditions."""


class _NoLoginError(Exception):
    """There is no boto3, or it finds no login."""


class VersionedStore:
    """Objects of one storage. Paths are those of its file system: ``bucket/key``.

    Args:
        filesystem: The storage.
        make: Returns a client of boto3; None where there is none for this storage.

    Attributes:
        filesystem: The storage, to list and to read.
        is_strict: Whether the storage itself refuses what is outdated, as far as is known.
    """

    def __init__(self, filesystem: pafs.FileSystem, make: Callable[[], Any] | None = None) -> None:
        self.filesystem = filesystem
        self.is_strict = make is not None
        self._make = make
        self._making = threading.Lock()
        self._client: Any = None
        self._writer = uuid.uuid4().hex

    @classmethod
    def open(cls, location: str) -> tuple[VersionedStore, str]:
        """Return the storage of a location, and the path in it.

        Raises:
            ValueError: The URI is malformed.
            OSError: The storage cannot be reached.
        """
        filesystem, path = open_filesystem(location)
        uri = split_uri(location)
        return cls(filesystem, partial(_client, uri.root) if uri.scheme == "s3" else None), path

    def version(self, path: str) -> str | None:
        """Return what distinguishes the object at a path from others that were there; None if there is none.

        Raises:
            OSError: The storage does not say.
        """
        with suppress(_NoLoginError):
            return self._etag(self._head(path))
        info = self.filesystem.get_file_info(path)
        return f"{info.size}-{info.mtime_ns}" if info.is_file else None

    def put(self, path: str, content: bytes | memoryview, expected: str | None) -> str:
        """Write an object as a whole, in the place of a version.

        Args:
            path: Where.
            content: All of it.
            expected: The version that it replaces; None where there must be none.

        Returns:
            The version that is there now.

        Raises:
            OutdatedError: Something else is there.
            OSError: It cannot be written; perhaps it is written all the same.
        """
        with suppress(_NoLoginError):
            return self._put(path, content, expected)
        self._compare(path, expected)
        # Closing an upload publishes it, even on the way out of an exception: so all of it is written at once.
        sink = self.filesystem.open_output_stream(path)
        sink.write(content)
        sink.close()
        return self.version(path) or ""

    def delete(self, path: str) -> None:
        """Delete an object, if it is there; in S3, no mark of an empty folder is left.

        Raises:
            OSError: It cannot be deleted; perhaps it is deleted all the same.
        """
        with suppress(_NoLoginError):
            self._call("delete_object", path)
            return
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(path)

    def _put(self, path: str, content: bytes | memoryview, expected: str | None) -> str:
        for _ in range(_NUM_CONFLICTS):
            if not self.is_strict:
                self._compare(path, expected)
            try:
                return self._send(path, content, expected)
            except (_RefusedError, FileNotFoundError):
                head = self._head(path)
                found = self._etag(head)
                if head is not None and head.get("Metadata", {}).get(_WRITER) == self._writer:
                    expected = found  # this store wrote it, and the answer got lost
                elif found != expected:
                    raise OutdatedError(f"{path} was changed meanwhile") from None
            except _UnknownConditionError:
                self.is_strict = False
        raise OSError(f"{path} is written by others again and again")

    def _send(self, path: str, content: bytes | memoryview, expected: str | None) -> str:
        condition: dict[str, str] = {}
        if self.is_strict:
            condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        note = {_WRITER: self._writer}
        if len(content) <= PIECE_BYTES:
            whole = bytes(content)
            sent = self._call("put_object", path, Body=whole, ContentMD5=_md5(whole), Metadata=note, **condition)
            return str(sent["ETag"])
        upload = self._call("create_multipart_upload", path, Metadata=note)["UploadId"]
        try:
            parts = []
            size = max(PIECE_BYTES, -(-len(content) // _MAX_PIECES))
            for number, start in enumerate(range(0, len(content), size), 1):
                piece = bytes(content[start : start + size])
                told = {"UploadId": upload, "PartNumber": number, "ContentMD5": _md5(piece)}
                parts.append(
                    {"PartNumber": number, "ETag": self._call("upload_part", path, Body=piece, **told)["ETag"]}
                )
            whole_upload = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
            return str(self._call("complete_multipart_upload", path, **whole_upload, **condition)["ETag"])
        except BaseException:
            with suppress(OSError, _NoLoginError):
                self._call("abort_multipart_upload", path, UploadId=upload)
            raise

    def _compare(self, path: str, expected: str | None) -> None:
        if self.version(path) != expected:
            raise OutdatedError(f"{path} was changed meanwhile")

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self._call("head_object", path)
        except FileNotFoundError:
            return None
        return head

    @staticmethod
    def _etag(head: dict[str, Any] | None) -> str | None:
        return None if head is None else str(head["ETag"])

    def _call(self, action: str, path: str, **options: Any) -> Any:
        """Send a request about an object.

        Raises:
            _NoLoginError: It cannot be sent from here.
            OSError: It failed.
        """
        if self._make is None:
            raise _NoLoginError
        bucket, _, key = path.partition("/")
        try:
            with self._making:
                self._client = self._client or self._make()
            return getattr(self._client, action)(Bucket=bucket, Key=key, **options)
        except Exception as error:  # what boto3 and the answer of a broken server may raise is of many kinds
            if has_no_login(error):
                self._make, self.is_strict = None, False
                raise _NoLoginError from error
            raise _failure(error, f"{bucket}/{key}") from error


@lru_cache(maxsize=32)
def _client(root: str) -> Any:
    """Return the one client of a bucket: making one takes a while."""
    return make_client(split_uri(root), num_tries=_NUM_TRIES, answer_seconds=_ANSWER_SECONDS)


def _failure(error: Exception, path: str) -> OSError:
    """Return what a failure of boto3 means here."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return OSError(f"{path}: {hide_logins(first_line(error))}")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, message = (str(response.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
    text = hide_logins(f"{': '.join(filter(None, (code, message)))} ({path})")
    if code == "NoSuchBucket":
        return OSError(text)
    if code == "NotImplemented":
        return _UnknownConditionError(text)
    kinds: dict[int, type[OSError]] = {
        404: FileNotFoundError,
        409: _RefusedError,
        412: _RefusedError,
        501: _UnknownConditionError,  # where there is no code with it
    }
    return kinds.get(status or 0, OSError)(text)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
