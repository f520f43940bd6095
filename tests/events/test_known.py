from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidcnn.errors import DataError
from vidcnn.events.evaluation import Known
from vidcnn.events.known import Truth, read_found, read_known, renamed

EVENTS = (Known("a.mp4", "fight", 1.0, 2.5), Known("a.mp4", "run", 3.0, 4.0))
DATABASE = {
    "version": "1.3",
    "database": {
        "a.mp4": {
            "subset": "validation",
            "annotations": [
                {"label": "fight", "segment": [1, 2.5]},
                {"label": "run", "segment": [3.0, 4]},
            ],
        },
        "b.mp4": {"subset": "training", "annotations": []},
    },
}


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "path,label,start_seconds,end_seconds,note\na.mp4,fight,1,2.5,x\na.mp4,run,3,4,\nb.mp4,,,\n"
    )
    (tmp_path / "t.tsv").write_text(
        "Video\tLabel\tStart Seconds\tend_seconds\na.mp4\tfight\t1\t2.5\na.mp4\trun\t3\t4\nb.mp4\t\t\t\n"
    )
    (tmp_path / "t.json").write_text(json.dumps(DATABASE))
    columns = {
        "video": ["a.mp4", "a.mp4", "b.mp4"], "label": ["fight", "run", None],
        "start_seconds": [1, 3, None], "end_seconds": [2.5, 4.0, None],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for path in tmp_path.iterdir():
        assert read_known(path) == Truth(EVENTS, frozenset({"a.mp4", "b.mp4"})), path.name
    assert read_known(tmp_path / "t.json", "validation").videos == {"a.mp4"}
    with pytest.raises(DataError, match="has no event of the subset training"):
        read_known(tmp_path / "t.json", "training")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", "video,label,start_seconds\na,b,1\n", "there is no 'end_seconds'"),
        ("t.csv", "video,label,start_seconds,end_seconds\na,b,2,1\n", "an event from 2 to 1"),
        ("t.csv", "video,label,start_seconds,end_seconds\na,b,x,1\n", "could not convert"),
        ("t.csv", 'video,label,start_seconds,end_seconds\na,"b', "unexpected end"),
        ("t.csv", "", "has no event"),
        ("t.json", "{", "no events that can be read"),
        ("t.json", "[]", "no events that can be read"),
        ("t.json", '{"database": {"a": {"annotations": [{"label": "x", "segment": [0, Infinity]}]}}}', "from 0 to inf"),
        ("t.json", "[" * 100_000, "no events that can be read"),
        ("t.parquet", "PAR1", "no events that can be read"),
    ],
)
def test_what_is_not_of_these_forms_is_told(name: str, content: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason):
        read_known(tmp_path / name)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: no such file"):
        read_found(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (["a", "b"], ["a.mp4", "c.mp4"], {"a": "a.mp4"}),
        (["v_1"], ["x/v_1.mkv"], {"v_1": "x/v_1.mkv"}),
        (["x/a.avi"], ["x/a.mp4", "y/a.mp4"], {"x/a.avi": "x/a.mp4"}),
        (["a"], ["x/a.mp4", "y/a.mp4"], {}),  # either may be meant
        (["a", "b.mp4"], ["a.mp4", "b.mp4"], {}),  # they are called alike
        (["q"], ["a.mp4"], {}),
    ],
)
def test_names_that_differ_by_extension_or_folder_are_found(
    names: list[str], others: list[str], expected: dict[str, str]
) -> None:
    assert renamed(names, others) == expected
    truth = Truth(tuple(Known(name, "x", 0, 1) for name in names), frozenset(names)).under_names(others)
    assert truth.videos == {expected.get(name, name) for name in names}
    assert {event.video for event in truth.events} == truth.videos
