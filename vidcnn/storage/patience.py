"""Trying again what storage, the network or this machine has failed in, until it works or it has lasted too long.

Errors that come from what is asked for, such as a file that is not there or a full disk, are raised at once: to ask
again does not change the answer.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from vidcnn.storage.retrying import RetryPolicy, retrying

_Result = TypeVar("_Result")

USUAL = RetryPolicy(num_tries=7, first_wait_seconds=0.5, growth=2.0)
"""Half a minute all together."""

_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)
_LASTING_TEXTS = ("NO_SUCH_BUCKET", "NoSuchBucket", "INVALID_BUCKET_NAME")


def is_passing(error: BaseException) -> bool:
    """Return whether an error, or what it comes from, may be over when the same is tried again.

    Credentials that are refused may be: they expire, and are renewed by others.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            if cause.errno is not None:
                return cause.errno not in _LASTING
            is_lasting = isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
            return not is_lasting and not any(text in str(cause) for text in _LASTING_TEXTS)
        cause = cause.__cause__ or cause.__context__
    return False


def patiently(act: Callable[[], _Result], sleep: Callable[[float], object] | None = None) -> _Result:
    """Do something that may be done again, until it works.

    Args:
        act: Does it.
        sleep: Waits for some seconds; by default it does so.

    Raises:
        Exception: What `act` raised the last time, or the first time that it was not `is_passing`.
    """
    return retrying(act, policy=USUAL, sleep=sleep or time.sleep, is_passing=is_passing)
