from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import vidcnn
from tests.commands.conftest import Call

JOBS = {
    "infer": "command: infer\nsource: [videos]\nlimit: 5\n",
    "train": "command: train\ndata: videos\nout: run\n",
    "evaluate": "command: evaluate\ndata: videos\n",
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, Any]]]:
    """What is run; nothing is."""
    calls: list[tuple[str, Any, dict[str, Any]]] = []
    for command, place in (("infer", "run"), ("train", "train"), ("evaluate", "evaluate")):
        monkeypatch.setattr(
            f"vidcnn.commands.{place}.run_{command}",
            lambda spec, command=command, **options: calls.append((command, spec, options)),
        )
    return calls


@pytest.mark.parametrize("command", JOBS)
def test_a_job_is_run_by_the_command_that_it_names(
    call: Call, ran: list[tuple[str, Any, dict[str, Any]]], tmp_path: Path, command: str
) -> None:
    (tmp_path / "job.yaml").write_text(JOBS[command])
    assert call("run", tmp_path / "job.yaml", "--quiet") == (0, "", "")
    ((name, _, options),) = ran
    assert (name, options["as_json"], options["quiet"]) == (command, False, True)


def test_values_may_be_set_in_place_of_the_jobs(
    call: Call, ran: list[tuple[str, Any, dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(JOBS["infer"])
    assert call("run", tmp_path / "job.yaml", "--set", "limit=7", "--set", "out=p.parquet", "--dry-run").code == 0
    ((_, spec, options),) = ran
    assert (spec.limit, spec.out, options["trial"]) == (7, "p.parquet", "--dry-run")


@pytest.mark.parametrize("trial", ["--dry-run", "--estimate"])
def test_only_jobs_of_infer_can_be_tried(
    call: Call, ran: list[tuple[str, Any, dict[str, Any]]], tmp_path: Path, trial: str
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOBS["train"])
    ended = call("run", job, trial)
    assert (ended.code, ran) == (2, [])
    assert ended.stderr == f"vidcnn: {trial} is for jobs of infer, and '{job}' is another\n        leave it out\n"


def test_a_job_that_cannot_be_read_is_a_failure_that_is_told(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: [videos]\nnothing: 1\n")
    told = f'echo "$VIDCNN_EXIT_CODE: $VIDCNN_ERROR" > {tmp_path}/told'
    done = vidcnn("run", job, "--on-failure", told)
    assert done.returncode == 2
    assert (tmp_path / "told").read_text().startswith("2: ")
    (tmp_path / "told").unlink()
    done = vidcnn("run", job, extra={"VIDCNN_ON_FAILURE": told})
    assert (done.returncode, (tmp_path / "told").exists()) == (2, True)


def test_the_end_of_a_job_is_told_once_with_what_it_was(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: [nowhere]\nout: preds.parquet\n")
    done = vidcnn("run", job, "--on-failure", f"cat >> {tmp_path}/told; echo >> {tmp_path}/told", cwd=tmp_path)
    (told,) = (tmp_path / "told").read_text().splitlines()
    values = json.loads(told)
    assert (values["command"], values["out"]) == ("infer", "preds.parquet")
    assert values["exit_code"] == done.returncode != 0


def test_a_job_that_is_left_to_itself_tells_nobody(tmp_path: Path) -> None:
    done = vidcnn("infer", tmp_path, "--cluster=http://127.0.0.1:1", "--no-wait", "--on-failure=true")
    assert done.returncode == 2
    assert "--no-wait does not see how the job ends" in done.stderr
