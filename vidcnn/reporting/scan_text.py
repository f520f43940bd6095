"""What `vidcnn scan` shows while it works and prints at its end, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from typing import Any

from vidcnn.config import ScanSpec
from vidcnn.reporting.confined import confinement_json, confinement_lines
from vidcnn.reporting.progress import RunProgress, duration_text
from vidcnn.reporting.summaries import count, left_out_lines
from vidcnn.safe_text import one_line
from vidcnn.sandbox.confinement import Strength
from vidcnn.scans.summary import Group, ScanSummary
from vidcnn.sources.names import shown_name
from vidcnn.storage.uris import public_location

_COLUMNS = 80
_HEADING = 16
_ROOM = _COLUMNS - _HEADING - 3
_NUM_SHOWN = 5
_NUM_DETAIL_LINES = 3


@dataclass(frozen=True)
class ScanReport:
    """How a scan ended.

    Attributes:
        summary: Counts of the whole table.
        num_videos: Videos of the source.
        num_videos_done: Those that this run did.
        num_videos_waiting: Those that were written so lately that they wait for the next run.
        undone: Names of videos that this run left to the next one, since the storage or this machine failed, with the
            reason.
        elapsed_seconds: Wall time, start-up included.
        ignored: Files that were left out of folders, by extension.
        empty_sources: Folders of the source, among several, that contain no video.
        unused_columns: Columns of lists of the source that are not used.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    summary: ScanSummary
    num_videos: int
    num_videos_done: int
    num_videos_waiting: int
    undone: tuple[tuple[str, str], ...]
    elapsed_seconds: float
    ignored: dict[str, int]
    empty_sources: tuple[str, ...]
    unused_columns: dict[str, tuple[str, ...]]
    confinement: Mapping[str, Strength] = field(default_factory=dict)


def describe_scan(progress: RunProgress) -> tuple[float, str]:
    """Return the share of a scan that is done, and its state in one line."""
    done, listed = f"{progress.num_videos_done:,}", f"{progress.num_videos:,}"
    parts = [
        f"{done}/{listed} videos" if progress.is_listed else f"{done} videos of at least {listed}, listing goes on"
    ]
    if progress.num_errors:
        parts.append(f"{progress.num_errors:,} bad")
    remaining = progress.remaining_seconds
    if not progress.has_begun:
        parts.append("starting")
    elif remaining and progress.fraction < 1:
        parts.append(f"{duration_text(remaining)} left")
    return progress.fraction, " · ".join(parts)


def scan_text(spec: ScanSpec, report: ScanReport) -> str:
    """Return the final summary of a scan."""
    summary = report.summary
    lines = [
        f"{one_line(public_location(spec.out))}: {count(summary.num_videos, 'video')}, {duration_text(summary.seconds)}"
        f" of video, {_bytes_text(summary.size_bytes)}",
        _this_run(report),
        "",
        _row("readable", f"{summary.num_readable:,} of {summary.num_videos:,}"),
        *_counts("codecs", summary.codecs),
        *_counts("containers", summary.containers),
        *_counts("sizes", summary.sizes),
        *_remarkable(spec, summary),
    ]
    if summary.errors:
        lines += ["", f"{count(summary.num_bad_videos, 'bad video')}:"]
        for kind, group in summary.errors.items():
            said = wrap(f"{group.num_videos:,}: {shown_name(group.detail)}", _ROOM)[:_NUM_DETAIL_LINES]
            lines += [_row(kind, said[0]), *(_row("", line) for line in said[1:])]
            lines.append(_row("", _such_as(group, _ROOM)))
    if report.undone:
        lines += ["", f"{count(len(report.undone), 'video')} could not be read now, left to the next run:"]
        lines += [_cut(f"  {name}: {reason}") for name, reason in report.undone[:_NUM_SHOWN]]
    rest = [*confinement_lines(report.confinement), *left_out_lines(report)]
    return "\n".join([*lines, *([""] if rest else []), *rest])


def scan_line(spec: ScanSpec, report: ScanReport) -> str:
    """Return the final summary of a scan in one line."""
    summary = report.summary
    parts = [scan_text(spec, report).splitlines()[0], _this_run(report)]
    if summary.num_bad_videos:
        parts.append(count(summary.num_bad_videos, "bad video"))
    if report.undone:
        parts.append(f"{len(report.undone):,} undone")
    return "; ".join(parts)


