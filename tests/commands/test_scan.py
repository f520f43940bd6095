"""`vidcnn scan` and a job spec of it do the same, and end with the exit codes of all commands."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.commands import command, environment, vidcnn, wait_until
from tests.scans import write_scenes
from vidcnn.sandbox import seccomp


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    write_scenes(folder / "a.mp4", ("moving", 2), ("black", 3))
    (folder / "text.mp4").write_text("no video")
    return folder


def test_the_summary_is_read_at_a_glance(videos: Path, tmp_path: Path) -> None:
    done = vidcnn("scan", videos, "--out", "scan.parquet", cwd=tmp_path, extra={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("scan.parquet: 2 videos, 5 s of video")
    assert "  readable         1 of 2" in lines
    assert "  black            1, 3 s, such as a.mp4" in lines
    assert "1 bad video:" in lines
    assert all(len(line) <= 80 for line in lines)
    done = vidcnn("scan", videos, "--out", "scan.parquet", "--max-error-fraction", "0.2", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (3, 2)
    assert "nothing to do, all of 2 videos done; 1 bad video" in done.stdout


def test_a_job_spec_does_the_same(videos: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"command: scan\nsource: {videos}\nout: {tmp_path}/scan.parquet\nquick: true\n")
    done = vidcnn("run", job, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["videos"], values["readable"], values["run"]["videos_done"]) == (2, 1, 2)
    (strength,) = values["run"]["confinement"].values()
    assert strength["seccomp"] is seccomp.is_there()
    done = vidcnn("scan", videos, "--out", tmp_path / "scan.parquet", "--quick", "--json")
    assert json.loads(done.stdout)["run"]["videos_done"] == 0
    assert vidcnn("run", job, "--dry-run").returncode == 2


@pytest.mark.slow
def test_an_interrupted_scan_keeps_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(60):
        write_scenes(folder / f"{index}.mp4", ("moving", 4), seed=index)
    arguments = command("scan", folder, "--out", tmp_path / "scan.parquet", "--decoders", "1")
    process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wait_until(lambda: (tmp_path / ".scan.parquet.vidcnn").exists(), of=process)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the same command continues" in errors
    assert vidcnn("scan", folder, "--out", tmp_path / "scan.parquet").returncode == 0
