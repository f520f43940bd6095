"""Logins in texts: where one is in a URI, and how a text is shown without it.

A login is the part before the ``@`` of a URI, or in options that sign a request::

    s3://KEY:SECRET@bucket/a.mp4              s3://bucket/a.mp4
    https://host/a.mp4?X-Amz-Signature=abc    https://host/a.mp4?X-Amz-Signature=***

The secret keys of AWS often have a slash in them. A bucket has no colon in its name: where one is before the first
slash, it belongs to a login, which then ends at the first ``@``.
"""

from __future__ import annotations

import re
from urllib.parse import quote

_HIDDEN = "***"

_OPTION = (
    r"(?:aws_)?(?:secret_)?access_key(?:_id)?|secret_key|(?:aws_)?session_token|x-amz-[a-z-]+|x-goog-[a-z-]+"
    r"|awsaccesskeyid|googleaccessid|signature"
)
_SIGNED = re.compile(rf"([?&](?:{_OPTION})=)(?!\*\*\*)[^&\s'\"<>]+", re.IGNORECASE)
_AUTHORITY = re.compile(r"(://|\bhttps?:/)[^/\s'\"<>@?#]*@", re.IGNORECASE)
_NO_PORT = re.compile(r"(://|\bhttps?:/)[^/\s'\"<>@?#:]*:(?![0-9]{1,5}(?:[/\s'\"<>?#]|$))[^\s'\"<>@]*@", re.IGNORECASE)
"""What follows the colon is no port, so it is a password, though it has a slash in it."""
_IN_OPTION = re.compile(r"(?<==)[^/\s'\"<>@?#&=:]+:[^/\s'\"<>@?#&=]*@")
_STORAGE = re.compile(r"\b((?:s3|gs|gcs):/{1,2})[^/\s'\"<>@]*(?::[^\s'\"<>@]*)?@", re.IGNORECASE)
_UNENDED = re.compile(r"\b((?:s3|gs|gcs):/{1,2})[^/\s'\"<>@]*:[^\s'\"<>]+", re.IGNORECASE)
_WORDS = re.compile(r"([\s'\"<>]+)")
_SAFE = "%!$&'()*+,;=~-._"
"""What may be in a login of a URI as it is."""


def hide_logins(text: str) -> str:
    """Return a text with no login in any URI of it; the same text where there is none."""
    if ":/" in text:  # a URI has only one slash there once it was taken for a path
        if "@" in text:
            text = "".join(map(_without_ended_logins, _WORDS.split(text)))
        text = _UNENDED.sub(r"\1...", text)
        text = _IN_OPTION.sub("", text)
    return _SIGNED.sub(rf"\1{_HIDDEN}", text)


def _without_ended_logins(word: str) -> str:
    """Return a text without blanks and quotes with no login before an ``@``.

    What is behind the last ``@`` is left as it is: each ``://`` in it would be followed to the end in vain.
    """
    for login in (_STORAGE, _AUTHORITY, _NO_PORT):
        begin, at, end = word.rpartition("@")
        word = login.sub(r"\1", begin + at) + end
    return word


def holds_login(text: str) -> bool:
    """Return whether there is a login in a text; ``anonymous@`` is none."""
    text = text.replace("://anonymous@", "://")
    return hide_logins(text) != text


def is_signed(text: str) -> bool:
    """Return whether a text has options that sign a request, or that are meant for a login."""
    return bool(_SIGNED.search(text))


def cut_login(rest: str) -> tuple[str, str]:
    """Cut a login off what follows ``s3://``.

    Returns:
        The login with its ``@``, or nothing; and what follows.

    Raises:
        ValueError: There is a login, and no ``@`` that ends it.
    """
    first, slash, below = rest.partition("/")
    login, at, bucket = first.rpartition("@")
    if at:
        return login + at, bucket + slash + below
    if ":" not in first:
        return "", rest
    login, at, below = rest.partition("@")
    if not at:
        raise ValueError("its login has no end: it is KEY:SECRET@ before the bucket")
    return login + at, below


def quoted_login(login: str) -> str:
    """Return a login as it is written in a URI: what would mean something else there is percent-encoded."""
    if not login:
        return ""
    name, colon, secret = login.removesuffix("@").partition(":")
    return f"{quote(name, safe=_SAFE)}{colon}{quote(secret, safe=_SAFE)}@"
