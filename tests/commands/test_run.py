from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
