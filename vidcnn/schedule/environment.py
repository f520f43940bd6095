"""Which variables of the environment a scheduled job takes along: names and an environment in, a choice out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vidcnn.errors import UsageError
from vidcnn.logins import hide_logins, holds_login
from vidcnn.safe_text import is_one_line, one_line

_MACHINE = (
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CXX",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "TMPDIR",
    "RAY_TMPDIR",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""What vidcnn, torch and Ray look at on the machine where they run."""

_STORAGE_FILES = (
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_STORAGE = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_EC2_METADATA_DISABLED")
_STORAGE_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_CLUSTER_FILES = ("RAY_AUTH_TOKEN_PATH",)
_CLUSTER_SECRETS = ("RAY_AUTH_TOKEN",)

_SECRET_NAME = re.compile(r"secret|token|passw|pwd|credential|(api|access|private)_?key|(^|_)key$", re.IGNORECASE)


@dataclass(frozen=True)
class Variables:
    """The variables of a job.

    Attributes:
        known: Those to be written, with their values.
        secret: Names of those that are set here and are not to be written.
        unset: Names of those that the job needs and that are not set here.
    """

    known: dict[str, str]
    secret: tuple[str, ...]
    unset: tuple[str, ...]


def choose_variables(
    environ: Mapping[str, str],
    *,
    needed: Collection[str],
    optional: Collection[str] = (),
    uses_storage: bool = False,
    uses_cluster: bool = False,
    elsewhere: bool = False,
) -> Variables:
    """Choose what a scheduled job takes along from the environment of the person who schedules it.

    Args:
        environ: That environment.
        needed: Names that the job spec takes values from.
        optional: Names for which the job spec has a default.
        uses_storage: Whether the job reads or writes object storage.
        uses_cluster: Whether it runs on a cluster.
        elsewhere: Whether it runs on another machine, where paths and logins of this one mean nothing.

    Raises:
        UsageError: A value has a line break or another control character, which no schedule can contain.
    """
    usual = [
        *(() if elsewhere else _MACHINE),
        *(_STORAGE + (() if elsewhere else _STORAGE_FILES) if uses_storage else ()),
        *(_STORAGE_SECRETS if uses_storage else ()),
        *(() if elsewhere or not uses_cluster else _CLUSTER_FILES),
        *(_CLUSTER_SECRETS if uses_cluster else ()),
    ]
    known, secret = {}, []
    for name in dict.fromkeys([*needed, *optional, *usual]):
        value = environ.get(name)
        if value is None or (value == "" and name not in needed):
            continue
        if is_secret(name, value):
            secret.append(name)
            continue
        check_text(value, f"the variable {name}")
        known[name] = value
    return Variables(known, tuple(secret), tuple(name for name in needed if name not in environ))


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable looks as if it contained what nobody else should read."""
    if name in (*_STORAGE_FILES, *_MACHINE, *_STORAGE, *_CLUSTER_FILES):
        return holds_login(value) or (name.lower().endswith("_proxy") and "@" in value)
    return name in _STORAGE_SECRETS or bool(_SECRET_NAME.search(name)) or holds_login(value)


def check_text(text: str, what: str) -> None:
    """Refuse what a file of lines in UTF-8 cannot contain.

    Raises:
        UsageError: The text has a control character, one that is not shown, or bytes that are not UTF-8.
    """
    if not is_one_line(text):
        raise UsageError(
            f"{what} has a line break, a control character, a hidden one, or is not UTF-8: "
            f"'{one_line(hide_logins(text))}'",
            "change it",
        )