def scan_json(spec: ScanSpec, report: ScanReport) -> dict[str, Any]:
    """Return the final summary of a scan as JSON values."""
    summary = report.summary
    groups = ("damaged", "same", "near", "variable_rate", "gaps", "black", "frozen", "encrypted", "hdr")
    return {
        "out": public_location(spec.out),
        "videos": summary.num_videos,
        "readable": summary.num_readable,
        "bad_videos": summary.num_bad_videos,
        "size_bytes": summary.size_bytes,
        "seconds": round(summary.seconds, 3),
        "codecs": dict(summary.codecs.most_common()),
        "containers": dict(summary.containers.most_common()),
        "sizes": dict(summary.sizes.most_common()),
        "errors": {kind: asdict(group) for kind, group in summary.errors.items()},
        **{name: asdict(getattr(summary, name)) for name in groups},
        "run": {
            "videos_listed": report.num_videos,
            "videos_done": report.num_videos_done,
            "videos_waiting": report.num_videos_waiting,
            "videos_undone": len(report.undone),
            "first_videos_undone": [{"video": name, "reason": reason} for name, reason in report.undone[:_NUM_SHOWN]],
            "elapsed_seconds": round(report.elapsed_seconds, 3),
            "confinement": confinement_json(report.confinement),
            "ignored_files": report.ignored,
            "empty_sources": list(report.empty_sources),
            "unused_columns": {name: list(columns) for name, columns in report.unused_columns.items()},
        },
    }


def _this_run(report: ScanReport) -> str:
    if report.num_videos_done:
        return f"this run: {count(report.num_videos_done, 'video')} in {duration_text(report.elapsed_seconds)}"
    if report.num_videos_waiting:
        return f"this run: nothing to do, {report.num_videos_waiting:,} waiting"
    return f"this run: nothing to do, all of {count(report.num_videos, 'video')} done"


def _remarkable(spec: ScanSpec, summary: ScanSummary) -> Iterator[str]:
    """Yield what is true of some videos and no error, or not only one."""
    yield from _group("encrypted", summary.encrypted)
    yield from _group("high range", summary.hdr)
    yield from _group("variable rate", summary.variable_rate)
    yield from _group("gaps in time", summary.gaps)
    if spec.quick:
        yield _row("not looked for", "damage, black, frozen, duplicates: --quick")
        return
    yield from _group("damaged", summary.damaged)
    yield from _group("black", summary.black, f", {duration_text(summary.black.seconds)}")
    yield from _group("frozen", summary.frozen, f", {duration_text(summary.frozen.seconds)}")
    yield from _group("same content", summary.same, f", {_bytes_text(summary.same.size_bytes)}")
    yield from _group("nearly the same", summary.near, f", {_bytes_text(summary.near.size_bytes)}")


def _group(heading: str, group: Group, more: str = "") -> Iterator[str]:
    if group.num_videos:
        text = f"{group.num_videos:,}{more}, "
        yield _row(heading, text + _such_as(group, _ROOM - len(text)))


def _such_as(group: Group, room: int = _COLUMNS) -> str:
    """Name an example in a number of columns, by the end of its name where that is long."""
    name = shown_name(group.example)
    room -= len("such as ")
    return "such as " + (name if len(name) <= room else f"...{name[len(name) - max(8, room - 3) :]}")


def _counts(heading: str, counts: Counter[str]) -> Iterator[str]:
    """Yield the most frequent of some things."""
    if counts:
        most = counts.most_common()
        shown = [f"{shown_name(what)} {number:,}" for what, number in most[:_NUM_SHOWN]]
        yield _row(heading, ", ".join(shown) + (f", {len(most) - _NUM_SHOWN:,} others" if most[_NUM_SHOWN:] else ""))


def _row(heading: str, text: str) -> str:
    return _cut(f"  {heading:<{_HEADING}} {text}")


def _cut(line: str) -> str:
    return line if len(line) <= _COLUMNS else f"{line[: _COLUMNS - 3]}..."


def _bytes_text(size_bytes: int) -> str:
    """Return a size as people write it: ``812 B``, ``3.4 MB``, ``120 GB``."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 99.95 else f"{size:.1f} {units[0]}"
