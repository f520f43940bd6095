"""The options of `vidcnn schedule`."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from vidcnn.bounds import MAX_PROCESSES
from vidcnn.config.base import Spec, option, option_name

Target = Literal["crontab", "systemd", "kubernetes"]

_ONLY_FOR: dict[str, tuple[Target, ...]] = {
    "timezone": ("systemd", "kubernetes"),
    "log": ("crontab",),
    "system": ("systemd",),
    "delay": ("systemd",),
    "max_hours": ("systemd", "kubernetes"),
    "image": ("kubernetes",),
    "secret": ("kubernetes",),
    "service_account": ("kubernetes",),
    "cpus": ("kubernetes",),
    "memory": ("kubernetes",),
    "gpus": ("kubernetes",),
}
"""Options that other targets have no use for."""

_LABEL = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MAX_NAME_CHARS = 52
"""Kubernetes appends up to eleven characters to the name of a CronJob, and takes 63."""


class ScheduleSpec(Spec):
    """Write what runs a job again and again."""

    job: str = Field(description="A job spec, such as jobs/nightly.yaml.")
    cron: str = option(
        "0 2 * * *",
        "When: minute, hour, day of the month, month, weekday; or @hourly, @daily, @weekly, @monthly.",
        panel="Main",
        metavar="CRON",
    )
    target: Target = option("crontab", "What runs it.", panel="Main")
    name: str | None = option(
        None, "What the schedule is called.  \\[default: vidcnn- and the job's name]", panel="Main", metavar="NAME"
    )
    out: str = option("-", "Folder that the files are written to; - prints them.", panel="Main", metavar="DIR|-")
    directory: str | None = option(
        None,
        "Folder from which relative paths in the job are meant.  \\[default: this one; for kubernetes, the first "
        "--volume]",
        panel="Run",
        metavar="DIR",
    )
    cluster: str | None = option(
        None,
        "Run on a cluster: a Ray cluster-launcher file, or the address of a job server (http://HOST:8265).",
        panel="Run",
        metavar="FILE|ADDRESS",
    )
    up: bool = option(False, "Start the cluster of a launcher file if need be.", panel="Run")
    out_on_cluster: bool = option(
        False, "Allow an out of the job that is on a disk of the cluster's head alone.", panel="Run"
    )
    on_failure: str | None = option(
        None,
        "A command for the shell where a run fails, as that of `vidcnn run`.",
        panel="Run",
        metavar="COMMAND",
    )
    notify: str | None = option(
        None,
        "A URL that gets a JSON object when a run ends. One that is secret belongs in the environment of the run, as "
        "VIDCNN_NOTIFY.",
        panel="Run",
        metavar="URL",
    )
    timezone: str | None = option(
        None,
        "Whose clock --cron means, such as Europe/Berlin.  \\[default: the machine's; for kubernetes, Etc/UTC]",
        panel="Run",
        metavar="ZONE",
    )
    max_hours: float | None = option(None, "Stop a run that takes longer.", panel="Run", gt=0, le=24 * 365)
    log: str | None = option(
        None, "crontab: a file for what a run prints, instead of mail.", panel="Machine", metavar="FILE"
    )
    system: bool = option(
        False, "systemd: units of the machine, which run as you, and not of your login.", panel="Machine"
    )
    delay: int = option(
        0, "systemd: put each start off by a random time of up to so many seconds.", panel="Machine", ge=0, le=86400
    )
    image: str | None = option(None, "kubernetes: the image that has vidcnn.", panel="Kubernetes", metavar="IMAGE")
    secret: str | None = option(
        None, "kubernetes: a Secret whose keys become variables of the environment.", panel="Kubernetes", metavar="NAME"
    )
    service_account: str | None = option(
        None, "kubernetes: the service account of the runs.", panel="Kubernetes", metavar="NAME"
    )
    cpus: int = option(4, "kubernetes: processors of a run.", panel="Kubernetes", ge=1, le=MAX_PROCESSES)
    memory: int = option(16, "kubernetes: memory of a run, in GiB.", panel="Kubernetes", ge=4, le=MAX_PROCESSES)
    gpus: int = option(0, "kubernetes: GPUs of a run.", panel="Kubernetes", ge=0, le=MAX_PROCESSES)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not (_LABEL.fullmatch(value) and len(value) <= _MAX_NAME_CHARS):
            raise ValueError(f"must be of at most {_MAX_NAME_CHARS} characters a-z, 0-9 and -, with no - at an end")
        return value

    @field_validator("secret", "service_account")
    @classmethod
    def _kubernetes_name(cls, value: str | None) -> str | None:
        if value is not None:
            check_kubernetes_name(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", value):
            raise ValueError("must be a name of the IANA database, such as Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _has_effect(self) -> ScheduleSpec:
        for name, targets in _ONLY_FOR.items():
            if self.target not in targets and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{option_name(name)} is for --target {' or '.join(targets)}, not {self.target}")
        if self.target == "kubernetes" and self.image is None:
            raise ValueError("--target kubernetes needs --image: one that has vidcnn, as docs/schedules.md makes it")
        if self.target == "kubernetes" and self.directory is not None:
            raise ValueError("--directory is for --target crontab or systemd: a pod starts in the first --volume")
        return self


def check_kubernetes_name(name: str) -> None:
    """Refuse what Kubernetes takes for no name of an object.

    Raises:
        ValueError: It is none.
    """
    if len(name) > 253 or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        raise ValueError("must be a name of Kubernetes: a-z, 0-9, - and .")


def default_name(job: str) -> str:
    """Return what the schedule of a job is called, from the name of the job's file without its ending."""
    slug = re.sub("[^a-z0-9]+", "-", job.lower()).strip("-")
    return f"vidcnn-{slug}"[:_MAX_NAME_CHARS].rstrip("-")
