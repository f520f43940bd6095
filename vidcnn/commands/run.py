"""`vidcnn run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, JsonOption, QuietOption


def run(
    job: Annotated[Path, typer.Argument(help="A job spec, such as jobs/infer.yaml.", show_default=False)],
    *,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a job spec: the options of a command in a file."""
    from vidcnn.commands.infer import run_infer
    from vidcnn.jobs import read_job

    run_infer(read_job(job), as_json=as_json, quiet=quiet)
