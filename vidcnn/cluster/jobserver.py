"""A cluster's job server, as Ray's dashboard offers it, with its failures explained.

Ray's own client would be diverted by ``RAY_ADDRESS`` and would look for a token only where the environment of this
process declares that there is one. Here the address is the one that was named, and a token is sent when it is asked
for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vidcnn.cluster.environment import forget_addresses, prepare_environment
from vidcnn.cluster.ray_internals import ask_job_server
from vidcnn.errors import OutputBusyError, RunInterruptedError, TooManyErrorsError, UsageError, VidcnnError, first_line

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

Result = TypeVar("Result")

_OUTCOMES = {
    UsageError.exit_code: "usage error",
    TooManyErrorsError.exit_code: "too many errors",
    OutputBusyError.exit_code: "output busy",
    RunInterruptedError.exit_code: "stopped",
}
"""How a job failed, by the exit code of its command."""

_CONNECT_SECONDS = 10.0
_START_SECONDS = 180.0
"""How long a cluster that has just begun may take to be ready for jobs."""
_TOKEN_HINT = (
    "put the cluster's token into RAY_AUTH_TOKEN, or into the file ~/.ray/auth_token; "
    "`ray get-auth-token` shows it on a machine of the cluster"
)


class LostConnectionError(VidcnnError):
    """The job server does not answer any more; its jobs may well continue."""


@dataclass(frozen=True)
class JobState:
    """What a job server knows of a job.

    Attributes:
        id: The id under which it was submitted.
        status: ``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        message: The server's words about it.
        exit_code: Exit code of its driver; None while it runs, or where that is not known.
        started: When it began, in seconds since the epoch; None before that.
        ended: When it ended; None before that.
        metadata: What it was submitted with.
    """

    id: str
    status: str
    message: str
    exit_code: int | None
    started: float | None
    ended: float | None
    metadata: dict[str, str]

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")

    @property
    def outcome(self) -> str:
        """How it is doing, or how it ended, in a word or two; there are many ways to fail."""
        if self.status == "FAILED" and self.exit_code is not None:
            return _OUTCOMES.get(self.exit_code, "failed")
        return self.status.lower()


class JobServer:
    """The job server of a cluster.

    Args:
        address: Its URL.
        token: What is sent if it wants a token.
        mend: Is called when it does not answer, to open the way to it again.

    Raises:
        VidcnnError: It cannot be reached, wants a token, or is of another version of Ray.
    """

    def __init__(self, address: str, token: str | None, mend: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self.mend = mend
        prepare_environment()
        with forget_addresses():
            _knock(address)
            _check_kind(address)
            with _explained(address):
                self._client = _connect(address, token)
            _check_version(address, self._ray_version())

    def submit(self, job_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: dict[str, str]) -> bool:
        """Submit a job.

        Returns:
            False if there has been a job of this id already.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with _explained(self.address):
                    self._client.submit_job(
                        entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env, metadata=metadata
                    )
            except RuntimeError as error:
                if "already" in str(error) and job_id in str(error):
                    return False
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise VidcnnError(f"{self.address} refuses the job: {first_line(error)}") from error
                time.sleep(1.0)  # the cluster has just begun
            else:
                return True

    def leave(self, name: str, content: bytes) -> None:
        """Leave a parcel (`vidcnn.cluster.parcel`) for a job; one without content replaces an earlier one."""
        answer = self._ask(lambda: ask_job_server(self._client, "PUT", f"/api/packages/gcs/{name}", content))
        if answer.status_code != 200:
            raise VidcnnError(f"{self.address} does not take what the job needs: HTTP {answer.status_code}")

    def find(self, job_id: str) -> JobState:
        """Return what is known of a job.

        Raises:
            VidcnnError: There is no such job.
        """
        try:
            return _state(self._ask(lambda: self._client.get_job_info(job_id)))
        except RuntimeError as error:
            raise self._unknown(job_id, error) from error

    def jobs(self) -> list[JobState]:
        """Return the jobs that were submitted, the newest first."""
        states = [_state(details) for details in self._ask(self._client.list_jobs) if details.submission_id]
        return sorted(states, key=lambda state: state.started or 0.0, reverse=True)

    def stop(self, job_id: str) -> bool:
        """Stop a job in order; return whether it was running."""
        try:
            return bool(self._ask(lambda: self._client.stop_job(job_id)))
        except RuntimeError as error:
            raise self._unknown(job_id, error) from error

    def logs(self, job_id: str) -> str:
        """Return all that a job has printed."""
        try:
            return str(self._ask(lambda: self._client.get_job_logs(job_id)))
        except RuntimeError as error:
            raise self._unknown(job_id, error) from error

    def tail(self, job_id: str) -> Iterator[str]:
        """Yield what a job prints, from its beginning, until it ends.

        Raises:
            LostConnectionError: The server does not answer any more.
        """
        with _explained(self.address):
            try:
                yield from _drive(self._client.tail_job_logs(job_id))
            except RuntimeError as error:  # an end of the connection that is not the end of the job
                raise ConnectionError(first_line(error)) from error

    def _ray_version(self) -> str:
        answer: Any = self._ask(lambda: ask_job_server(self._client, "GET", "/api/version").json())
        return str(answer["ray_version"])

    def _ask(self, question: Callable[[], Result]) -> Result:
        with _explained(self.address):
            return question()

    def _unknown(self, job_id: str, error: RuntimeError) -> VidcnnError:
        if "404" in str(error):
            return VidcnnError(f"{self.address} knows no job {job_id}", "vidcnn jobs list shows what there is")
        return VidcnnError(f"{self.address} gives no answer about {job_id}: {first_line(error)}")


