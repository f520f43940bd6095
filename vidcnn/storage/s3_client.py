"""A client of boto3 for S3, which can do two things that pyarrow cannot: list in pages, and write under a condition."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, unquote

from vidcnn.storage.uris import Uri

_TIMEOUT_SECONDS = 20


def make_client(uri: Uri, *, num_tries: int = 1, answer_seconds: float = _TIMEOUT_SECONDS) -> Any:
    """Return a client that finds its login and its server as pyarrow's does.

    Args:
        uri: The bucket, with credentials and options.
        num_tries: How often the client sends a request in all, where the storage fails.
        answer_seconds: How long it waits for an answer.

    Raises:
        ImportError: There is no boto3.
    """
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
        read_timeout=answer_seconds,
        retries={"total_max_attempts": num_tries, "mode": "standard"},
        s3={"addressing_style": "path" if has_own_server else "auto"},
        signature_version=UNSIGNED if is_anonymous else None,
        request_checksum_calculation="when_required",  # servers of others than Amazon may not know the newer ones
        response_checksum_validation="when_required",
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


def has_no_login(error: Exception) -> bool:
    """Return whether boto3 is not there, or has no login."""
    return isinstance(error, ImportError) or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError")


def _is_off(options: dict[str, str]) -> bool:
    return options.get("tls_verify_certificates", "").lower() in ("false", "0")
