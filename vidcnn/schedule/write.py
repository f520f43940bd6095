"""From the options of `vidcnn schedule` to files: reads the job, and gathers what it needs where it will run."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vidcnn.cluster.address import AUTO, parse_cluster
from vidcnn.config import ScheduleSpec
from vidcnn.config.job_files import JobNeeds, read_needs
from vidcnn.config.schedule import check_kubernetes_name, default_name
from vidcnn.errors import OutputError, UsageError
from vidcnn.logins import hide_logins, holds_login
from vidcnn.schedule import notes
from vidcnn.schedule.cron import parse_cron
from vidcnn.schedule.crontab import crontab_text
from vidcnn.schedule.environment import Variables, check_text, choose_variables
from vidcnn.schedule.kubernetes import Pod, manifest_text
from vidcnn.schedule.systemd import service_text, timer_text
from vidcnn.schedule.task import Task
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.uris import is_remote, public_location

_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_LOCATIONS = ("source", "data", "out", "model", "weights", "labels", "root")
"""Fields of job specs that may name files or folders."""
_WEIGHTS = (None, "kinetics400", "random")


@dataclass(frozen=True)
class Schedule:
    """What was made of a job.

    Attributes:
        task: What runs, and when.
        files: The text of each file, by its name.
        notes: What the user should know or do before it can run, a line each.
    """

    task: Task
    files: dict[str, str]
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """All files in one text; the names of several are in comments."""
        if len(self.files) == 1:
            return next(iter(self.files.values()))
        return "\n".join(f"# {name}\n{text}" for name, text in self.files.items())


def make_schedule(
    spec: ScheduleSpec, *, settings: Sequence[str] = (), volumes: Sequence[str] = (), environ: Mapping[str, str]
) -> Schedule:
    """Make the files of a schedule.

    Args:
        spec: What the user wants.
        settings: ``name=value``, which override the job.
        volumes: ``CLAIM:/folder``, for Kubernetes.
        environ: The environment that the job is scheduled in.

    Raises:
        UsageError: The job or the cron expression cannot be meant, or cannot run like this.
    """
    cron = parse_cron(spec.cron)
    clock(spec)
    needs = read_needs(Path(spec.job), settings)
    mounts = _parse_volumes(spec, volumes)
    cluster = _read_cluster(spec)
    if spec.target == "kubernetes" and cluster is None:
        _check_locations(needs, [folder for _, folder in mounts])
    job_text = Path(spec.job).read_text()
    _check_no_login(spec, settings, job_text)
    name = spec.name or default_name(Path(spec.job).stem)
    found = choose_variables(
        environ,
        needed=needs.needed,
        optional=needs.optional,
        uses_storage=_uses_storage(needs),
        uses_cluster=cluster is not None,
        elsewhere=spec.target == "kubernetes",
    )
    program = _program()
    task = Task(
        name=name,
        cron=cron,
        job=os.path.abspath(spec.job),
        directory=os.path.abspath(spec.directory or "."),
        program=program,
        settings=tuple(settings),
        cluster=cluster,
        up=spec.up,
        options=_run_options(spec),
        environment=found.known if spec.target == "kubernetes" else _on_this_machine(found.known, program),
        environment_file=_environment_file(name, found) if spec.target != "kubernetes" else None,
        timezone=spec.timezone,
    )
    for text in (task.directory, *task.command, spec.log or ""):
        check_text(text, "a path or a setting")
    if not os.path.isdir(task.directory):
        raise UsageError(f"--directory ({task.directory}) is no folder")
    found_notes = notes.before_it_runs(spec, task, found, job_holds_login=holds_login(job_text))
    return Schedule(task, _files(spec, task, mounts, job_text), tuple(found_notes))


def save(schedule: Schedule, folder: str) -> list[str]:
    """Write the files of a schedule into a folder, which is made if it is not there.

    Returns:
        Their paths.

    Raises:
        OutputError: They cannot be written.
    """
    written = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in schedule.files.items():
            write_whole(Path(folder, name), text.encode())
            written.append(os.path.join(folder, name))
    except OSError as error:
        raise OutputError(f"--out ({folder}) cannot be written: {error.strerror}", "choose another folder") from error
    return written


def clock(spec: ScheduleSpec) -> ZoneInfo | None:
    """Return the time zone of a schedule's times; None is that of the machine.

    Raises:
        UsageError: There is no such zone.
    """
    name = spec.timezone or ("Etc/UTC" if spec.target == "kubernetes" else None)
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise UsageError(f"--timezone ({name}) is not known here", "timedatectl list-timezones lists them") from None


def _files(spec: ScheduleSpec, task: Task, mounts: Sequence[tuple[str, str]], job_text: str) -> dict[str, str]:
    if spec.target == "crontab":
        log = None if spec.log is None else os.path.abspath(os.path.expanduser(spec.log))
        return {f"{task.name}.crontab": crontab_text(task, log=log)}
    if spec.target == "systemd":
        user = getpass.getuser() if spec.system else None
        service = service_text(task, user=user, max_hours=spec.max_hours)
        return {f"{task.name}.service": service, f"{task.name}.timer": timer_text(task, delay_seconds=spec.delay)}
    assert spec.image is not None, "ScheduleSpec has seen to it"
    pod = Pod(
        image=spec.image,
        secret=spec.secret,
        volumes=tuple(mounts),
        service_account=spec.service_account,
        num_cpus=spec.cpus,
        memory_gib=spec.memory,
        num_gpus=spec.gpus,
        max_hours=spec.max_hours,
    )
    return {f"{task.name}.yaml": manifest_text(task, pod, job_text)}


def _program() -> tuple[str, ...]:
    """Return what starts this vidcnn: the command beside this Python, or the module."""
    python = os.path.abspath(sys.executable)
    script = os.path.join(os.path.dirname(python), "vidcnn")
    return (script,) if os.access(script, os.X_OK) else (python, "-m", "vidcnn")


def _on_this_machine(known: Mapping[str, str], program: Sequence[str]) -> dict[str, str]:
    """Return variables for a service of this machine, which begins with next to none."""
    path = dict.fromkeys([os.path.dirname(program[0]), *_PATH])
    modules = known.get("PYTHONPATH")
    absolute = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, modules.split(os.pathsep)))} if modules else {}
    return {"PATH": os.pathsep.join(path), **known, **absolute}


def _environment_file(name: str, found: Variables) -> str | None:
    if not (found.secret or found.unset):
        return None
    return str(Path.home() / ".config" / "vidcnn" / f"{name}.env")


def _uses_storage(needs: JobNeeds) -> bool:
    values: list[Any] = [getattr(needs.spec, name, None) for name in _LOCATIONS]
    values += needs.open_fields.values()
    return any(is_remote(text) for value in values for text in _texts(value))


def _texts(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(text, str)]


def _parse_volumes(spec: ScheduleSpec, volumes: Sequence[str]) -> list[tuple[str, str]]:
    if volumes and spec.target != "kubernetes":
        raise UsageError(f"--volume is for --target kubernetes, not {spec.target}")
    mounts = []
    for text in volumes:
        claim, separator, folder = text.partition(":")
        try:
            check_kubernetes_name(claim)
        except ValueError as error:
            raise UsageError(f"--volume ({text}): the claim {error}", "write CLAIM:/folder") from None
        if not separator or not folder.startswith("/") or folder.strip("/") == "" or ":" in folder:
            raise UsageError(f"--volume ({text}) must be CLAIM:/folder", "the folder is where the job finds the claim")
        mounts.append((claim, folder.rstrip("/")))
    folders = [folder for _, folder in mounts]
    if len(set(folders)) < len(folders):
        raise UsageError("--volume mounts two claims on one folder")
    return mounts


def _run_options(spec: ScheduleSpec) -> tuple[str, ...]:
    """Return the options of `vidcnn run` that the user wants for each run."""
    if spec.out_on_cluster and spec.cluster is None:
        raise UsageError("--out-on-cluster is for a job on a cluster", "name one with --cluster")
    given = {"--on-failure": spec.on_failure, "--notify": spec.notify}
    flags = ("--out-on-cluster",) if spec.out_on_cluster else ()
    return (*flags, *(text for name, value in given.items() if value is not None for text in (name, value)))


def _read_cluster(spec: ScheduleSpec) -> str | None:
    """Return the address or the absolute path of the cluster's launcher file."""
    if spec.cluster == AUTO:
        raise UsageError("--cluster auto is for the jobs of a cluster", "name its address or its launcher file")
    place = None if spec.cluster is None else parse_cluster(spec.cluster)
    if spec.up and not isinstance(place, Path):
        raise UsageError("--up is for the cluster of a launcher file", "give the file with --cluster")
    if spec.target == "kubernetes" and isinstance(place, Path):
        raise UsageError(
            f"--cluster ({spec.cluster}) must be an address for --target kubernetes: a pod has no launcher file",
            "such as http://vidcnn-head-svc:8265",
        )
    return os.path.abspath(place) if isinstance(place, Path) else place


