"""A line for a crontab, whole in itself: it changes nothing for the lines beside it."""

from __future__ import annotations

import re
import shlex

from vidcnn.errors import UsageError
from vidcnn.schedule.task import Task

_MAX_COMMAND_BYTES = 990
"""Debian's cron takes commands of less than a thousand bytes, and refuses the whole crontab otherwise."""


def crontab_text(task: Task, *, log: str | None = None) -> str:
    """Write the lines of a user's crontab.

    Args:
        task: What is run, and when.
        log: Absolute path of a file to which the run's lines go; None lets cron mail them.

    Raises:
        UsageError: The command is longer than cron takes.
    """
    command = _escape(_shell_command(task, log))
    if len(command.encode()) > _MAX_COMMAND_BYTES:
        raise UsageError(
            f"the line for cron has {len(command.encode())} bytes, and cron takes {_MAX_COMMAND_BYTES}",
            "move the job to a shorter path, unset variables that it does not need, or use --target systemd",
        )
    return (
        f"# {task.name}: a run that starts while another holds the output ends at once, with exit code 75\n"
        f"{task.cron.text} {command}\n"
    )


def _shell_command(task: Task, log: str | None) -> str:
    steps = [f"cd {shlex.quote(task.directory)}"]
    if task.environment_file is not None:
        steps.append(f"set -a && . {shlex.quote(task.environment_file)} && set +a")
    values = [f"{name}={shlex.quote(value)}" for name, value in task.environment.items()]
    steps.append(" ".join([*values, shlex.join(task.command)]))
    output = "" if log is None else f" >>{shlex.quote(log)} 2>&1"
    return " && ".join(steps) + output


def _escape(command: str) -> str:
    r"""Return a command as it is written in a crontab.

    Cron ends it at a ``%``, takes ``\%`` for one, and leaves ``\\`` alone. A backslash right before a ``%`` would pair
    with the one that is put there. It is always between quotes, which are ended and begun again between the two.
    """
    return re.sub(r"(\\?)%", lambda match: rf"{match[1]}''\%" if match[1] else r"\%", command)
