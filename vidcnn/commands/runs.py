"""`vidcnn runs`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, JsonOption
from vidcnn.streams import show

OutArgument = Annotated[str, typer.Argument(help="The output, as --out named it.", metavar="OUT", show_default=False)]
LimitOption = Annotated[int, typer.Option("--last", help="Only the last so many.", min=1, metavar="N")]


def runs(out: OutArgument, *, last: LimitOption = 20, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the runs of an output: what each did, how it ended, what limited it.

    This is read from the reports that runs with --report leave; the oldest comes first. --json prints them as they are.
    """
    from vidcnn.reporting.run_report import read_reports
    from vidcnn.reporting.summaries import runs_text

    found = read_reports(out)[-last:]
    show(json.dumps(found) if as_json else runs_text(found))