def _check_no_login(spec: ScheduleSpec, settings: Sequence[str], job_text: str) -> None:
    """Refuse a login that would be in a file which others read, or on a command line, which all processes see."""
    where = "a Secret (--secret NAME)" if spec.target == "kubernetes" else "the file of its variables"
    hint = (
        "leave the login out of the URI, and put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into "
        f"{where}; or write ${{NAME}} in the job, and put NAME= and the whole URI there"
    )
    for setting in settings:
        if holds_login(setting):
            raise UsageError(f"--set {hide_logins(setting)} contains a login, which the schedule would show", hint)
    for name, text in (("--notify", spec.notify), ("--on-failure", spec.on_failure)):
        if text is not None and holds_login(text):
            raise UsageError(
                f"{name} {hide_logins(text)} contains a login, which the schedule would show",
                f"put it into {where}: VIDCNN{name.replace('-', '_')[1:].upper()}=...",
            )
    if spec.target == "kubernetes" and holds_login(job_text):
        raise UsageError(f"'{spec.job}' contains a login, and a ConfigMap would show it", hint)


def _check_locations(needs: JobNeeds, folders: Sequence[str]) -> None:
    """Refuse a job that reads or writes what a pod does not see."""
    for name in _LOCATIONS:
        if name in needs.open_fields or (name == "weights" and getattr(needs.spec, name, None) in _WEIGHTS):
            continue
        for text in _texts(getattr(needs.spec, name, None)):
            if is_remote(text) or (name == "model" and "/" not in text and not os.path.exists(text)):
                continue
            if not folders or (text.startswith("/") and not any(_is_in(text, folder) for folder in folders)):
                raise UsageError(
                    f"the job's {name} ({public_location(text)}) is in no folder that a pod sees",
                    "mount a volume claim with --volume CLAIM:/folder, or use object storage",
                )


def _is_in(path: str, folder: str) -> bool:
    return os.path.normpath(path) == folder or os.path.normpath(path).startswith(f"{folder}/")
