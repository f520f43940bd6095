from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.commands import vidcnn
from tests.events.cases import write_table

FIGHT = [0.1] * 20 + [0.9] * 10 + [0.1] * 20


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("show") / "preds"
    return write_table(out, {"bad.mp4": None, "cam/a.mp4": FIGHT, "cam/b.mp4": [0.1] * 5})


def shown(*arguments: str | Path) -> str:
    done = vidcnn("show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_first_look_says_what_is_in_it(table: Path) -> None:
    lines = shown(table).splitlines()
    assert lines[0] == f"{table}: 3 videos, 55 predictions, 1 error row"
    assert [line.split()[:5] for line in lines if line.startswith(("normal", "fight"))] == [
        ["normal", "45", "82%", "2", "0.90"], ["fight", "10", "18%", "1", "0.90"],
    ]  # fmt: skip
    assert lines[-1].split() == ["5", "normal", "100%", "0.90", "cam/b.mp4"]
    found = json.loads(shown(table, "--json"))
    assert (found["videos"], found["by_error"][0]["error_kind"], len(found["first_videos"])) == (3, "unreadable", 3)


def test_a_condition_leaves_rows_out(table: Path) -> None:
    found = json.loads(shown(table, "--json", "--where", 'label == "fight" and start_seconds >= 25'))
    assert (found["predictions"], found["videos"], found["error_rows"]) == (5, 1, 0)
    assert [one["video"] for one in json.loads(shown(table, "--json", "--by", "videos"))["by_video"]] == [
        "bad.mp4", "cam/a.mp4", "cam/b.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize(("by", "num"), [(None, 3), ("videos", 3), ("labels", 2), ("errors", 1)])
def test_all_of_it_as_csv(table: Path, by: str | None, num: int) -> None:
    rows = list(csv.DictReader(io.StringIO(shown(table, "--csv", *([] if by is None else ["--by", by])))))
    assert len(rows) == num
    assert None not in rows[0].values()


def test_a_video_over_time(table: Path) -> None:
    head, fight, normal, times = shown(table, "cam/a.mp4").splitlines()
    assert head == "cam/a.mp4: 50 clips"
    assert (normal.split()[0], fight.split()[0]) == ("normal", "fight")
    assert "▇" in fight[18 + 25 : 18 + 37]
    assert "▇" not in fight[:40]
    assert times.split() == ["0:00:00.0", "0:00:25.5", "0:00:51.0"]
    assert shown(table, "bad.mp4").splitlines()[0] == "bad.mp4: 0 clips, 1 error row: no video"
    assert len(json.loads(shown(table, "cam/b.mp4", "--json"))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cam/c.mp4"], "did you mean cam/"),
        (["cam/a.mp4", "--by", "labels"], "--by is for a whole table"),
        (["--csv", "--json"], "exclude each other"),
        (["--where", "lable == 1"], "did you mean label?"),
    ],
)
def test_what_does_not_fit_is_told(table: Path, arguments: list[str], message: str) -> None:
    done = vidcnn("show", table, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
