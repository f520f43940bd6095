from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vidcnn.cli import load_command
from vidcnn.commands import QuietOption, RunOptions
from vidcnn.commands.options import takes_job
from vidcnn.config import EvaluateSpec, InferSpec, TrainSpec, option_name
from vidcnn.config.base import former_names
from vidcnn.config.job_files import read_job
from vidcnn.errors import UsageError

SPECS = {"infer": InferSpec, "train": TrainSpec, "evaluate": EvaluateSpec}
OWN = {"dry_run", "estimate", *(field.name for field in fields(RunOptions))}
"""Options of commands that are not wishes about the work."""

DEFAULT_JOB = Path("jobs/train.yaml")


@pytest.mark.parametrize("name", SPECS)
def test_the_options_of_a_command_are_the_fields_of_its_spec_with_the_same_defaults(name: str) -> None:
    defined = SPECS[name].model_fields
    parameters = {parameter.name: parameter for parameter in load_command(name).params}
    assert set(parameters) - OWN == set(defined) | ({"job"} if name == "train" else set())
    for field, info in defined.items():
        if info.is_required():
            may_lack = "unless" in (info.json_schema_extra or {})
            assert (parameters[field].param_type_name, parameters[field].required) == ("argument", not may_lack)
        else:
            former = [option_name(old) for old, new in former_names(SPECS[name]).items() if new == field]
            assert parameters[field].opts == [option_name(field), *former]
            assert parameters[field].default == info.default, field
            assert parameters[field].help == info.description


def run(*arguments: str) -> tuple[TrainSpec, bool]:
    """Call a command that takes training jobs; return what it was given."""
    given: list[tuple[TrainSpec, bool]] = []

    def train(spec: TrainSpec, *, quiet: QuietOption = False) -> None:
        given.append((spec, quiet))

    app = typer.Typer()
    app.command()(takes_job(TrainSpec, command="train", default=DEFAULT_JOB)(train))
    result = CliRunner().invoke(app, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return given[0]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_without_a_job_the_options_are_all_there_is(here: Path) -> None:
    assert run("--data", "videos", "--epochs", "3", "--batch-norm") == (
        TrainSpec(data="videos", epochs=3, batch_norm=True),
        False,
    )


def test_options_override_the_values_of_a_job(here: Path) -> None:
    job = write(here / "job.yaml", "command: train\ndata: a\nout: run\nepochs: 5\nflip: on\n")
    assert run(job) == (TrainSpec(data="a", out="run", epochs=5), False)
    assert run(job, "--data", "b", "--flip", "off", "--quiet") == (
        TrainSpec(data="b", out="run", epochs=5, flip="off"),
        True,
    )


def test_an_option_overrides_a_job_even_where_it_says_the_default(here: Path) -> None:
    job = write(here / "job.yaml", "command: train\nepochs: 5\n")
    default = TrainSpec.model_fields["epochs"].default
    assert run(job, "--epochs", str(default))[0].epochs == default


def test_values_of_a_job_and_options_are_checked_together(here: Path) -> None:
    job = write(here / "job.yaml", "command: train\nstride: 2\n")
    with pytest.raises(UsageError, match="--stride and --fps exclude each other"):
        run(job, "--fps", "15")


def test_the_default_job_is_read_where_nothing_is_said(here: Path) -> None:
    write(here / DEFAULT_JOB, "command: train\ndata: a\n")
    assert run() == (TrainSpec(data="a"), False)
    assert run("--quiet") == (TrainSpec(data="a"), True)


def test_the_default_job_is_left_alone_where_an_option_says_something(here: Path) -> None:
    write(here / DEFAULT_JOB, "command: train\ndata: a\n")
    assert run("--out", "run") == (TrainSpec(out="run"), False)


def test_without_a_default_job_the_defaults_are_left(here: Path) -> None:
    assert run() == (TrainSpec(), False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("command: infer\nsource: x\n", "is a job of the command infer, not train"),
        ("data: a\n", "must have a key command"),
        ("command: train\nephocs: 3\n", r":2: ephocs is not known"),
        ("command: train\nepochs: 0\n", r":2: epochs \(0\) must be > 0"),
    ],
)
def test_a_job_that_cannot_be_meant_is_refused(here: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(write(here / "job.yaml", text))


def test_a_job_that_is_not_there_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the job spec 'absent\.yaml': No such file or directory"):
        run("absent.yaml")


def test_options_are_taken_under_their_former_names_too(here: Path) -> None:
    write(here / "job.yaml", "command: train\ndata: videos\nchunks: 2\nsees: both\n")
    assert run("job.yaml") == (TrainSpec(data="videos", accumulation_steps=2, input_mode="both"), False)
    assert run("job.yaml", "--accumulation-steps", "4")[0].accumulation_steps == 4
    assert run("job.yaml", "--chunks", "8", "--sees", "frames")[0] == TrainSpec(
        data="videos", accumulation_steps=8, input_mode="frames"
    )
    assert TrainSpec(chunks=3) == TrainSpec(accumulation_steps=3)  # type: ignore[call-arg]
    write(here / "job.yaml", "command: train\ndata: videos\nchunks: 2\naccumulation_steps: 2\n")
    with pytest.raises(UsageError, match=r"job\.yaml:3: chunks is not known"):
        run("job.yaml")
    write(here / "other.yaml", "command: train\ndata: videos\n")
    assert read_job(here / "other.yaml", ["chunks=5"]).accumulation_steps == 5  # type: ignore[attr-defined]
