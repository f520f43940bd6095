"""The table of events: one row for each, sorted by video, time and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from vidcnn.events.intervals import Event, find_events
from vidcnn.events.rules import RuleSet
from vidcnn.events.scores import VideoScores

SCHEMA = pa.schema(
    [
        pa.field("video", pa.string()),
        pa.field("label", pa.string()),
        pa.field("start_seconds", pa.float64()),
        pa.field("end_seconds", pa.float64()),
        pa.field("score", pa.float32()),
        pa.field("peak_score", pa.float32()),
        pa.field("peak_seconds", pa.float64()),
    ]
)
_BATCH_EVENTS = 64 * 1024


@dataclass(frozen=True)
class Placed:
    """An event, with its video and its class."""

    video: str
    label: str
    event: Event


def events_of(videos: Iterable[VideoScores], rules: RuleSet) -> Iterator[tuple[VideoScores, list[Placed]]]:
    """Yield each video with its events, by time.

    Args:
        videos: Their scores.
        rules: When something counts as happening.
    """
    for video in videos:
        found = [
            Placed(video.video, label, event)
            for label, scores in video.scores.items()
            for event in find_events(video.start_seconds, video.end_seconds, scores, rules.of(label))
        ]
        found.sort(key=lambda placed: (placed.event.start_seconds, placed.event.end_seconds, placed.label))
        yield video, found


def tables_of(events: Iterable[Placed]) -> Iterator[pa.Table]:
    """Yield events as tables with the columns of `SCHEMA`, of bounded length; at least one."""
    waiting = iter(events)
    while True:
        rows = [
            (p.video, p.label, p.event.start_seconds, p.event.end_seconds, p.event.score, p.event.peak,
             p.event.peak_seconds)
            for p in islice(waiting, _BATCH_EVENTS)
        ]  # fmt: skip
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
        yield pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
        if len(rows) < _BATCH_EVENTS:
            return