def read_token(path: Path | None = None) -> str | None:
    """Return the token for a cluster: from the file that is its own, or else from where Ray keeps one."""
    if path is not None and (token := _read_file(path)):
        return token
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    return _read_file(Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"))


def _read_file(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text().strip() or None
    return None


def _connect(address: str, token: str | None) -> JobSubmissionClient:
    """Connect without a token if that will do, so that no server gets one that does not ask for it."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        if token is None:
            raise VidcnnError(f"{address} wants a token, and there is none here", _TOKEN_HINT) from None
    try:
        return JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"})
    except AuthenticationError:
        raise VidcnnError(f"{address} does not take the token that is here", _TOKEN_HINT) from None


def _knock(address: str) -> None:
    """Check that something listens, without waiting for minutes."""
    url = urlsplit(address)
    try:
        socket.create_connection((url.hostname or "", url.port or 0), _CONNECT_SECONDS).close()
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise VidcnnError(
            f"no job server answers at {address}: {reason}",
            "the head must run Ray's dashboard there (port 8265), and it must be reachable from here",
        ) from error


def _check_kind(address: str) -> None:
    """Check that what listens is Ray's dashboard, or asks for a token as it does.

    Raises:
        UsageError: It is something else.
    """
    import requests

    hint = "name the address of the head's dashboard, as `ray start --head` prints it: http://HEAD:8265"
    try:
        answer = requests.get(f"{address}/api/version", timeout=_CONNECT_SECONDS, allow_redirects=False)
    except requests.Timeout as error:
        raise LostConnectionError(f"{address} does not answer", "jobs that run there continue; try again") from error
    except requests.RequestException as error:
        raise UsageError(f"what listens at {address} is no job server of Ray: it speaks no HTTP", hint) from error
    if answer.status_code in (401, 403):
        return
    if answer.status_code >= 500:
        raise VidcnnError(f"{address} does not work: HTTP {answer.status_code}", "try again")
    if answer.status_code != 200 or b'"ray_version"' not in answer.content:
        raise UsageError(f"what answers at {address} is no job server of Ray (HTTP {answer.status_code})", hint)


def _check_version(address: str, theirs: str) -> None:
    import ray

    if theirs.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise VidcnnError(
            f"the cluster at {address} runs Ray {theirs}, this command Ray {ray.__version__}",
            f"install the same here (pip install 'ray[default]=={theirs}') or there",
        )


@contextmanager
def _explained(address: str) -> Iterator[None]:
    import aiohttp
    import requests

    try:
        yield
    except (requests.RequestException, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise LostConnectionError(
            f"{address} does not answer: {first_line(error)}", "jobs that run there continue; try again"
        ) from error


def _drive(chunks: AsyncIterator[str]) -> Iterator[str]:
    """Take an asynchronous iterator's values one by one."""

    async def take() -> str | None:
        return await anext(chunks, None)

    with asyncio.Runner() as runner:
        while (chunk := runner.run(take())) is not None:
            yield chunk


def _state(details: Any) -> JobState:
    return JobState(
        id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        message=details.message or "",
        exit_code=details.driver_exit_code,
        started=details.start_time and details.start_time / 1000,
        ended=details.end_time and details.end_time / 1000,
        metadata=dict(details.metadata or {}),
    )
