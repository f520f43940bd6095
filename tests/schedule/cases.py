"""Tasks for tests of what is written for each target."""

from __future__ import annotations

from typing import Any

from vidcnn.schedule.cron import parse_cron
from vidcnn.schedule.task import Task

NASTY = (
    "plain",
    "two words",
    "it's",
    '"quoted"',
    "100%",
    "a\\b",
    "\\%",
    "$HOME",
    "$$(X)",
    "a;b",
    ";",
    "#",
    "`id`",
    "é*",
)
"""Texts that something between a file and a program may take for more than text."""


def make_task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "name": "vidcnn-nightly",
        "cron": parse_cron("0 2 * * *"),
        "job": "/srv/jobs/nightly.yaml",
        "directory": "/srv",
        "program": ("/opt/vidcnn/bin/vidcnn",),
    }
    return Task(**values | changes)
