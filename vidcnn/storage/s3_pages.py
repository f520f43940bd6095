"""Listing a folder of S3 in the storage's own pages.

pyarrow hands over a folder when all of it is listed: of millions of objects, that takes minutes, and gigabytes. Here a
page is handed over as it comes, with the same names, sizes and times. If boto3 is missing or finds no login, there are
no pages, and the caller has pyarrow list the folder.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.storage.uris import Uri, split_uri

_TRIES = RetryPolicy(num_tries=5, first_wait_seconds=0.5)
_FIRST_TRIES = RetryPolicy(num_tries=3, first_wait_seconds=0.5)
"""For the first page, there is pyarrow's way too."""
_TIMEOUT_SECONDS = 20
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
            self._is_usable = not _is_final(error)
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


def _is_final(error: Exception) -> bool:
    """Return whether boto3 is not there, or has no login."""
    return isinstance(error, ImportError) or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")


def _may_pass(error: Exception) -> bool:
    """Return whether the storage refused a request because it has too much to do."""
    answer = getattr(error, "response", None) or {}
    return answer.get("Error", {}).get("Code") in ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout")


def _client(uri: Uri) -> Any:
    """Return a client that finds its login and its server as pyarrow's does."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    options = {name: values[-1] for name, values in parse_qs(uri.query.removeprefix("?")).items()}
    server = options.get("endpoint_override")
    if server and "://" not in server:
        server = f"{options.get('scheme', 'https')}://{server}"
    has_own_server = server or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    key, _, secret = map(unquote, uri.login.removesuffix("@").partition(":"))
    is_anonymous = key == "anonymous" and not secret
    config = Config(
        connect_timeout=_TIMEOUT_SECONDS,
        read_timeout=_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path" if has_own_server else "auto"},
        signature_version=UNSIGNED if is_anonymous else None,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=server,
        region_name=options.get("region") or os.environ.get("AWS_REGION"),
        aws_access_key_id=None if is_anonymous else key or None,
        aws_secret_access_key=secret or None,
        verify=options.get("tls_ca_file_path") or (False if _is_off(options) else None),
        config=config,
    )


def _is_off(options: dict[str, str]) -> bool:
    return options.get("tls_verify_certificates", "").lower() in ("false", "0")


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
