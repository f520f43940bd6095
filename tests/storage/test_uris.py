"""Locations, their parts, and failures in plain words."""

from __future__ import annotations

import errno
import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged_text, refusing
from tests.limits import within
from vidcnn.storage.uris import (
    Uri,
    failure_text,
    is_remote,
    local_path,
    open_filesystem,
    public_location,
    split_options,
    split_uri,
)

QUERY = "?endpoint_override=127.0.0.1:9000&scheme=http"
keys = st.text(alphabet="ab/%# ?=&é\n", max_size=12).map(lambda key: key.strip("/"))


def test_a_uri_is_told_from_a_path() -> None:
    remote = ["s3://b/k", "gs://b", "http://x", "abc+d://x"]
    local = ["/a/b", "a:b", "c://x", "file:///a", "./s3://b", "a b://c"]
    assert [is_remote(location) for location in remote + local] == [True] * len(remote) + [False] * len(local)


def test_a_file_uri_is_a_path_whose_percent_signs_are_decoded() -> None:
    assert local_path("file:///a%20b/%e9.mp4") == "/a b/\udce9.mp4"
    assert local_path("file://localhost/a") == "/a"
    assert local_path("/a%20b") == "/a%20b"


@given(key=keys, query=st.sampled_from(["", "?region=eu-west-1", QUERY]), login=st.sampled_from(["", "id:secret@"]))
def test_a_uri_is_taken_apart_and_put_together_again(key: str, query: str, login: str) -> None:
    uri = split_uri(f"s3://{login}bucket/{key}{query}")
    assert uri == Uri("s3", login, "bucket", key, query)
    assert split_uri(uri.location_of(uri.path)) == uri


def test_a_key_is_taken_literally_and_only_known_options_end_it() -> None:
    assert split_uri("s3://b/a%20b/why?.mp4").key == "a%20b/why?.mp4"
    assert split_uri("s3://b/x?page=2").key == "x?page=2"
    assert split_uri(f"s3://b/x?page=2{QUERY}") == Uri("s3", "", "b", "x?page=2", QUERY)
    assert split_uri("s3://b/folder//").path == "b/folder"
    assert split_uri(f"gs://b{QUERY}").path == "b"


@given(key=keys, query=st.sampled_from(["", "?region=eu-west-1", QUERY]))
def test_options_are_told_from_a_question_mark_in_a_key(key: str, query: str) -> None:
    assert split_options(f"s3://bucket/{key}{query}") == (f"s3://bucket/{key}", query)
    assert split_options(f"/{key}{query}") == (f"/{key}{query}", "")


def test_credentials_and_options_are_not_shown() -> None:
    assert public_location(f"s3://id:secret@b/k{QUERY}") == "s3://b/k"
    assert public_location("http://x/y") == "http://x/y"
    assert public_location("/a@b?region=x") == "/a@b?region=x"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://x/y", "http:// is not one of s3://, gs://, gcs://"),
        ("hdfs://x/y", "hdfs:// is not one of s3://, gs://, gcs://"),
        ("s3://", "it names no bucket"),
        ("s3:///key", "it names no bucket"),
        (f"s3://{QUERY}", "it names no bucket"),
    ],
)
def test_a_uri_of_unknown_scheme_or_without_bucket_is_refused(location: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        open_filesystem(location)


def test_a_local_location_opens_the_local_file_system(tmp_path: os.PathLike[str]) -> None:
    filesystem, path = open_filesystem(f"file://{tmp_path}")
    assert (filesystem.type_name, path) == ("local", str(tmp_path))


def test_google_storage_that_cannot_be_reached_is_given_up_in_seconds() -> None:
    filesystem, path = open_filesystem(
        "gs://anonymous@bucket/key?endpoint_override=127.0.0.1:9&scheme=http&retry_limit_seconds=1"
    )
    start = time.monotonic()
    with pytest.raises(OSError, match="UNAVAILABLE") as caught:
        filesystem.get_file_info(path)
    assert time.monotonic() - start < 20
    assert "\n" not in failure_text(caught.value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "does not exist"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be read: permission denied"),
        (OSError(errno.ELOOP, "x"), "cannot be read: its symbolic links lead in a circle"),
        (OSError(errno.EIO, "Input/output error", "/a"), "cannot be read: input/output error"),
        (OSError("AWS Error\n  NO (Request ID: a+/b)"), "cannot be read: AWS Error NO"),
        (ValueError("embedded null byte"), "cannot be read: embedded null byte"),
        (OSError("x" * 1000), f"cannot be read: {'x' * 300}..."),
    ],
)
def test_failures_are_told_in_one_line_of_plain_words(error: Exception, text: str) -> None:
    assert failure_text(error) == text


@pytest.mark.fuzz
@given(
    damaged_text(
        "s3://KEY:SEC/RET@bucket/a/b.mp4?region=x&scheme=http",
        "gs://b/k?x-amz-signature=abc",
        "file://localhost/a%20b%ff",
        "s3://:@/?region=",
        "://:" * 3000,
        "s3:/a:@" * 3000,
    )
)
def test_any_text_is_a_location_or_refused_in_no_time(text: str) -> None:
    with within(20):
        assert is_remote(text) in (True, False)
        assert isinstance(local_path(text), str)
        assert isinstance(public_location(text), str)
        with refusing(ValueError):
            assert split_uri(text).bucket
