"""What `vidcnn events` prints, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, islice
from typing import Any, NamedTuple

from vidcnn.events.evaluation import Agreement, Found, Known
from vidcnn.events.table import Placed
from vidcnn.events.tally import Tally
from vidcnn.events.tuning import MIN_OVERLAP, Tuned
from vidcnn.reporting.progress import duration_text
from vidcnn.reporting.summaries import count, table_text
from vidcnn.reporting.timeline_text import moment
from vidcnn.safe_text import one_line

_SHOWN_OVERLAPS = (0.5, 0.75, 0.95)
_LABEL = 24
"""Letters of a class that are shown."""
_NUM_LABELS = 20


class Written(NamedTuple):
    """Where events were written.

    Attributes:
        out: The file or folder.
        num_files: How many files.
    """

    out: str
    num_files: int


def events_text(table: str, tally: Tally, written: Written | None) -> str:
    """Return what was found in a table.

    Args:
        table: Its name.
        tally: The counts, and the first events.
        written: Where all of them are; None where they are not kept.
    """
    lines = [
        f"{one_line(table)}: {count(tally.num_events, 'event')} in {tally.num_with_events:,} of "
        f"{count(tally.num_videos, 'video')}, {duration_text(tally.seconds)}"
    ]
    if tally.num_errors:
        lines.append(f"  {count(tally.num_errors, 'row')} of errors: nothing is known of what these stand for")
    if tally.labels:
        rows = sorted(tally.labels.items(), key=lambda named: (-named[1].num_events, named[0]))
        cells = [
            (_short(name), f"{one.num_events:,}", f"{one.num_videos:,}", duration_text(one.seconds))
            for name, one in rows[:_NUM_LABELS]
        ]
        lines += ["", table_text(("label", "events", "videos", "time"), cells, right=("events", "videos", "time"))]
        if len(rows) > _NUM_LABELS:
            lines.append(f"and {count(len(rows) - _NUM_LABELS, 'more label')}")
    for video, events in groupby(tally.first, key=lambda placed: placed.video):
        lines += ["", one_line(video), *map(_event_line, events)]
    hidden = tally.num_events - len(tally.first)
    if written is not None:
        files = "" if written.num_files == 1 else f" ({count(written.num_files, 'file')})"
        lines += ["", f"written: {one_line(written.out)}{files}"]
    elif hidden:
        lines += ["", f"and {count(hidden, 'more event')}: --out events.parquet, .csv or .json writes all of them"]
    return "\n".join(lines)


def events_json(table: str, tally: Tally, written: Written | None) -> dict[str, Any]:
    """Return the same for programs; the events are in it where they are not written."""
    found: dict[str, Any] = {
        "table": table,
        "videos": tally.num_videos,
        "videos_with_events": tally.num_with_events,
        "error_rows": tally.num_errors,
        "events": tally.num_events,
        "seconds": tally.seconds,
        "labels": {
            name: {"events": one.num_events, "videos": one.num_videos, "seconds": one.seconds}
            for name, one in sorted(tally.labels.items())
        },
        "out": None if written is None else written.out,
    }
    if written is None:
        found["found"] = [{"video": one.video, "label": one.label, **asdict(one.event)} for one in tally.first]
    return found


def tuned_text(tuned: Mapping[str, Tuned], out: str) -> str:
    """Return which rules were chosen."""
    rows = []
    for label, one in sorted(tuned.items()):
        rules = one.rules
        lengths = (rules.smooth_seconds, rules.gap_seconds, rules.min_seconds)
        elsewhere = "" if one.f1_elsewhere is None else f"{one.f1_elsewhere:.2f}"
        rows.append(
            (_short(label, 18), f"{one.num_known:,}", f"{rules.threshold:.2f}", f"{rules.end_threshold:.2f}",
             *(f"{seconds:.3g} s" for seconds in lengths), f"{one.f1:.2f}", elsewhere)
        )  # fmt: skip
    heading = ("label", "events", "from", "to", "smooth", "gap", "min", "F1", "others")
    return "\n".join(
        [
            table_text(heading, rows, right=heading[1:]),
            "",
            f"F1: an event is right where it overlaps a known one by {MIN_OVERLAP:g} or more; others: F1",
            "on videos that took no part in the choice.",
            f"written: {one_line(out)}",
        ]
    )


def tuned_json(tuned: Mapping[str, Tuned], out: str) -> dict[str, Any]:
    """Return the same for programs."""
    labels = {
        label: {"rules": asdict(one.rules), "events": one.num_known, "f1": one.f1, "f1_elsewhere": one.f1_elsewhere}
        for label, one in sorted(tuned.items())
    }
    return {"out": out, "min_overlap": MIN_OVERLAP, "labels": labels}


def agreement_text(reached: Agreement, known: Sequence[Known], found: Sequence[Found], *, num_left_out: int = 0) -> str:
    """Return how well found events agree with known ones."""
    places = [reached.thresholds.index(overlap) for overlap in _SHOWN_OVERLAPS]
    rows = []
    for label, precision in zip(reached.labels, reached.precision, strict=True):
        counts = [sum(event.label == label for event in events) for events in (known, found)]
        shown = [f"{precision[place]:.3f}" for place in places]
        rows.append((_short(label), *(f"{number:,}" for number in counts), *shown, f"{precision.mean():.3f}"))
    totals = [f"{reached.at[overlap]:.3f}" for overlap in _SHOWN_OVERLAPS]
    rows.append(("mean", f"{len(known):,}", f"{len(found):,}", *totals, f"{reached.mean:.3f}"))
    heading = ("label", "known", "found", *(f"AP {overlap:g}" for overlap in _SHOWN_OVERLAPS), "AP 0.5:0.95")
    lines = [table_text(heading, rows, right=heading[1:])]
    strange = sorted({event.label for event in found} - set(reached.labels))
    if strange:
        named = ", ".join(map(_short, strange[:3])) + (", ..." if len(strange) > 3 else "")
        lines.append(f"{count(len(strange), 'label')} of found events {_are(len(strange))} not known: {named}")
    if num_left_out:
        lines += [
            f"{count(num_left_out, 'event')} of videos that the known ones do not name {_are(num_left_out)} left out;",
            "a row with a video and no label names one in which nothing happens",
        ]
    return "\n".join(lines)


def agreement_json(
    reached: Agreement, known: Sequence[Known], found: Sequence[Found], *, num_left_out: int = 0
) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "known": len(known),
        "found": len(found),
        "left_out": num_left_out,
        "map": {f"{overlap:g}": value for overlap, value in reached.at.items()},
        "mean_map": reached.mean,
        "labels": {
            label: dict(zip((f"{overlap:g}" for overlap in reached.thresholds), map(float, precision), strict=True))
            for label, precision in zip(reached.labels, reached.precision, strict=True)
        },
    }


def copies_text(out: str, num_written: int, failures: Mapping[str, str]) -> str:
    """Return which videos were copied."""
    lines = [f"{one_line(out)}: {count(num_written, 'video')} with chapters"]
    if failures:
        lines += ["", f"{count(len(failures), 'video')} could not be copied:"]
        lines += [f"  {one_line(name)}: {one_line(reason)}" for name, reason in islice(failures.items(), _NUM_LABELS)]
    return "\n".join(lines)


def copies_json(out: str, num_written: int, failures: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for programs."""
    return {"out": out, "videos": num_written, "failures": dict(failures)}


def _event_line(placed: Placed) -> str:
    event = placed.event
    times = f"{moment(event.start_seconds):>10} - {moment(event.end_seconds):>10}"
    return f"  {times}  {event.score:4.0%}  {_short(placed.label)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _short(label: str, most: int = _LABEL) -> str:
    text = one_line(label)
    return text if len(text) <= most else f"{text[: most - 3]}..."
