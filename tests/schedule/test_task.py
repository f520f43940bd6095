from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commands import PROJECT
from tests.schedule.cases import NASTY, make_task
from vidcnn.schedule.task import Task


def test_the_command_runs_the_job_at_its_own_place_and_says_little() -> None:
    assert isinstance(make_task(), Task)
    assert make_task().command == ["/opt/vidcnn/bin/vidcnn", "run", "/srv/jobs/nightly.yaml", "--quiet"]


def test_settings_and_a_cluster_go_along() -> None:
    task = make_task(settings=("limit=3", "out=a b"), cluster="cluster.yaml", up=True)
    assert task.arguments("job.yaml") == [
        "run", "job.yaml", "--set", "limit=3", "--set", "out=a b", "--cluster", "cluster.yaml", "--up", "--quiet",
    ]  # fmt: skip
    assert "--up" not in make_task(up=True).command


def test_the_arguments_are_those_that_the_command_line_takes(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: no-such-folder\nout: preds\nmodel: simple3d\nweights: random\n")
    for text in NASTY:
        task = make_task(program=(sys.executable, "-m", "vidcnn"), job=str(job), settings=(f"label={text}",))
        assert task.command[-2] == f"label={text}"
    task = make_task(program=(sys.executable, "-m", "vidcnn"), job=str(job), settings=("limit=3",))
    done = subprocess.run(task.command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert (done.returncode, "'no-such-folder' does not exist" in done.stderr) == (1, True), done.stderr
