from __future__ import annotations

import pytest
from botocore import UNSIGNED

from vidcnn.storage.s3_client import has_no_login, make_client
from vidcnn.storage.uris import split_uri


@pytest.mark.parametrize(
    ("uri", "server", "style", "key"),
    [
        ("s3://b/v?endpoint_override=h:9000&scheme=http", "http://h:9000", "path", "dummy"),
        ("s3://b/v?endpoint_override=https://h&region=eu-west-1", "https://h", "path", "dummy"),
        ("s3://KEY:a%2Fb/c@b/v?region=eu-west-1", "https://s3.eu-west-1.amazonaws.com", "auto", "KEY"),
        ("s3://anonymous@b/v?region=eu-west-1", "https://s3.eu-west-1.amazonaws.com", "auto", None),
    ],
)
def test_server_and_login_are_those_of_the_location(
    uri: str, server: str, style: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "dummy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    client = make_client(split_uri(uri))
    assert client.meta.endpoint_url == server
    assert client.meta.config.s3["addressing_style"] == style
    credentials = client._request_signer._credentials
    if key is None:
        assert client.meta.config.signature_version is UNSIGNED
    else:
        assert credentials.access_key == key
        assert credentials.secret_key == ("a/b/c" if key == "KEY" else "dummy")


def test_a_client_without_a_login_is_known_by_what_it_raises() -> None:
    from botocore.exceptions import NoCredentialsError

    assert has_no_login(NoCredentialsError())
    assert has_no_login(ImportError("boto3"))
    assert not has_no_login(OSError("the network is down"))
