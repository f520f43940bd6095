from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.nasty_names import nasty_names
from vidcnn.choices import EventFormat
from vidcnn.errors import OutputError, UsageError
from vidcnn.events.intervals import Event
from vidcnn.events.known import read_found, read_known
from vidcnn.events.table import SCHEMA, Placed
from vidcnn.events.writing import format_of, path_of, write_events
from vidcnn.sources.keys import video_text

VIDEOS = [
    [
        Placed("cam1/a.mp4", "fight", Event(0.5, 2.0, 0.5, 0.75, 1.0)),
        Placed("cam1/a.mp4", "=1+1", Event(3.0, 4.0, 1.0, 1.0, 3.5)),
    ],
    [],
    [Placed("-b.mp4", "'fight", Event(10.0, 11.0, 0.25, 0.25, 10.5))],
]  # fmt: skip
ALL = [placed for events in VIDEOS for placed in events]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_what_is_written_is_read_again(kind: EventFormat, tmp_path: Path) -> None:
    out = tmp_path / "new" / f"events.{kind}"
    assert write_events(str(out), kind, VIDEOS) == 1
    assert [
        (one.video, one.label, one.start_seconds, one.end_seconds, one.score) for one in read_found(out)
    ] == [(p.video, p.label, p.event.start_seconds, p.event.end_seconds, p.event.score) for p in ALL]  # fmt: skip
    assert len(read_known(out).events) == 3
    write_events(str(out), kind, [])
    assert read_found(out) == []
    assert os.listdir(out.parent) == [out.name]


def test_a_parquet_file_has_the_columns_of_the_table(tmp_path: Path) -> None:
    write_events(str(tmp_path / "e.parquet"), "parquet", VIDEOS)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.schema == SCHEMA
    assert table["peak_seconds"].to_pylist() == [1.0, 3.5, 10.5]


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path: Path) -> None:
    write_events(str(tmp_path / "e.csv"), "csv", VIDEOS)
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == SCHEMA.names
    assert [row[:2] for row in rows[1:]] == [["cam1/a.mp4", "fight"], ["cam1/a.mp4", "'=1+1"], ["'-b.mp4", "''fight"]]


def test_json_is_what_the_programs_of_the_challenge_take(tmp_path: Path) -> None:
    write_events(str(tmp_path / "e.json"), "json", VIDEOS)
    content = json.loads((tmp_path / "e.json").read_text())
    assert set(content) == {"version", "results", "external_data"}
    assert content["results"]["cam1/a.mp4"][0] == {"label": "fight", "score": 0.5, "segment": [0.5, 2.0]}
    assert list(content["results"]) == ["cam1/a.mp4", "-b.mp4"]


def test_subtitles_are_a_file_for_each_video_that_has_events(tmp_path: Path) -> None:
    assert write_events(str(tmp_path / "subs"), "srt", VIDEOS) == 2
    found = sorted(str(path.relative_to(tmp_path / "subs")) for path in tmp_path.rglob("*.srt"))
    assert found == ["-b.mp4.srt", "cam1/a.mp4.srt"]
    assert (tmp_path / "subs/-b.mp4.srt").read_text() == "1\n00:00:10,000 --> 00:00:11,000\n'fight 25%\n"


def test_subtitles_stay_in_their_folder_whatever_videos_are_called(tmp_path: Path) -> None:
    names = [*map(os.fsdecode, nasty_names()), "../../out", "/etc/x", "s3://bucket/../key", "..", "/", "a" * 255]
    event = Event(0, 1, 0.5, 0.5, 0.5)
    count = write_events(str(tmp_path / "subs"), "vtt", [[Placed(video_text(name), "x", event)] for name in names])
    assert count == len(names)
    assert os.listdir(tmp_path) == ["subs"]
    assert path_of("a" * 255, ".srt") != path_of("a" * 254, ".srt")


@pytest.mark.parametrize(
    ("out", "given", "expected"),
    [
        ("a.parquet", None, "parquet"), ("a.CSV", None, "csv"), ("x/a.json", None, "json"), ("subs", "srt", "srt"),
        ("a.txt", "csv", "csv"),
    ],
)  # fmt: skip
def test_the_name_tells_the_format(out: str, given: EventFormat | None, expected: str) -> None:
    assert format_of(out, given) == expected


@pytest.mark.parametrize("out", ["events", "events.txt", "a.srt", "s3://bucket/a.parquet"])
def test_what_tells_no_format_is_refused(out: str) -> None:
    with pytest.raises(UsageError, match=r"is not known|to this machine"):
        format_of(out, None)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*: file exists"):
        write_events(str(tmp_path / "file" / "e.csv"), "csv", VIDEOS)
