"""Logins are found in any text, and taken out of it."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.limits import within
from vidcnn.logins import cut_login, hide_logins, holds_login, quoted_login
from vidcnn.storage.uris import public_location, public_values, split_uri

secrets = st.text(string.ascii_letters + string.digits + "/+=", min_size=16, max_size=40).map(lambda text: f"Zq{text}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@b/k", "s3://b/k"),
        ("S3://KEY:SE/CR+ET=@b/k?region=x", "S3://b/k?region=x"),
        ("there is no 's3:/KEY:SE/CRET@b/k'", "there is no 's3:/b/k'"),
        ("gs://TOKEN@b and s3://KEY:SECRET@c", "gs://b and s3://c"),
        ("s3://KEY:SECRET", "s3://..."),
        ("http://user:word@host:8265/x", "http://host:8265/x"),
        ("http://user:wo/rd@host:8265/x", "http://host:8265/x"),
        ("https://h/x?a=1&X-Amz-Signature=abc&b=2", "https://h/x?a=1&X-Amz-Signature=***&b=2"),
        ("s3://b/k?access_key=A&secret_key=B", "s3://b/k?access_key=***&secret_key=***"),
        ("s3://b/k?endpoint_override=u:p@h:9000", "s3://b/k?endpoint_override=h:9000"),
        ("s3://b/k?endpoint_override=http://u:p@h:9000", "s3://b/k?endpoint_override=http://h:9000"),
    ],
)
def test_a_login_is_taken_out_of_a_text(text: str, shown: str) -> None:
    assert hide_logins(text) == shown
    assert holds_login(text)
    assert not holds_login(shown)


@pytest.mark.parametrize(
    "text",
    [
        "", "a@b", "s3://b/a:b@c", "http://h:80/a@b", "s3://b/k?endpoint_override=h:9&region=x",
        "see s3://bucket: it is", "C:/x@y", "12:30 a@b", "/a/b:c@d", "s3://b/x?page=2&token=3", "key: value",
    ],
)  # fmt: skip
def test_what_is_no_login_stays(text: str) -> None:
    assert hide_logins(text) == text


@given(
    secrets, st.sampled_from(["s3", "gs"]), st.sampled_from(["", "/k", "/a/b@c"]), st.sampled_from(["", "?region=x"])
)
def test_a_secret_is_in_nothing_that_is_shown_and_reaches_the_storage_whole(
    secret: str, scheme: str, key: str, query: str
) -> None:
    location = f"{scheme}://KEY:{secret}@bucket{key}{query}"
    shown = public_location(location)
    assert shown == f"{scheme}://bucket{key}"
    assert secret not in hide_logins(f"cannot parse '{location}', or so") + str(public_values({"a": [location]}))
    uri = split_uri(location)
    assert (uri.login, uri.bucket) == (f"KEY:{secret}@", "bucket")
    assert split_uri(uri.location_of(uri.path)) == uri


def test_anonymous_is_no_login() -> None:
    assert not holds_login("gs://anonymous@bucket/key")
    assert hide_logins("gs://anonymous@bucket/key") == "gs://bucket/key"


def test_a_login_is_quoted_for_the_client_of_the_storage() -> None:
    assert quoted_login("KEY:a/b+c=@") == "KEY:a%2Fb+c=@"
    assert quoted_login("KEY:a%2Fb@") == "KEY:a%2Fb@"
    assert quoted_login("anonymous@") == "anonymous@"
    assert quoted_login("") == ""


def test_the_client_of_the_storage_gets_a_secret_with_slashes_as_it_was_written() -> None:
    from pyarrow import fs

    filesystem, _ = fs.FileSystem.from_uri(split_uri("s3://KEY:a/b+c=@bucket/k?region=us-east-1").root)
    kept = filesystem.__reduce__()[1][0]
    assert (kept["access_key"], kept["secret_key"]) == ("KEY", "a/b+c=")


@pytest.mark.parametrize("location", ["s3://KEY:hush", "s3://KEY:hu/sh", "s3://b/k?secret_key=hush", "s3://:hush@"])
def test_a_login_in_a_wrong_place_is_refused_without_being_repeated(location: str) -> None:
    with pytest.raises(ValueError, match=r"login|no bucket") as caught:
        split_uri(location)
    assert not {"hush", "hu", "sh"} & set(re.findall(r"\w+", str(caught.value) + public_location(location)))


def test_locations_that_differ_in_what_is_hidden_stay_different() -> None:
    locations = [f"https://h/x?X-Amz-Signature={number}" for number in range(3)] + ["https://h/x"]
    assert len({public_location(location) for location in locations}) == 4


def test_a_login_without_an_end_is_refused() -> None:
    assert cut_login("bucket/a:b@c") == ("", "bucket/a:b@c")
    with pytest.raises(ValueError, match="has no end"):
        cut_login("KEY:hush/bucket")


@pytest.mark.parametrize(
    "text",
    ["://:" * 30_000, "@" + "s3:/a:" * 30_000, "://:@" * 30_000, "s3:/a:" * 30_000 + " @"],
)
def test_a_text_of_beginnings_of_uris_takes_no_time(text: str) -> None:
    with within(20):
        hide_logins(text)
