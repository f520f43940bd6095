"""What a command prints at its end, for people and for programs.

Takes the reports of the pipelines, returns text and JSON values. Nothing is counted here: the counts are those of the
committed table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vidcnn.choices import ShortClips
from vidcnn.config import InferSpec, ScanSpec
from vidcnn.errors import StorageError, TooManyErrorsError
from vidcnn.reporting.confined import confinement_json, confinement_lines
from vidcnn.reporting.progress import duration_text
from vidcnn.safe_text import one_line
from vidcnn.sources.names import left_out_text, shown_name
from vidcnn.storage.uris import public_location

if TYPE_CHECKING:
    from vidcnn.reporting.bottleneck import Bottleneck
    from vidcnn.reporting.results import Estimate, InferReport, SourcePlan

_NUM_SHOWN = 5
_MAX_REASON = 40


class _Listed(Protocol):
    """What a report has of the listing of its source."""

    @property
    def ignored(self) -> dict[str, int]: ...
    @property
    def empty_sources(self) -> tuple[str, ...]: ...
    @property
    def unused_columns(self) -> dict[str, tuple[str, ...]]: ...


class _Counted(Protocol):
    """What a table comes to, as far as its videos are good or bad."""

    @property
    def num_videos(self) -> int: ...
    @property
    def num_bad_videos(self) -> int: ...


class _Ended(Protocol):
    """What a report has of how its run ended."""

    @property
    def summary(self) -> _Counted: ...
    @property
    def undone(self) -> tuple[tuple[str, str], ...]: ...


def infer_text(spec: InferSpec, report: InferReport) -> str:
    """Return the final summary of an inference run."""
    summary = report.summary
    out = one_line(public_location(spec.out))
    lines = [
        f"{out}: {count(summary.num_videos, 'video')}, {count(summary.num_predictions, 'prediction')}"
        + (f", {count(sum(summary.num_errors.values()), 'error row')}" if summary.num_errors else ""),
    ]
    if report.num_videos_done:
        speed = f" ({report.clips_per_second:.1f} clips/s after the start)" if report.clips_per_second else ""
        lines.append(
            f"this run: {count(report.num_videos_done, 'video')}, {count(report.num_clips_done, 'clip')} "
            f"in {duration_text(report.elapsed_seconds)}{speed}"
        )
        if report.bottleneck:
            lines.append(report.bottleneck.text)
        lines += short_clips_lines(spec.short_clips, report.num_short_clips, report.num_clips_done)
    elif report.undone:
        lines.append("this run: no video done")
    elif report.num_videos_waiting:
        num_done = report.num_videos - report.num_videos_waiting
        lines.append(
            f"this run: nothing to do, {count(num_done, 'video')} done and {report.num_videos_waiting:,} waiting"
        )
    else:
        lines.append(f"this run: nothing to do, all of {count(report.num_videos, 'video')} done")
    lines += _waiting(spec, report.num_videos_waiting)
    if report.undone:
        lines.append(f"{count(len(report.undone), 'video')} could not be read now, left to the next run:")
        lines += [f"  {shown_name(name)}: {one_line(reason)}" for name, reason in report.undone[:_NUM_SHOWN]]
        if len(report.undone) > _NUM_SHOWN:
            lines.append(f"  and {len(report.undone) - _NUM_SHOWN:,} more")
    if summary.num_errors:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.num_errors.items()))
        lines.append(f"{count(summary.num_bad_videos, 'bad video')} (rows: {kinds})")
        lines += [f"  {shown_name(bad.video)}: {one_line(bad.error)}" for bad in summary.bad_videos]
        if summary.num_bad_videos > len(summary.bad_videos):
            lines.append(
                f"  and {summary.num_bad_videos - len(summary.bad_videos):,} more: rows where error is not null"
            )
    lines += confinement_lines(report.confinement)
    lines += left_out_lines(report)
    return "\n".join(lines)


def infer_json(spec: InferSpec, report: InferReport) -> dict[str, Any]:
    """Return the final summary of an inference run as JSON values."""
    summary = report.summary
    return {
        "out": public_location(spec.out),
        "videos": summary.num_videos,
        "clips": summary.num_clips,
        "predictions": summary.num_predictions,
        "errors": dict(summary.num_errors),
        "bad_videos": summary.num_bad_videos,
        "first_bad_videos": [
            {"video": bad.video, "error_kind": bad.error_kind, "error": bad.error} for bad in summary.bad_videos
        ],
        "run": {
            "videos_listed": report.num_videos,
            "videos_done": report.num_videos_done,
            "videos_waiting": report.num_videos_waiting,
            "videos_undone": len(report.undone),
            "first_videos_undone": [{"video": name, "reason": reason} for name, reason in report.undone[:_NUM_SHOWN]],
            "clips_done": report.num_clips_done,
            "short_clips": report.num_short_clips,
            "elapsed_seconds": round(report.elapsed_seconds, 3),
            "clips_per_second": report.clips_per_second and round(report.clips_per_second, 3),
            "ignored_files": report.ignored,
            "empty_sources": list(report.empty_sources),
            "unused_columns": {name: list(columns) for name, columns in report.unused_columns.items()},
            "limits": bottleneck_json(report.bottleneck),
            "precision": report.runtime and report.runtime.precision,
            "compiled": report.runtime and report.runtime.compiled,
            "in_process": report.in_process,
            "batch_size": report.batch_size,
            "confinement": confinement_json(report.confinement),
            "notices": list(report.notices),
        },
    }


def bottleneck_json(bottleneck: Bottleneck | None) -> dict[str, Any] | None:
    """Return what limited a run as JSON values; None where that is not known."""
    if bottleneck is None:
        return None
    return {
        "kind": bottleneck.kind,
        "text": bottleneck.text,
        "model_idle": round(bottleneck.model_idle, 3),
        "decoders_idle": round(bottleneck.decoders_idle, 3),
        "more_cpus": bottleneck.more_cpus,
    }


def infer_line(spec: InferSpec, report: InferReport) -> str:
    """Return the final summary of an inference run in one line: the table, then what this run did."""
    table, this_run = infer_text(spec, report).splitlines()[:2]
    parts = [table, this_run]
    if report.num_videos_done and report.num_videos_waiting:
        parts.append(f"{report.num_videos_waiting:,} waiting")
    if 2 * report.num_short_clips > report.num_clips_done:
        parts.append(f"{count(report.num_short_clips, 'clip')} longer than the video")
    if report.undone:
        parts.append(f"{len(report.undone):,} undone")
    if report.summary.num_bad_videos:
        parts.append(count(report.summary.num_bad_videos, "bad video"))
    return "; ".join(parts)


def plan_text(spec: InferSpec, plan: SourcePlan) -> str:
    """Return what a run would do."""
    lines = [
        f"{count(plan.num_videos_planned, 'video')} to do, {count(plan.num_clips, 'clip')}, "
        f"{duration_text(plan.seconds)} of video"
    ]
    lines += short_clips_lines(spec.short_clips, plan.num_short_clips, plan.num_clips)
    if plan.num_videos_done:
        lines.append(f"{count(plan.num_videos_done, 'video')} done already")
    lines += _waiting(spec, plan.num_videos_waiting)
    if plan.bad_videos:
        lines.append(f"{count(len(plan.bad_videos), 'bad video')}, each of which would get an error row")
        lines += [f"  {shown_name(name)}: {one_line(error)}" for name, error in plan.bad_videos[:_NUM_SHOWN]]
        if len(plan.bad_videos) > _NUM_SHOWN:
            lines.append(f"  and {len(plan.bad_videos) - _NUM_SHOWN:,} more")
    return "\n".join([*lines, *confinement_lines(plan.confinement), *left_out_lines(plan)])


def plan_json(plan: SourcePlan) -> dict[str, Any]:
    """Return what a run would do as JSON values."""
    return {
        "videos": plan.num_videos,
        "videos_done": plan.num_videos_done,
        "videos_waiting": plan.num_videos_waiting,
        "videos_to_do": plan.num_videos_planned,
        "clips": plan.num_clips,
        "short_clips": plan.num_short_clips,
        "seconds": round(plan.seconds, 3),
        "bad_videos": [{"video": name, "error": error} for name, error in plan.bad_videos],
        "ignored_files": plan.ignored,
        "empty_sources": list(plan.empty_sources),
        "unused_columns": {name: list(columns) for name, columns in plan.unused_columns.items()},
        "confinement": confinement_json(plan.confinement),
    }


def short_clips_lines(
    short_clips: ShortClips, num_short_clips: int, num_clips: int, *, has_fixed_length: bool = False
) -> list[str]:
    """Return how many clips are longer than their videos, and what becomes of them; nothing where none is.

    Args:
        short_clips: What becomes of them.
        num_short_clips: The clips, one for each video that is shorter than a clip, or for each time that it is seen.
        num_clips: All clips.
        has_fixed_length: Whether the model alone says how long clips are.
    """
    if not num_short_clips:
        return []
    verb, whose, them = ("is", "its video", "it") if num_short_clips == 1 else ("are", "their videos", "them")
    done = {"repeat_last": "the last frame is repeated", "loop": "the video starts over", "drop": ""}[short_clips]
    line = (
        f"{num_short_clips:,} of {count(num_clips, 'clip')} {verb} longer than {whose}: {done}; --short-clips drop "
        f"leaves {them} out"
    )
    return [line + ("" if has_fixed_length else ", --num-frames and --stride make clips shorter")]


def estimate_text(spec: InferSpec, estimate: Estimate) -> str:
    """Return what a run would take."""
    clips, seconds = estimate.clips, estimate.seconds
    done = f" ({estimate.num_videos_done:,} done already)" if estimate.num_videos_done else ""
    if not estimate.num_videos:
        return f"nothing to do: all of {count(estimate.num_videos_done, 'video')} done"
    number = f"{clips.best:,.0f} clips" if clips.is_exact else f"about {rounded(clips.best)} clips"
    between = "" if clips.is_exact else f" ({rounded(clips.low)} to {rounded(clips.high)})"
    machines = count(estimate.num_machines, "machine")
    speed = f" ({estimate.clips_per_second:.1f} clips/s)" if estimate.clips_per_second else ""
    lines = [
        f"{count(estimate.num_videos, 'video')} to do{done}: {number}{between}",
        f"about {duration_text(seconds.best)} on {machines}{speed}"
        + ("" if seconds.is_exact else f"; between {duration_text(seconds.low)} and {duration_text(seconds.high)}"),
    ]
    if estimate.num_machines > 1:
        lines.append(f"{seconds.best * estimate.num_machines / 3600:.1f} machine-hours")
    if estimate.bottleneck:
        lines.append(estimate.bottleneck.text)
    bad = f", {count(estimate.num_bad, 'bad video')} among them" if estimate.num_bad else ""
    lines.append(
        f"from {count(estimate.num_sampled, 'video')}{bad}; {count(estimate.num_clips_sampled, 'clip')} classified"
    )
    where = "" if clips.is_exact else "of the sample, "
    short = short_clips_lines(spec.short_clips, estimate.num_short_clips, estimate.num_clips_planned)
    lines += [where + line for line in short]
    lines += confinement_lines(estimate.confinement)
    return "\n".join(lines)


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """Return what a run would take as JSON values."""
    per_hour = estimate.num_machines / 3600
    return {
        "videos": estimate.num_videos,
        "videos_done": estimate.num_videos_done,
        "clips": {name: round(value) for name, value in estimate.clips._asdict().items()},
        "hours": {name: round(value / 3600, 4) for name, value in estimate.seconds._asdict().items()},
        "machine_hours": {name: round(value * per_hour, 4) for name, value in estimate.seconds._asdict().items()},
        "machines": estimate.num_machines,
        "clips_per_second": estimate.clips_per_second and round(estimate.clips_per_second, 3),
        "limits": bottleneck_json(estimate.bottleneck),
        "sample": {
            "videos": estimate.num_sampled,
            "bad_videos": estimate.num_bad,
            "clips": estimate.num_clips_sampled,
            "clips_planned": estimate.num_clips_planned,
            "short_clips": estimate.num_short_clips,
        },
        "confinement": confinement_json(estimate.confinement),
    }


def rounded(number: float) -> str:
    """Return a number with as many digits as an estimate is worth: two."""
    digits = max(0, len(str(round(number))) - 2)
    return f"{round(number, -digits):,.0f}"


def check_outcome(spec: InferSpec | ScanSpec, report: _Ended) -> None:
    """Check that a run did all it was to do, and that the share of bad videos is within the user's limit.

    Raises:
        StorageError: Videos are left to the next run.
        TooManyErrorsError: The share is larger.
    """
    if report.undone:
        name, reason = report.undone[0]
        others = f" and {len(report.undone) - 1:,} more" if len(report.undone) > 1 else ""
        raise StorageError(
            f"{shown_name(name)}{others} could not be read through no fault of the file: {reason}",
            "what was committed stays; the same command continues with these",
        )
    num_bad, num_videos = report.summary.num_bad_videos, report.summary.num_videos
    if num_bad / max(1, num_videos) > spec.max_error_fraction:
        raise TooManyErrorsError(
            f"{num_bad:,} of {num_videos:,} videos are bad, "
            f"more than --max-error-fraction {spec.max_error_fraction:g} allows",
            "the table is complete; its column error names what is wrong with each",
        )


def count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _waiting(spec: InferSpec, number: int) -> list[str]:
    """Return the line for videos that are left to the next run."""
    if not number:
        return []
    when = f"within the last {duration_text(spec.settle)}"
    return [f"{count(number, 'video')} written {when} {'is' if number == 1 else 'are'} left to the next run"]


def left_out_lines(report: _Listed) -> list[str]:
    """Return what was given or found and is not in the table."""
    lines = [f"no video in {source}" for source in report.empty_sources]
    lines += [
        f"columns of {name} that are not used: {', '.join(columns)}" for name, columns in report.unused_columns.items()
    ]
    if report.ignored:
        lines.append(f"ignored: {left_out_text(report.ignored, _NUM_SHOWN)}")
    return lines


def runs_text(reports: Sequence[dict[str, Any]]) -> str:
    """Return a table of runs, from their reports.

    Args:
        reports: What `vidcnn.reporting.run_report.read_reports` returned.
    """
    rows = []
    for report in reports:
        speed = report.get("clips_per_second")
        rows.append(
            (
                str(report["started"])[:19].replace("T", " "),
                duration_text(float(report.get("seconds") or 0.0)),
                f"{report.get('videos_done') or 0:,}",
                f"{report.get('clips') or 0:,}",
                "" if speed is None else f"{speed:.1f}",
                ended_text(report),
                str(report.get("limited_by") or "").partition(":")[0],
            )
        )
    heading = ("started (UTC)", "took", "videos", "clips", "clips/s", "ended", "limited by")
    return table_text(heading, rows, right=("videos", "clips", "clips/s"))


def ended_text(report: Mapping[str, Any]) -> str:
    """Return in a few words how a run ended."""
    words = {0: "done", 3: "too many bad videos", 75: "another run held it", 130: "interrupted"}
    code = report["exit_code"]
    if code in words:
        return words[code]
    message = str((report.get("error") or {}).get("message") or "")
    if len(message) > _MAX_REASON:
        message = message[:_MAX_REASON] + "..."
    return f"failed ({code})" + (f": {message}" if message else "")


def table_text(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: tuple[str, ...] = ()) -> str:
    """Return rows in columns, two spaces apart.

    Args:
        heading: Names of the columns.
        rows: Their cells.
        right: Columns that are set flush right.
    """
    rows = [tuple(map(one_line, row)) for row in rows]
    widths = [max(len(row[index]) for row in (heading, *rows)) for index in range(len(heading))]

    def line(cells: tuple[str, ...]) -> str:
        set_cells = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(heading, cells, widths, strict=True)
        )
        return "  ".join(set_cells).rstrip()

    return "\n".join([line(heading), "  ".join("─" * width for width in widths), *map(line, rows)])
