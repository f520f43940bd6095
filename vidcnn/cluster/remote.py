"""A command that runs on a cluster: sent there, followed, and ended with the exit code that it ended with there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from vidcnn.cluster import parcel
from vidcnn.cluster.address import parse_cluster
from vidcnn.cluster.follow import follow
from vidcnn.cluster.jobserver import JobServer, JobState, read_token
from vidcnn.cluster.submission import ENTRYPOINT, is_of, next_id
from vidcnn.errors import JobFailedError, OutputBusyError, RunInterruptedError, VidcnnError
from vidcnn.logins import hide_logins
from vidcnn.safe_text import screen_text

_NUM_ATTEMPTS = 3


@dataclass(frozen=True)
class ClusterTarget:
    """How a command is run on a cluster.

    Attributes:
        cluster: The value of ``--cluster``.
        up: Whether to start the cluster if it is not there.
        wait: Whether to follow the job to its end.
        show_progress: Whether to show on stderr how far it is.
    """

    cluster: str
    up: bool
    wait: bool
    show_progress: bool


class Submitted(Protocol):
    """What can be sent to a cluster: a `vidcnn.cluster.submission.Submission`, or a command without a job spec."""

    @property
    def secrets(self) -> dict[str, str]:
        """Locations with a login."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that are in no record."""

    @property
    def name(self) -> str:
        """What the ids of its jobs begin with."""

    @property
    def metadata(self) -> dict[str, str]:
        """What the job server is to remember."""

    def write(self, folder: Path, secrets_parcel: str | None, variables_parcel: str | None) -> dict[str, Any]:
        """Write it into an empty folder, and return the runtime environment that carries it."""


def run_on_cluster(submission: Submitted, target: ClusterTarget) -> None:
    """Submit a job and follow it to its end.

    Raises:
        VidcnnError: It cannot be submitted.
        JobFailedError: It ended with another exit code than 0, and has printed why.
        RunInterruptedError: It was interrupted.
    """
    with connect(target.cluster, up=target.up) as server:
        job_id = submit(server, submission)
        if not target.wait:
            print(job_id)
            return
        _say(f"job {job_id} on {hide_logins(target.cluster)}", target.show_progress)
        end(_follow(server, job_id, target))


def submit(server: JobServer, submission: Submitted) -> str:
    """Submit a job unless it runs already, and return its id.

    Raises:
        OutputBusyError: It runs already.
    """
    for _ in range(_NUM_ATTEMPTS):
        known = server.jobs()
        running = [job for job in known if is_of(submission.name, job.id) and not job.is_over]
        if running:
            raise OutputBusyError(
                f"the same job runs already as {running[0].id}",
                f"vidcnn jobs logs {running[0].id} --cluster ... follows it, vidcnn jobs stop ends it",
            )
        job_id = next_id(submission.name, (job.id for job in known))
        if _send(server, job_id, submission):
            return job_id
    raise OutputBusyError("the same job was submitted from elsewhere", "vidcnn jobs list --cluster ... shows it")


def _send(server: JobServer, job_id: str, submission: Submitted) -> bool:
    """Submit a job under an id; its secrets and variables wait for it, unless it is not taken."""
    contents = (submission.secrets, submission.variables)
    names = [parcel.new_name() if content else None for content in contents]
    is_taken = False
    try:
        for name, content in zip(names, contents, strict=True):
            if name is not None:
                server.leave(name, parcel.pack(content))
        with tempfile.TemporaryDirectory() as folder:
            runtime_env = submission.write(Path(folder), *names)
            is_taken = server.submit(job_id, ENTRYPOINT, runtime_env, submission.metadata)
    finally:
        if not is_taken:
            for name in filter(None, names):
                with suppress(VidcnnError):
                    server.leave(name, b"")
    return is_taken


def end(state: JobState) -> None:
    """End as a job ended.

    Raises:
        RunInterruptedError: It was stopped.
        JobFailedError: It failed.
    """
    if state.status == "STOPPED":
        raise RunInterruptedError(f"job {state.id} was stopped", "the same command continues")
    if state.status == "FAILED":
        code = state.exit_code or 1
        if code < 0 or (code > 128 and code != 130):
            raise VidcnnError(f"the driver of job {state.id} died: {state.message}", "the same command continues")
        if state.exit_code is None:
            raise VidcnnError(f"job {state.id} failed: {state.message}", "vidcnn jobs logs shows all that it printed")
        raise JobFailedError(code)


@contextmanager
def connect(cluster: str, *, up: bool = False) -> Iterator[JobServer]:
    """Connect to the job server of a cluster for the time of the block.

    Args:
        cluster: The value of ``--cluster``.
        up: Whether to start the cluster of a launcher file.

    Raises:
        VidcnnError: It cannot be reached.
    """
    target = parse_cluster(cluster)
    if isinstance(target, str):
        yield JobServer(target, read_token())
        return
    from vidcnn.cluster.launcher import read_launcher
    from vidcnn.cluster.tunnel import reach_cluster

    launcher = read_launcher(target)
    with reach_cluster(launcher, up=up, say=lambda line: _say(line, True)) as tunnel:
        yield JobServer(tunnel.address, read_token(launcher.token_path), mend=tunnel.check)


def _follow(server: JobServer, job_id: str, target: ClusterTarget) -> JobState:
    """Follow a job to its end; after Ctrl-C, ask what shall happen to it.

    Raises:
        RunInterruptedError: It continues by itself.
    """
    while True:
        try:
            return follow(server, job_id, show_progress=target.show_progress)
        except KeyboardInterrupt:
            wish = ask_what_next(job_id)
        if wish == "stop":
            server.stop(job_id)
        elif wish == "detach":
            raise RunInterruptedError(
                f"no longer following job {job_id}, which continues",
                f"vidcnn jobs logs {job_id} --follow --cluster {hide_logins(target.cluster)} follows it, "
                "vidcnn jobs stop ends it",
            )


def ask_what_next(job_id: str) -> Literal["detach", "stop", "follow"]:
    """Ask what shall happen to a job; where there is nobody to ask, it continues."""
    while sys.stdin.isatty() and sys.stderr.isatty():
        question = f"\njob {job_id}: (d)etach and let it continue, (s)top it, or (c)ontinue to follow? "
        print(question, end="", file=sys.stderr, flush=True)
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            break
        match answer.strip().lower()[:1]:
            case "s":
                return "stop"
            case "c":
                return "follow"
            case "d":
                return "detach"
        if not answer:
            break
    return "detach"


def _say(text: str, enabled: bool) -> None:
    if enabled:
        print(screen_text(text), file=sys.stderr, flush=True)
