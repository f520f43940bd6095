"""What a person who schedules a job needs to know: what is missing, how to install it, when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from shlex import quote
from shutil import which

from vidcnn.config import ScheduleSpec
from vidcnn.schedule.environment import Variables
from vidcnn.schedule.task import Task

_NUM_TIMES = 3
_PROGRAMS = {"crontab": "crontab", "systemd": "systemctl", "kubernetes": "kubectl"}
"""What takes the files of each target."""


def before_it_runs(spec: ScheduleSpec, task: Task, found: Variables, *, job_holds_login: bool) -> Iterator[str]:
    """Return what the job needs that is not written."""
    if job_holds_login:
        yield f"the job contains a login, which is not copied from it: make it yours alone: chmod 600 {quote(task.job)}"
    if found.known:
        yield f"taken along from here: {', '.join(found.known)}"
    if found.unset:
        yield f"not set here, and the job needs it: {', '.join(found.unset)}"
    if found.secret:
        yield f"set here, and not written since it looks secret: {', '.join(found.secret)}"
    if found.unset or found.secret:
        if spec.target == "kubernetes":
            yield (
                f"the Secret {spec.secret} must have these keys"
                if spec.secret
                else "give --secret NAME: a Secret with these keys, which become variables"
            )
        else:
            yield f"put lines NAME=value into {task.environment_file}, and make it yours alone: chmod 600"
    if task.cluster is not None:
        yield "what the job reads and writes must be where the cluster sees it"


def how_to_install(spec: ScheduleSpec, task: Task) -> Iterator[str]:
    """Return the commands that put the files into place, after what is missing here to run them."""
    folder = "DIR" if spec.out == "-" else quote(spec.out)
    yield from _missing_program(spec)
    if spec.out == "-" and spec.target != "crontab":
        yield f"with --out {folder} the files are written to a folder; then:"
    if spec.target == "crontab":
        if spec.out == "-":
            yield "put these lines at the end of your crontab: crontab -e"
        else:
            yield f"(crontab -l; cat {folder}/{task.name}.crontab) | crontab -"
    elif spec.target == "systemd":
        sudo = "sudo " if spec.system and which("sudo") else ""
        systemctl = f"{sudo}systemctl" if spec.system else "systemctl --user"
        place = "/etc/systemd/system" if spec.system else "~/.config/systemd/user"
        if spec.system and not sudo:
            yield "as root:"
        if not spec.system:
            yield f"mkdir -p {place}"
        yield f"{sudo}cp {folder}/{task.name}.service {folder}/{task.name}.timer {place}/"
        yield f"{systemctl} daemon-reload && {systemctl} enable --now {task.name}.timer"
        if not spec.system:
            yield "loginctl enable-linger    # it also runs while you are not logged in"
    else:
        yield f"kubectl apply -f {folder}/{task.name}.yaml"
        yield f"kubectl create job --from=cronjob/{task.name} {task.name}-now    # try it at once"


def _missing_program(spec: ScheduleSpec) -> Iterator[str]:
    """Return what to do where the program that takes the files is not on this machine."""
    program = _PROGRAMS[spec.target]
    if which(program) is not None:
        return
    others = [target for target in ("crontab", "systemd") if target != spec.target and which(_PROGRAMS[target])]
    other = "".join(f"take --target {target}, or " for target in others if spec.target != "kubernetes")
    place = "install cron (the package cron or cronie)" if spec.target == "crontab" else f"go where {program} is"
    yield f"there is no {program} on this machine: {other}{place}; then:"


def when_it_runs(task: Task, now: datetime) -> str:
    """Return when the job runs next, by the schedule's own clock."""
    times, moment = [], now
    for _ in range(_NUM_TIMES):
        after = task.cron.next_after(moment)
        if after is None:
            break
        times.append(f"{after:%a %F %H:%M}")
        moment = after
    return f"runs at {task.cron.text}: {', '.join(times)}, ..."
