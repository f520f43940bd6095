from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.config import InferSpec
from vidcnn.errors import UsageError
from vidcnn.jobs import read_job

JOBS = Path(__file__).parents[1] / "jobs"


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_job_that_ships_is_valid(path: Path) -> None:
    assert isinstance(read_job(path), InferSpec)


def test_a_job_has_the_options_of_its_command(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: videos/\nout: preds\ntop_k: 3\n")
    assert read_job(job) == InferSpec(source=("videos/",), out="preds", top_k=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: [a]\n", "must have a key command, one of infer, not None"),
        ("command: fly\n", "must have a key command, one of infer, not 'fly'"),
        ("- a\n", "must have a key command"),
        ("command: infer\nsource: [a]\nstirde: 2\n", r"--stirde \(2\) Extra inputs"),
        ("command: infer\n", "--source .* Field required"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_job_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_job(job)
