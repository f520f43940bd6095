"""`vidcnn schema`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.commands import DebugOption
from vidcnn.streams import show


def schema(
    command: Annotated[
        str | None, typer.Argument(help="The command of the jobs.  \\[default: all commands]", show_default=False)
    ] = None,
    *,
    debug: DebugOption = False,
) -> None:
    """Print the JSON Schema of job specs, by which editors complete and check them.

    A job spec whose first line is `# yaml-language-server: $schema=FILE` is checked against FILE.
    """
    from vidcnn.config.schema import job_schema

    show(json.dumps(job_schema(command), indent=2))
