"""Counts of events, as they are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vidcnn.events.scores import VideoScores
from vidcnn.events.table import Placed


@dataclass
class LabelTally:
    """Counts of a class.

    Attributes:
        num_events: Its events.
        num_videos: Videos that have some.
        seconds: Their length, all together.
    """

    num_events: int = 0
    num_videos: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """Counts of all videos that were gone through.

    Attributes:
        num_videos: All of them.
        num_with_events: Those that have events.
        num_errors: Rows that are errors, of which nothing is known.
        labels: Counts of each class that has events.
        first: The first events.
        num_first: How many of them are kept.
    """

    num_first: int = 0
    num_videos: int = 0
    num_with_events: int = 0
    num_errors: int = 0
    labels: dict[str, LabelTally] = field(default_factory=dict)
    first: list[Placed] = field(default_factory=list)

    @property
    def num_events(self) -> int:
        """Events of all classes."""
        return sum(label.num_events for label in self.labels.values())

    @property
    def seconds(self) -> float:
        """Length of all events."""
        return sum(label.seconds for label in self.labels.values())

    def through(self, videos: Iterable[tuple[VideoScores, list[Placed]]]) -> Iterator[list[Placed]]:
        """Yield the events of each video, and count them on their way."""
        for video, events in videos:
            self.num_videos += 1
            self.num_with_events += bool(events)
            self.num_errors += video.num_errors
            for placed in events:
                label = self.labels.setdefault(placed.label, LabelTally())
                label.num_events += 1
                label.seconds += placed.event.end_seconds - placed.event.start_seconds
            for name in {placed.label for placed in events}:
                self.labels[name].num_videos += 1
            self.first += events[: max(0, self.num_first - len(self.first))]
            yield events
