from __future__ import annotations

import pyarrow as pa
import pytest

from tests.events.cases import rows
from vidcnn.events import table as tables
from vidcnn.events.intervals import Event, Rules
from vidcnn.events.rules import RuleSet
from vidcnn.events.scores import scores_of_videos
from vidcnn.events.table import SCHEMA, Placed, events_of, tables_of


def test_events_of_a_video_come_by_time_each_by_the_rules_of_its_class() -> None:
    videos = scores_of_videos([rows("a", [0.8, 0.8, 0.1, 0.1, 0.1, 0.8])])
    rules = RuleSet(Rules(0.5, 0.5), {"normal": Rules(0.95, 0.95)})
    ((_, events),) = events_of(videos, rules)
    assert [(e.label, e.event.start_seconds, e.event.end_seconds) for e in events] == [
        ("fight", 0, 2),
        ("fight", 6, 7),
    ]


@pytest.mark.parametrize("number", [0, 3, 4, 9])
def test_events_become_tables_of_bounded_length(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BATCH_EVENTS", 4)
    events = [Placed("a", "fight", Event(n, n + 1.0, 0.5, 0.75, n + 0.5)) for n in range(number)]
    found = list(tables_of(events))
    assert all(table.schema == SCHEMA and table.num_rows <= 4 for table in found)
    assert pa.concat_tables(found)["start_seconds"].to_pylist() == list(range(number))
