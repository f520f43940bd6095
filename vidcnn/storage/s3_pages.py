"""Listing a folder of S3 in the storage's own pages.

pyarrow hands over a folder when all of it is listed: of millions of objects, that takes minutes, and gigabytes. Here a
page is handed over as it comes, with the same names, sizes and times. If boto3 is missing or finds no login, there are
no pages, and the caller has pyarrow list the folder.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple

from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.storage.s3_client import has_no_login, make_client
from vidcnn.storage.uris import Uri, split_uri

_TRIES = RetryPolicy(num_tries=5, first_wait_seconds=0.5)
_FIRST_TRIES = RetryPolicy(num_tries=3, first_wait_seconds=0.5)
"""For the first page, there is pyarrow's way too."""
_PAGE_SIZE = 1000
"""Names in a page: more are never given."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NANOSECONDS = 10**9


class Listed(NamedTuple):
    """What is in a folder.

    Attributes:
        name: Its name in the folder; empty for a folder whose name is empty.
        is_folder: Whether it stands for all keys that go on with a slash.
        size_bytes: Of an object.
        mtime_ns: When an object was written, in nanoseconds since 1970, whole seconds.
    """

    name: str
    is_folder: bool
    size_bytes: int = 0
    mtime_ns: int = 0


class PagedListing:
    """Lists folders of one bucket, in any number of threads.

    Args:
        uri: The bucket, with credentials and options.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._client: Any = None
        self._is_usable = uri.scheme == "s3"

    def open(self, folder: str) -> Iterator[list[Listed]] | None:
        """Begin to list a folder.

        Args:
            folder: The folder, as ``bucket/key``.

        Returns:
            Pages, in the order of the keys; None if the folder is empty or not there, or boto3 cannot list it. Asking
            for a later page raises an `OSError` where the storage fails.
        """
        if not self._is_usable:
            return None
        bucket, _, key = folder.partition("/")
        prefix = f"{key}/" if key else ""
        try:
            first = retrying(partial(self._ask, bucket, prefix), policy=_FIRST_TRIES, is_passing=_may_pass)
        except Exception as error:
            self._is_usable = not has_no_login(error)
            return None
        if not first.get("Contents") and not first.get("CommonPrefixes"):
            return None
        return (_read(answer, prefix) for answer in self._answers(first, bucket, prefix))

    def _answers(self, first: Any, bucket: str, prefix: str) -> Iterator[Any]:
        yield (answer := first)
        while answer.get("IsTruncated"):
            ask = partial(self._ask, bucket, prefix, ContinuationToken=answer["NextContinuationToken"])
            try:
                answer = retrying(ask, policy=_TRIES, is_passing=lambda error: True)
            except Exception as error:
                raise OSError(f"listing it failed: {error}") from error
            yield answer

    def _ask(self, bucket: str, prefix: str, **options: Any) -> Any:
        """Ask for a page; what boto3 and the answer of a broken server may raise is of many kinds."""
        with self._lock:
            self._client = self._client or _client(self._uri)
        return self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=_PAGE_SIZE, **options)


@lru_cache(maxsize=32)
def paged_listing(root: str) -> PagedListing:
    """Return the one listing of a bucket: making a client costs a look-up of credentials.

    Args:
        root: The bucket, as `vidcnn.storage.uris.Uri.root` has it.
    """
    return PagedListing(split_uri(root))


def _may_pass(error: Exception) -> bool:
    """Return whether the storage refused a request because it has too much to do."""
    answer = getattr(error, "response", None) or {}
    return answer.get("Error", {}).get("Code") in ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout")


def _client(uri: Uri) -> Any:
    return make_client(uri)


def _read(answer: Any, prefix: str) -> list[Listed]:
    folders = [Listed(found["Prefix"][len(prefix) : -1], True) for found in answer.get("CommonPrefixes", ())]
    objects = [
        Listed(found["Key"][len(prefix) :], False, found["Size"], _nanoseconds(found["LastModified"]))
        for found in answer.get("Contents", ())
        if found["Key"] != prefix  # a mark that makes an empty folder show
    ]
    return folders + objects


def _nanoseconds(moment: datetime) -> int:
    """Return a time in whole seconds: listings of some servers have more digits than what is told of one object."""
    return (moment - _EPOCH) // timedelta(seconds=1) * NANOSECONDS
