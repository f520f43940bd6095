"""The page of a table of predictions: what it comes to as a whole, and what was seen when in each video."""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vidcnn.errors import OutputError
from vidcnn.pages.counting import COLUMNS, NUM_BINS, Counts, count_rows
from vidcnn.pages.figures import histogram_svg
from vidcnn.pages.html import render
from vidcnn.pages.packing import packed_cells, packed_times
from vidcnn.pages.pictures import Pictured, best_clips, find_videos, links_of, take_pictures
from vidcnn.pages.timelines import Timelines, read_timelines
from vidcnn.pages.truth import Truth, check_classes, score_rows
from vidcnn.pages.truth_section import truth_values
from vidcnn.predictions.dataset import open_dataset, row_batches
from vidcnn.reporting.progress import duration_text, iso_time
from vidcnn.reporting.run_report import read_reports
from vidcnn.reporting.summaries import ended_text
from vidcnn.storage.uris import public_location
from vidcnn.version import __version__

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

MAX_CELLS = 1_500_000
"""Cells of all timelines: 6 MB of the page."""
MAX_CELLS_OF_ONE = 2_000
_SHOWN = ("clip_num_frames", "clip_stride", "clip_fps", "step", "num_clips", "short_clips", "precision")
"""Settings that are shown of a table."""
_NUM_RUNS = 10
_NUM_REASONS = 3
_NUM_CLASSES = 1000


def predictions_page(
    out: str,
    *,
    max_videos: int,
    sources: Sequence[str] = (),
    num_pictures: int = 0,
    truth: Truth | None = None,
) -> tuple[bytes, Counts]:
    """Make the page of a table.

    Args:
        out: The table, as ``--out`` named it.
        max_videos: How many videos to list, the first by name; counts are of all.
        sources: Where the videos are, as `vidcnn infer` was told; nothing: no pictures and no links.
        num_pictures: How many of the best clips to show with a picture, at most.
        truth: What the videos really are, if that is known.

    Returns:
        The page, and what the table comes to.

    Raises:
        OutputError: There is no table, or it cannot be read.
        DataError: The truth is not that of this table.
        SourceError: A source does not exist, or cannot be listed.
    """
    dataset = open_dataset(out)
    counts = count_rows(row_batches(dataset, COLUMNS), max_listed=max_videos)
    timelines = read_timelines(
        row_batches(dataset, COLUMNS, _listed_only(counts)),
        counts.listed,
        counts.labels,
        max_cells=MAX_CELLS,
        max_cells_of_one=MAX_CELLS_OF_ONE,
    )
    order = sorted(range(len(counts.labels)), key=lambda index: (-counts.label_clips[index], counts.labels[index]))
    if truth is not None:
        check_classes(truth, _settings(dataset)[1].get("labels") or counts.labels)
    score = None if truth is None else score_rows(row_batches(dataset, COLUMNS), truth, counts.labels)
    mistaken = [clip.video for clip in score.worst] if score is not None else []
    videos = find_videos(sources, [*timelines.videos, *mistaken])
    best = take_pictures(best_clips(timelines, counts.labels, order, num_most=num_pictures), videos) if sources else []
    values = {
        "best": best,
        "truth": None if score is None or truth is None else truth_values(score, truth, videos),
        "num_without": sum(one.image is None for one in best),
        "why_without": _reasons(best),
        "has_sources": bool(sources),
        "name": posixpath.basename(public_location(out).rstrip("/")) or out,
        "version": __version__,
        "written": iso_time(time.time())[:16].replace("T", " "),
        "about": _about(dataset),
        "counts": counts,
        "num_listed": len(counts.listed),
        "classes": [_class_values(counts, index) for index in order[:_NUM_CLASSES]],
        "num_more_classes": max(0, len(order) - _NUM_CLASSES),
        "histogram": counts.histogram.sum(axis=0).tolist(),
        "histogram_svg": _histogram(counts),
        "num_bins": NUM_BINS,
        "errors": sorted(counts.errors.items(), key=lambda item: (-item[1].num_rows, item[0])),
        "runs": _runs(out),
    }
    data = _data(counts, timelines, order) | links_of(timelines.videos, videos)
    return render("predictions.html", values, data, script="predictions.js"), counts


