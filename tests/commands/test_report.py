from __future__ import annotations

import json
from pathlib import Path

from tests.commands import vidcnn
from tests.pages.tables import write_table
from tests.pages.test_training_page import make_run
from tests.videos import write_video


def test_a_page_is_made_of_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "preds.parquet", {"a.mp4": [("run", 0.5), None], "b.mp4": [("run", 0.9)]})
    done = vidcnn("report", "preds.parquet", "--max-videos", "1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    expected = "report.html: 2 videos, 2 predictions; 1 videos are listed, --max-videos lists more (0.0 MB)\n"
    assert done.stdout == expected
    assert '<h1 dir="auto">preds.parquet</h1>' in (tmp_path / "report.html").read_text()
    done = vidcnn("report", "preds.parquet", "--out", "other.html", "--json", cwd=tmp_path)
    values = json.loads(done.stdout)
    size = (tmp_path / "other.html").stat().st_size
    assert values == {"out": "other.html", "videos": 2, "listed": 2, "bytes": size}


def test_what_cannot_be_done_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    done = vidcnn("report", "none.parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert "the table 'none.parquet' does not exist" in done.stderr
    write_table(tmp_path / "preds.parquet", {"a.mp4": [("run", 0.5)]})
    before = (tmp_path / "preds.parquet").read_bytes()
    done = vidcnn("report", "preds.parquet", "--out", "preds.parquet", cwd=tmp_path)
    assert done.returncode == 2
    assert "must end in .html" in done.stderr
    assert (tmp_path / "preds.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["preds.parquet"]


def test_a_page_is_made_of_a_training_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    done = vidcnn("report", "run", "--out", "run.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "run.html: 100 steps of training (0.0 MB)\n"
    assert "A training run" in (tmp_path / "run.html").read_text()
    done = vidcnn("report", "run", "--truth", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "this is a training run" in done.stderr


def test_pictures_and_truth_are_those_of_the_videos(tmp_path: Path) -> None:
    for name in ("videos/cat/a.mp4", "videos/dog/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        write_video(tmp_path / name, 60)
    write_table(tmp_path / "p.parquet", {"cat/a.mp4": [("cat", 0.9)], "dog/b.mp4": [("cat", 0.8)]})
    done = vidcnn("report", "p.parquet", "--source", "videos", "--truth", "videos", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 3  # two of the best clips, and one mistake
    assert "<dt>clips right</dt><dd>50.0&nbsp;%</dd>" in text
    assert f"{(tmp_path / 'videos/dog/b.mp4').as_uri()}#t=0.0" in text
    done = vidcnn("report", "p.parquet", "--truth-root", "videos", cwd=tmp_path)
    assert done.returncode == 2
