"""`vidcnn report`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, JsonOption
from vidcnn.errors import UsageError
from vidcnn.streams import show

TableArgument = Annotated[
    str,
    typer.Argument(
        help="A table of predictions, or the directory of a training run.", metavar="PREDS|RUN", show_default=False
    ),
]
OutOption = Annotated[str, typer.Option("--out", help="The page to write.", metavar="FILE")]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="Where the videos are, as vidcnn infer was told, for pictures and links; may be repeated.",
        metavar="SOURCE",
        show_default=False,
    ),
]
PicturesOption = Annotated[
    int, typer.Option("--pictures", help="Best clips to show with a picture.", min=0, max=500, metavar="N")
]
TruthOption = Annotated[
    str | None,
    typer.Option(
        "--truth",
        help="What the videos really are, in any form that vidcnn train takes: the page shows how often the model is "
        "right.",
        metavar="DATA",
        show_default=False,
    ),
]
TruthRootOption = Annotated[
    str | None,
    typer.Option(
        "--truth-root",
        help="Folder that paths in a file of --truth are relative to.",
        metavar="DIR",
        show_default=False,
    ),
]
MaxVideosOption = Annotated[
    int,
    typer.Option(
        "--max-videos", help="Videos to list, the first by name; counts are of all.", min=1, max=100_000, metavar="N"
    ),
]


def report(
    table: TableArgument,
    *,
    out: OutOption = "report.html",
    source: SourceOption = None,
    pictures: PicturesOption = 48,
    truth: TruthOption = None,
    truth_root: TruthRootOption = None,
    max_videos: MaxVideosOption = 10_000,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make one HTML page of a table of predictions: what was seen when, how sure, and what went wrong.

    Of a training run, it shows the curves, the schedule, and the time spent waiting for clips. The page opens from a
    disk and fetches nothing.
    """
    from vidcnn.pages.predictions_page import predictions_page
    from vidcnn.pages.training_page import is_run
    from vidcnn.pages.truth import read_truth
    from vidcnn.pages.writing import check_page, write_page
    from vidcnn.reporting.summaries import count

    check_page(out)
    if is_run(table):
        if source or truth or truth_root:
            raise UsageError(
                "--source, --truth and --truth-root are for tables of predictions, and this is a training run",
                "leave them out",
            )
        _report_training(table, out, as_json=as_json)
        return
    if truth_root is not None and truth is None:
        raise UsageError("--truth-root is for a file of --truth", "name one")
    page, counts = predictions_page(
        table,
        max_videos=max_videos,
        sources=source or (),
        num_pictures=pictures,
        truth=None if truth is None else read_truth(truth, truth_root),
    )
    write_page(out, page)
    values = {"out": out, "videos": counts.num_videos, "listed": len(counts.listed), "bytes": len(page)}
    line = f"{out}: {count(counts.num_videos, 'video')}, {count(counts.num_predictions, 'prediction')}"
    if len(counts.listed) < counts.num_videos:
        line += f"; {len(counts.listed):,} videos are listed, --max-videos lists more"
    show(json.dumps(values) if as_json else f"{line} ({len(page) / 1e6:.1f} MB)")


def _report_training(directory: str, out: str, *, as_json: bool) -> None:
    from vidcnn.pages.training_page import training_page
    from vidcnn.pages.writing import write_page
    from vidcnn.reporting.summaries import count

    page, num_steps = training_page(directory)
    write_page(out, page)
    values = {"out": out, "steps": num_steps, "bytes": len(page)}
    text = f"{out}: {count(num_steps, 'step')} of training ({len(page) / 1e6:.1f} MB)"
    show(json.dumps(values) if as_json else text)
