from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import Call
from tests.embeddings.cases import random_videos, video_rows, write_table
from tests.videos import write_video


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_table(tmp_path / "preds.parquet", random_videos(0))


def test_the_most_similar_clips_are_printed_as_text_json_or_csv(call: Call, table: Path) -> None:
    shown = call("similar", "v0.mp4#0", "--num", "4")
    assert shown.code == 0, shown.stderr
    assert shown.stdout.startswith("like v0.mp4#0 (0.0 s, run 0.50):\ncosine ")
    assert len(shown.stdout.splitlines()) == 6
    found = json.loads(call("similar", "v0.mp4@0.1", "--num", "4", "--json", "--in", table).stdout)
    assert (found["clip"]["video"], found["clip"]["clip"]) == ("v0.mp4", 0)
    names = [f"{clip['video']}#{clip['clip']}" for clip in found["similar"]]
    assert [line.split()[-1] for line in shown.stdout.splitlines()[2:]] == names
    rows = list(csv.DictReader(io.StringIO(call("similar", "v0.mp4#0", "--num", "4", "--csv").stdout)))
    assert [f"{row['video']}#{row['clip']}" for row in rows] == names


def test_a_clip_of_another_table_is_looked_for(call: Call, table: Path, tmp_path: Path) -> None:
    values = np.zeros((1, 8), np.float16)
    values[0, 3] = 2
    write_table(tmp_path / "other", {"x.mp4": video_rows("x.mp4", values)})
    found = json.loads(call("similar", "x.mp4#0", "--of", "other", "--num", "1000", "--json").stdout)
    assert found["clip"]["video"] == "x.mp4"
    assert {clip["video"] for clip in found["similar"]} == {f"v{number}.mp4" for number in range(6)}
    write_table(tmp_path / "foreign", {"x.mp4": video_rows("x.mp4", values)}, backbone_sha256="ef" * 32)
    refused = call("similar", "x.mp4#0", "--of", "foreign")
    assert (refused.code, refused.stdout) == (2, "")
    assert "the two tables are of other backbones" in refused.stderr


def test_clusters_are_printed(call: Call, table: Path) -> None:
    shown = call("similar", "--clusters", "3")
    assert shown.code == 0, shown.stderr
    assert shown.stdout.startswith("3 clusters of ")
    found = json.loads(call("similar", "--clusters", "3", "--json").stdout)
    assert len(found["clusters"]) == 3
    assert call("similar", "--clusters", "3", "--csv").stdout.startswith("cluster,cluster_clips,video,clip,")


def test_a_page_has_the_pictures_of_what_was_found(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("videos").mkdir()
    values = np.random.default_rng(0).normal(size=(2, 4))
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "videos" / name, 16, rate=8)
    names = ("a.mp4", "b.mp4", "gone.mp4", "out.mp4")
    (tmp_path / "outside.mp4").write_bytes((tmp_path / "videos" / "a.mp4").read_bytes())
    (tmp_path / "videos" / "out.mp4").symlink_to(tmp_path / "outside.mp4")
    write_table(tmp_path / "preds.parquet", {name: video_rows(name, values) for name in names})
    shown = call("similar", "a.mp4#0", "--out", "page.html", "--source", "videos", "--json")
    assert shown.code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["page"] == "page.html"
    page = Path("page.html").read_text()
    assert len(found["similar"]) == 7
    assert page.count("<li>") == 8
    assert page.count("data:image/jpeg;base64,") == 4
    assert page.count("no picture") == 4
    assert "Clips like a.mp4#0" in page
    assert call("similar", "a.mp4#0", "--out", "page.html", "--source", "videos", "--follow-links").code == 0
    assert Path("page.html").read_text().count("no picture") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give a CLIP, or --clusters"),
        (["v0.mp4#0", "--clusters", "3"], 2, "give a CLIP, or --clusters"),
        (["v0.mp4"], 2, "'v0.mp4' names no clip"),
        (["nothing.mp4#0"], 1, "the table has no video 'nothing.mp4'"),
        (["v0.mp4#0", "--in", "absent.parquet"], 1, "there is no table 'absent.parquet'"),
        (["--clusters", "3", "--of", "other"], 2, "--of names the table of a CLIP"),
        (["v0.mp4#0", "--json", "--csv"], 2, "--csv and --json exclude each other"),
        (["v0.mp4#0", "--out", "page.txt", "--source", "."], 2, "--out (page.txt) must end in .html"),
        (["v0.mp4#0", "--out", "page.html"], 2, "--out needs the videos: name them with --source"),
        (["v0.mp4#0", "--source", "."], 2, "--source is for --out"),
        (["--clusters", "999"], 2, "999 clusters of"),
    ],
)
def test_what_cannot_be_done_is_told(call: Call, table: Path, arguments: list[str], code: int, message: str) -> None:
    ended = call("similar", *arguments)
    assert (ended.code, ended.stdout) == (code, "")
    assert message in ended.stderr
