"""`vidcnn schedule`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, JsonOption
from vidcnn.commands.options import takes_spec
from vidcnn.config import ScheduleSpec
from vidcnn.safe_text import screen_text
from vidcnn.streams import show

SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A value in place of the job's; may be repeated.", metavar="NAME=VALUE", rich_help_panel="Run"
    ),
]
VolumeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--volume",
        help="kubernetes: a volume claim, and the folder where the job finds it; may be repeated.",
        metavar="CLAIM:/DIR",
        rich_help_panel="Kubernetes",
    ),
]


@takes_spec(ScheduleSpec)
def schedule(
    spec: ScheduleSpec,
    *,
    settings: SettingsOption = None,
    volume: VolumeOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write what runs a job again and again: lines for cron, units of systemd, or a CronJob of Kubernetes."""
    import os
    from datetime import datetime

    from vidcnn.schedule import notes
    from vidcnn.schedule.write import clock, make_schedule, save

    made = make_schedule(spec, settings=settings or (), volumes=volume or (), environ=os.environ)
    written = save(made, spec.out) if spec.out != "-" else []
    runs = notes.when_it_runs(made.task, datetime.now(clock(spec)).replace(tzinfo=None))
    install = list(notes.how_to_install(spec, made.task))
    if as_json:
        values = {"files": made.files, "written": written, "notes": made.notes, "install": install, "runs": runs}
        show(json.dumps(values))
        return
    for line in written:
        show(line)
    if not written:
        show(made.text, end="")
    for line in (runs, *made.notes, "", *install):
        print(screen_text(line), file=sys.stderr)
