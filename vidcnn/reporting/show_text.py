"""What `vidcnn show` prints of a table: an overview, or all videos, classes or errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from vidcnn.predictions.overview import Overview, VideoCount
from vidcnn.reporting.summaries import count, table_text
from vidcnn.safe_text import cell_text, one_line
from vidcnn.sources.names import shown_name

_COLUMNS = 80
_LABEL = 20
_NUM_SHOWN = 10


def overview_text(location: str, overview: Overview, videos: Sequence[VideoCount]) -> str:
    """Return what people want to know first of a table.

    Args:
        location: The table.
        overview: Its counts.
        videos: The first of its videos.
    """
    head = (
        f"{one_line(location)}: {count(overview.num_videos, 'video')}, {count(overview.num_predictions, 'prediction')}"
    )
    parts = [head + (f", {count(overview.num_errors, 'error row')}" if overview.num_errors else "")]
    if overview.labels:
        parts.append(labels_text(overview, most=_NUM_SHOWN))
    if overview.errors:
        parts.append(errors_text(overview))
    if videos:
        parts.append(videos_text(videos, num_more=overview.num_videos - len(videos)))
    return "\n\n".join(parts)


def labels_text(overview: Overview, *, most: int | None = None) -> str:
    """Return a line for each class, the most frequent first."""
    rows = labels_rows(overview)
    largest = max(row["clips"] for row in rows)
    cells = [
        (_cut(row["label"], _LABEL), f"{row['clips']:,}", f"{row['share']:.0%}", f"{row['videos']:,}",
         f"{row['score']:.2f}", "█" * max(1, round(20 * row["clips"] / largest)))
        for row in rows[:most]
    ]  # fmt: skip
    text = table_text(
        ("label", "clips", "share", "videos", "score", ""), cells, right=("clips", "share", "videos", "score")
    )
    hidden = len(rows) - len(cells)
    return text + (f"\nand {count(hidden, 'more label')}: --by labels" if hidden else "")


def labels_rows(overview: Overview) -> list[dict[str, Any]]:
    """Return the classes, the most frequent first, as JSON values."""
    ordered = sorted(overview.labels.items(), key=lambda named: (-named[1].num_clips, named[0]))
    return [
        {
            "label": label,
            "clips": one.num_clips,
            "share": one.num_clips / overview.num_predictions,
            "videos": one.num_videos,
            "score": one.score,
        }
        for label, one in ordered
    ]


def errors_text(overview: Overview) -> str:
    """Return the kinds of errors, each with an example."""
    lines = []
    for row in errors_rows(overview):
        numbers = f"{count(row['rows'], 'row')} of {count(row['videos'], 'video')}"
        lines.append(_cut(f"{row['error_kind']:<16}{numbers}, such as {shown_name(row['video'])}:", _COLUMNS))
        lines.append(f"{'':16}{_cut(row['error'], _COLUMNS - 16)}")
    return "\n".join(lines) if lines else "no errors"


def errors_rows(overview: Overview) -> list[dict[str, Any]]:
    """Return the kinds of errors, the most frequent first, as JSON values."""
    ordered = sorted(overview.errors.items(), key=lambda named: (-named[1].num_rows, named[0]))
    return [
        {"error_kind": kind, "rows": one.num_rows, "videos": one.num_videos, "video": one.video, "error": one.message}
        for kind, one in ordered
    ]


def videos_text(videos: Sequence[VideoCount], *, num_more: int) -> str:
    """Return a line for each video.

    Args:
        videos: Those that are shown.
        num_more: How many are not.
    """
    cells = [
        (f"{one.clips:,}", "" if one.label is None else _cut(one.label, _LABEL),
         "" if one.share is None else f"{one.share:.0%}", "" if one.score is None else f"{one.score:.2f}",
         f"{one.errors:,}" if one.errors else "", shown_name(one.video))
        for one in videos
    ]  # fmt: skip
    heading = ("clips", "label", "share", "score", "errors", "video")
    text = table_text(heading, cells, right=("clips", "share", "score", "errors"))
    lines = [_cut(line, _COLUMNS) for line in text.splitlines()]
    if num_more:
        lines.append(f"and {count(num_more, 'more video')}: --by videos --num N, or --csv")
    return "\n".join(lines)


def videos_rows(videos: Iterable[VideoCount]) -> list[dict[str, Any]]:
    """Return videos as JSON values."""
    return [asdict(video) for video in videos]


def csv_text(rows: Sequence[dict[str, Any]], names: Sequence[str], *, heading: bool = True) -> str:
    """Return rows as CSV.

    Args:
        rows: The rows.
        names: Their columns.
        heading: Whether the names come first.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if heading:
        writer.writerow(names)
    for row in rows:
        writer.writerow([cell_text(value) if isinstance(value, str) else value for value in row.values()])
    return text.getvalue().removesuffix("\n")


VIDEO_NAMES = tuple(field.name for field in fields(VideoCount))


def _cut(text: str, room: int) -> str:
    shown = one_line(text)
    return shown if len(shown) <= room else shown[: room - 1] + "…"
