"""`vidcnn show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidcnn.bounds import MAX_COUNT
from vidcnn.commands import DebugOption, JsonOption, PredsArgument
from vidcnn.streams import show as print_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from vidcnn.predictions.merging import Merged
    from vidcnn.predictions.table import Table

VideoArgument = Annotated[
    str | None,
    typer.Argument(help="A video of it: its scores over time.", metavar="VIDEO", show_default=False),
]
ByOption = Annotated[
    Literal["videos", "labels", "errors"] | None,
    typer.Option(help="Show all videos, labels or kinds of errors instead of an overview.", show_default=False),
]
NumOption = Annotated[int, typer.Option("--num", help="How many videos are shown.", min=0, max=MAX_COUNT, metavar="N")]
WhereOption = Annotated[
    str | None,
    typer.Option(
        help="Only rows that meet a condition on columns, such as 'label == \"fight\" and score > 0.9'.",
        metavar="CONDITION",
        show_default=False,
    ),
]
CsvOption = Annotated[
    bool, typer.Option("--csv", help="Print CSV: all videos, or what --by names.", rich_help_panel="Output")
]


def show(
    preds: PredsArgument,
    video: VideoArgument = None,
    *,
    by: ByOption = None,
    num: NumOption = 10,
    where: WhereOption = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a table of predictions: its classes, its errors, its videos; or one video over time."""
    from vidcnn.errors import UsageError
    from vidcnn.predictions.table import Table

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    if video is not None and (by is not None or as_csv):
        raise UsageError(f"{'--by' if by else '--csv'} is for a whole table", "leave VIDEO out, or the option")
    with Table.open(preds, while_written=True) as table:
        if video is None:
            _show_table(table, by, num, where, as_csv=as_csv, as_json=as_json)
        else:
            _show_video(table, video, where, as_json=as_json)


def _show_table(table: Table, by: str | None, num: int, where: str | None, *, as_csv: bool, as_json: bool) -> None:
    from itertools import islice

    from vidcnn.predictions.overview import COLUMNS, Overview, videos_of
    from vidcnn.reporting import show_text as texts

    overview = Overview()
    pieces = overview.through(_pieces(table, table.entries(), [*COLUMNS], where))
    videos = (one for piece in pieces for one in videos_of(piece))
    if as_csv and by in (None, "videos"):
        print_text(texts.csv_text([], texts.VIDEO_NAMES))
        while some := list(islice(videos, 10_000)):
            print_text(texts.csv_text(texts.videos_rows(some), texts.VIDEO_NAMES, heading=False))
        return
    most = None if as_json and by == "videos" else num
    first = list(islice(videos, most))
    for _ in pieces:
        pass
    rows: dict[str, Any] = {"labels": texts.labels_rows, "errors": texts.errors_rows}
    if as_csv and by is not None:
        found = rows[by](overview)
        names = {"labels": ("label", "clips", "share", "videos", "score"),
                 "errors": ("error_kind", "rows", "videos", "video", "error")}[by]  # fmt: skip
        print_text(texts.csv_text(found, names))
    elif as_json:
        print_text(json.dumps(_json(table, overview, by, first)))
    elif by == "labels":
        print_text(texts.labels_text(overview) if overview.labels else "no predictions")
    elif by == "errors":
        print_text(texts.errors_text(overview))
    elif by == "videos":
        print_text(texts.videos_text(first, num_more=overview.num_videos - len(first)))
    else:
        print_text(texts.overview_text(table.location, overview, first))


def _json(table: Table, overview: Any, by: str | None, first: list[Any]) -> dict[str, Any]:
    from vidcnn.reporting import show_text as texts

    found: dict[str, Any] = {
        "table": table.location,
        "videos": overview.num_videos,
        "predictions": overview.num_predictions,
        "error_rows": overview.num_errors,
    }
    if by in (None, "labels"):
        found["by_label"] = texts.labels_rows(overview)
    if by in (None, "errors"):
        found["by_error"] = texts.errors_rows(overview)
    if by in (None, "videos"):
        found["first_videos" if by is None else "by_video"] = texts.videos_rows(first)
    return found


def _show_video(table: Table, video: str, where: str | None, *, as_json: bool) -> None:
    import difflib
    from itertools import islice

    import numpy as np
    import pyarrow as pa

    from vidcnn.errors import UsageError
    from vidcnn.events.scores import scores_of_videos
    from vidcnn.predictions.overview import COLUMNS
    from vidcnn.reporting.timeline_text import timeline_text
    from vidcnn.safe_text import one_line
    from vidcnn.sources.names import utf8_name

    name = utf8_name(video)
    entries = [merged for merged in table.entries() if merged.video == name]
    if not entries:
        names = [merged.video for merged in islice(table.entries(), 10_000)]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"its first video is {names[0]}" if names else ""
        raise UsageError(f"the table has no video '{one_line(video)}'", hint)
    rows = pa.concat_tables(_pieces(table, entries, [*COLUMNS, "top_labels", "top_scores"], where))
    if as_json:
        print_text(json.dumps(rows.to_pylist()))
        return
    errors = rows.filter(rows["error"].is_valid())
    print_text(f"{one_line(name)}: {_counts(rows.num_rows - errors.num_rows, errors)}")
    for scores in scores_of_videos([rows]):
        timed = errors.filter(errors["start_seconds"].is_valid())
        places = np.stack([timed["start_seconds"].to_numpy(), timed["end_seconds"].to_numpy()], axis=1)
        print_text(timeline_text(scores.start_seconds, scores.end_seconds, scores.scores, places))


def _counts(num_clips: int, errors: pa.Table) -> str:
    from vidcnn.reporting.summaries import count
    from vidcnn.safe_text import one_line

    text = count(num_clips, "clip")
    if errors.num_rows:
        text += f", {count(errors.num_rows, 'error row')}: {one_line(errors['error'][0].as_py())}"
    return text


def _pieces(table: Table, entries: Iterable[Merged], columns: list[str], where: str | None) -> Iterator[pa.Table]:
    """Yield the rows of some videos that meet a condition."""
    from vidcnn.sources.filters import Filter

    if where is None:
        return table.rows(entries, columns)
    wanted = Filter(where)
    condition = wanted.expression(table.schema)
    return (rows.filter(condition) for rows in table.rows(entries, [*dict.fromkeys([*columns, *wanted.columns])]))
