"""What can go wrong, and what it means to the caller.

::

    VidcnnError                   exit 1: the user's data or environment; message and what to do
      UsageError                  exit 2: arguments that cannot work together
      SourceError                 a source that cannot be listed, or contains no video
      ModelError                  an unknown model, weights that are absent or do not fit
        CompileError              a model that cannot be compiled here; uncompiled, it runs
        PrecisionError            a model that computes wrongly in a precision here; in a safer one, it may not
      BundleError                 a model bundle that is incomplete or does not fit its weights
      DataError                   annotations or training data that cannot be trained on
      OutputError                 an output that cannot be written
        SettingsDifferError       the output was written with another model or other settings
        OutputBusyError           exit 75: another run holds this output
      StorageError                the storage, the network or this machine fails, through no fault of the file
      SandboxError                a machine that cannot confine decoding processes as is required
      DecoderError                libav or OpenCV of this machine gives wrong pixels
      InternalError               a fault of the program itself, with the traceback of the process where it happened
      RunInterruptedError         exit 130: Ctrl-C, SIGTERM or SIGHUP; what was committed stays
      RayDiedError                a process died that an embedded Ray cannot do without
      TooManyErrorsError          exit 3: more bad videos than --max-error-fraction allows
      UnfitMachineError           exit 4: `vidcnn doctor` found what will fail on a machine
    JobFailedError                a job of a cluster failed, and has printed why; exits as it did
    VideoError                    one video is bad: becomes a row with `error` and `error_kind`

Every exception takes positional values only, so that it survives pickling between processes.
"""

from __future__ import annotations

import os
import traceback
from typing import Literal, NamedTuple, get_args

from vidcnn.logins import hide_logins
from vidcnn.safe_text import message_text

ErrorKind = Literal[
    "unreadable",
    "no_video",
    "truncated",
    "corrupt_frames",
    "too_large",
    "too_short",
    "timeout",
    "decoder_crash",
    "changed",
    "unsafe",
]
"""Values of the predictions table's column `error_kind`; `docs/predictions.md` explains each."""

DEBUG_VARIABLE = "VIDCNN_DEBUG"
"""Set in the environment by ``--debug``, for all processes of a run."""

ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
CONTINUES = "what was committed stays; the same command continues"
"""The hint of an error that ends a run of inference."""

ALL_KINDS = "all"
"""Means all of them, where some can be chosen."""


class VidcnnError(Exception):
    """A failure that the user can act on.

    Args:
        message: What happened, and where, in one line.
        hint: What to do about it, in one line; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)

    @property
    def message(self) -> str:
        """What happened."""
        return str(self.args[0])

    @property
    def hint(self) -> str:
        """What to do about it; may be empty."""
        return str(self.args[1])

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(VidcnnError):
    """Arguments that are each valid but cannot work together."""

    exit_code = 2


class SourceError(VidcnnError):
    """A source that does not exist, cannot be listed, or contains no video."""


class ModelError(VidcnnError):
    """An unknown model, or weights that are not available or do not fit."""


class CompileError(ModelError):
    """A model that was to run compiled, and cannot be compiled here. Uncompiled, it runs."""


class PrecisionError(ModelError):
    """A model that gives wrong scores in the precision in which it was to run here. In a safer one, it may not."""


class BundleError(VidcnnError):
    """A model bundle that is incomplete, malformed, or does not fit its weights."""


class DataError(VidcnnError):
    """Annotations or training data that cannot be trained on."""


class OutputError(VidcnnError):
    """An output that cannot be written or is not what vidcnn wrote."""


class SettingsDifferError(OutputError):
    """The output was written with another model or with other settings."""


class OutputBusyError(OutputError):
    """Another run holds this output."""

    exit_code = 75


class StorageError(VidcnnError):
    """The storage, the network or this machine fails, through no fault of what is read or written."""


class SandboxError(VidcnnError):
    """A machine that cannot confine decoding processes as `--sandbox require` wants."""


class DecoderError(VidcnnError):
    """The decoder of this machine gives other pixels than it should, for a video that is known."""


class InternalError(VidcnnError):
    """A fault of the program itself, in whichever process it happened.

    Its notes, which survive pickling, have the traceback of that process.
    """

    @classmethod
    def of(cls, error: Exception, doing: str) -> InternalError:
        """Wrap an unexpected exception, so that it can travel between processes.

        Args:
            error: The exception, as it was caught.
            doing: What was being done, after ``while``.
        """
        wrapped = cls(
            f"unexpected {type(error).__name__} while {doing}: {first_line(error)}",
            "run it again with --debug, and report what it shows; what was committed stays",
        )
        wrapped.add_note("".join(traceback.format_exception(error)).rstrip())
        return wrapped


class RunInterruptedError(VidcnnError):
    """A run was ended by Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130


class RayDiedError(VidcnnError):
    """A process died that an embedded Ray cannot do without."""


class TooManyErrorsError(VidcnnError):
    """The share of bad videos is above what the user allows."""

    exit_code = 3


class UnfitMachineError(VidcnnError):
    """Something will fail on this machine, or on a node of a cluster."""

    exit_code = 4


class JobFailedError(Exception):
    """A job of a cluster ended with an exit code other than 0, and has printed why.

    Args:
        exit_code: The exit code of the job.
    """

    @property
    def exit_code(self) -> int:
        """The exit code of the job."""
        return int(self.args[0])


class VideoError(Exception):
    """One video, or a part of it, cannot be read.

    Args:
        kind: One of `ERROR_KINDS`.
        message: What is wrong, in plain words, without the video's name.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(kind, message)

    @property
    def kind(self) -> ErrorKind:
        """One of `ERROR_KINDS`."""
        kind: ErrorKind = self.args[0]
        return kind

    @property
    def message(self) -> str:
        """What is wrong, in plain words."""
        return str(self.args[1])

    def __str__(self) -> str:
        return self.message


class Failure(NamedTuple):
    """How a command ends that fails.

    Attributes:
        exit_code: The process's.
        message: What happened, in one line.
        hint: What to do about it, in one line; may be empty.
    """

    exit_code: int
    message: str
    hint: str


def is_debugging() -> bool:
    """Return whether this command, or the one that started this process, was called with ``--debug``."""
    return bool(os.environ.get(DEBUG_VARIABLE))


def describe_failure(error: BaseException) -> Failure:
    """Return how a command ends that raised an error, without any login of a URI, and as it may be printed."""
    if isinstance(error, VidcnnError):
        return Failure(error.exit_code, _printable(error.message), _printable(error.hint))
    if isinstance(error, KeyboardInterrupt):
        return Failure(RunInterruptedError.exit_code, "interrupted", CONTINUES)
    if isinstance(error, OSError) and error.errno is not None:
        name = f"'{error.filename}': " if error.filename is not None else ""
        return Failure(1, _printable(f"{name}{describe_reason(error)}"), "--debug shows where")
    hint = "run it again with --debug, and report what it shows"
    return Failure(1, f"unexpected {type(error).__name__}: {_printable(first_line(error))}", hint)


def describe_reason(error: OSError) -> str:
    """Return why the operating system refuses something, in its own words."""
    return os.strerror(error.errno).lower() if error.errno is not None else str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text that is not blank; the name of its type where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _printable(text: str) -> str:
    return message_text(hide_logins(text))
