from __future__ import annotations

from tests.events.cases import rows
from vidcnn.events.intervals import Rules
from vidcnn.events.rules import RuleSet
from vidcnn.events.scores import scores_of_videos
from vidcnn.events.table import events_of
from vidcnn.events.tally import LabelTally, Tally
from vidcnn.predictions.rows import error_rows


def test_what_goes_through_is_counted() -> None:
    pieces = [
        rows("a", [0.9, 0.1, 0.1, 0.9]),
        error_rows(rows("a", [0]).schema, "b", kind="unreadable", message="no video"),
        rows("c", [0.3]),
    ]
    tally = Tally(num_first=1)
    found = list(tally.through(events_of(scores_of_videos(pieces, ["fight"]), RuleSet(Rules(0.8, 0.8)))))
    assert [len(events) for events in found] == [2, 0, 0]
    assert (tally.num_videos, tally.num_with_events, tally.num_errors, tally.num_events) == (3, 1, 1, 2)
    # Of the first event the second half has another clip over it, which is lower.
    assert tally.labels == {"fight": LabelTally(2, 1, 2.0)}
    assert tally.seconds == 2.0
    assert tally.first == found[0][:1]