def _listed_only(counts: Counts) -> Any:
    import pyarrow.compute as pc

    last = counts.last_listed
    return None if last is None else pc.field("video") <= last


def _settings(dataset: Dataset) -> tuple[dict[bytes, bytes], dict[str, Any]]:
    """Return what the first file of a table records about itself, and the settings in it."""
    fragment = next(iter(dataset.get_fragments()), None)
    try:
        recorded = (fragment.metadata.metadata or {}) if fragment is not None else {}
        settings = json.loads(recorded.get(b"vidcnn.settings", b"{}"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"what the table records about itself cannot be read: {error}") from error
    return recorded, settings if isinstance(settings, dict) else {}


def _about(dataset: Dataset) -> list[tuple[str, str]]:
    """Return what a table records about itself: the model, and how clips were taken."""
    recorded, settings = _settings(dataset)
    found = [
        ("model", recorded.get(b"vidcnn.model", b"").decode(errors="replace")),
        ("weights", recorded.get(b"vidcnn.weights_sha256", b"").decode(errors="replace")[:12]),
    ]
    shown = {name.removeprefix("clip_").replace("_", " "): settings.get(name) for name in _SHOWN}
    found += [(name, str(value)) for name, value in shown.items() if value is not None]
    return [(name, value) for name, value in found if value]


def _class_values(counts: Counts, index: int) -> dict[str, Any]:
    number = counts.label_clips[index]
    return {
        "label": counts.labels[index],
        "clips": number,
        "share": number / max(1, counts.num_predictions),
        "score": counts.label_scores[index] / max(1, number),
    }


def _reasons(pictured: Sequence[Pictured]) -> list[str]:
    """Return the reasons why clips have no picture, each once, the first few."""
    return list(dict.fromkeys(one.missing for one in pictured if one.image is None))[:_NUM_REASONS]


def _histogram(counts: Counts) -> Any:
    bins = counts.histogram.sum(axis=0)
    high = int(bins[NUM_BINS * 9 // 10 :].sum())
    text = f"Histogram of the scores of {counts.num_predictions:,} predictions; {high:,} are 0.9 or more"
    return histogram_svg(bins.tolist(), text=text)


def _runs(out: str) -> list[dict[str, Any]]:
    """Return what the last runs of the output report, the newest first; nothing where none left a report."""
    try:
        reports = read_reports(out)
    except OutputError:
        return []
    return [
        {
            "started": str(report["started"])[:19].replace("T", " "),
            "took": duration_text(float(report.get("seconds") or 0.0)),
            "videos": report.get("videos_done") or 0,
            "clips": report.get("clips") or 0,
            "speed": report.get("clips_per_second"),
            "ended": ended_text(report),
            "limited_by": str(report.get("limited_by") or ""),
        }
        for report in reversed(reports[-_NUM_RUNS:])
    ]


def _data(counts: Counts, timelines: Timelines, order: Sequence[int]) -> dict[str, Any]:
    """Return what the script of the page reads; labels are in the order of their clips, the most first."""
    rank = np.zeros(len(order), np.int64)
    rank[np.asarray(order, np.int64)] = np.arange(len(order))
    if len(rank):
        is_label = timelines.labels >= 0
        timelines.labels[is_label] = rank[timelines.labels[is_label]]
    videos = []
    for index, name in enumerate(timelines.videos):
        first, end = timelines.first_cell[index], timelines.first_cell[index + 1]
        error = timelines.first_errors.get(index)
        videos.append(
            [
                name,
                int(end - first),
                int(timelines.clips_per_cell[index]),
                int(timelines.num_predictions[index]),
                round(float(timelines.score_sums[index]), 3),
                packed_times(timelines.starts[first:end], timelines.ends[first:end]),
                int(timelines.num_errors[index]),
                *(error or ()),
            ]
        )
    return {
        "labels": [counts.labels[index] for index in order],
        "kinds": sorted(counts.errors),
        "videos": videos,
        **packed_cells(timelines),
    }
