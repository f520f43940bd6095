"""A service and a timer for systemd."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vidcnn.errors import UsageError
from vidcnn.schedule.cron import Cron
from vidcnn.schedule.task import Task

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_STOP_SECONDS = 300
"""A run that is stopped commits what is finished; on object storage that takes a while."""


def service_text(task: Task, *, user: str | None = None, max_hours: float | None = None) -> str:
    """Write the unit of the service.

    Args:
        task: What is run.
        user: Login that a unit of the machine runs as; None writes a unit of a login itself.
        max_hours: After so long, the run is stopped.

    Raises:
        UsageError: The name of the folder or of the program cannot be written in a unit.
    """
    if re.search("[\"'\\\\]", task.program[0]):
        raise UsageError(f"systemd starts no program with quotes or a backslash in its path: {task.program[0]}")
    if task.directory != task.directory.strip() or task.directory.endswith("\\"):
        raise UsageError(f"systemd cannot work in '{task.directory}': spaces or a backslash at an end", "rename it")
    online = [] if user is None else ["Wants=network-online.target", "After=network-online.target"]
    variables = [f"Environment={_quote(f'{name}={value}')}" for name, value in task.environment.items()]
    file = [] if task.environment_file is None else [f"EnvironmentFile={_specifiers(task.environment_file)}"]
    lines = [
        "[Unit]",
        f"Description={task.name}: vidcnn run {_specifiers(task.job)}",
        *online,
        "",
        "[Service]",
        "Type=oneshot",
        *([] if user is None else [f"User={user}"]),
        f"WorkingDirectory={_specifiers(task.directory)}",
        *variables,
        *file,
        f"ExecStart={_exec(task.command)}",
        "# Another run held the output, and does the work: no failure.",
        "SuccessExitStatus=75",
        f"TimeoutStartSec={'infinity' if max_hours is None else round(max_hours * 3600)}",
        "# The signal goes to the run alone, which commits what is finished and ends its workers.",
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        f"TimeoutStopSec={_STOP_SECONDS}",
        "Nice=10",
    ]
    return "\n".join(lines) + "\n"


def timer_text(task: Task, *, delay_seconds: int = 0) -> str:
    """Write the unit of the timer.

    Args:
        task: When it runs.
        delay_seconds: Each start is delayed by a random time of up to so many seconds.
    """
    zone = "" if task.timezone is None else f" {task.timezone}"
    lines = [
        "[Unit]",
        f"Description={task.name}: when it runs",
        "",
        "[Timer]",
        f"# cron: {task.cron.text}",
        *[f"OnCalendar={calendar}{zone}" for calendar in calendars(task.cron)],
        "AccuracySec=1s",
        *([f"RandomizedDelaySec={delay_seconds}"] if delay_seconds else []),
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def calendars(cron: Cron) -> list[str]:
    """Return calendar events of systemd that together fire when a cron expression does.

    To systemd, a day must match weekday and date. Where cron takes either, there are two events; a time that is in both
    is one time to the timer.
    """
    weekdays = "" if len(cron.weekdays) == 7 else ",".join(_WEEKDAYS[day] for day in _from_monday(cron.weekdays)) + " "
    days = _numbers(cron.days, 1, 31)
    date = f"*-{_numbers(cron.months, 1, 12)}-"
    time = f"{_numbers(cron.hours, 0, 23)}:{_numbers(cron.minutes, 0, 59)}:00"
    if not cron.either_day:
        return [f"{weekdays}{date}{days} {time}"]
    if not weekdays or days == "*":
        return [f"{date}* {time}"]
    return [f"{date}{days} {time}", f"{weekdays}{date}* {time}"]


def _numbers(values: Sequence[int], low: int, high: int) -> str:
    """Write the numbers of a field: all, an even progression up to the field's end, or a list with ranges."""
    if len(values) == high - low + 1:
        return "*"
    step = values[1] - values[0] if len(values) > 2 else 0
    if step > 1 and list(values) == list(range(values[0], high + 1, step)):
        return f"{values[0]:02}/{step}"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(
        f"{run[0]:02}..{run[-1]:02}" if len(run) > 2 else ",".join(f"{value:02}" for value in run) for run in runs
    )


def _from_monday(weekdays: Sequence[int]) -> list[int]:
    return sorted(weekdays, key=lambda day: (day - 1) % 7)


def _exec(command: Sequence[str]) -> str:
    """Write a command line. The colon, which older versions lack, keeps a ``$`` from being read as a variable."""
    prefix = ":" if any("$" in argument for argument in command) else ""
    return prefix + " ".join(map(_quote, command))


def _quote(text: str) -> str:
    """Write a word: between quotes where it needs them."""
    text = _specifiers(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
