"""What is to be run on a schedule, as all targets take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vidcnn.schedule.cron import Cron


@dataclass(frozen=True)
class Task:
    """A job and when it runs.

    Attributes:
        name: What the schedule is called: a label as in RFC 1123, of at most 52 characters.
        cron: When it runs.
        job: Absolute path of the job spec.
        directory: Absolute path of the folder from which relative paths in the job are meant.
        program: What starts vidcnn: an absolute path, and arguments if need be.
        settings: ``name=value``, which override the job.
        cluster: Address or launcher file of the cluster; None runs on the machine itself.
        up: Whether the cluster of a launcher file is started if need be.
        options: Further options of each run.
        environment: Variables that the job needs, with their values.
        environment_file: Absolute path of a file of further variables, which contain secrets or are not known yet; None
            where there are none.
        timezone: Where the expression's clock hangs, such as Europe/Berlin; None is the target's own.
    """

    name: str
    cron: Cron
    job: str
    directory: str
    program: tuple[str, ...]
    settings: tuple[str, ...] = ()
    cluster: str | None = None
    up: bool = False
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_file: str | None = None
    timezone: str | None = None

    def arguments(self, job: str) -> list[str]:
        """Return the arguments of vidcnn, with the job spec in some place."""
        settings = [argument for setting in self.settings for argument in ("--set", setting)]
        cluster = [] if self.cluster is None else ["--cluster", self.cluster, *(["--up"] if self.up else [])]
        return ["run", job, *settings, *cluster, *self.options, "--quiet"]

    @property
    def command(self) -> list[str]:
        """The whole command, where the job spec is at its own place."""
        return [*self.program, *self.arguments(self.job)]
