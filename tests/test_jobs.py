from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vidcnn.config import EvaluateSpec, InferSpec, TrainSpec
from vidcnn.demo import training_spec
from vidcnn.errors import UsageError
from vidcnn.jobs import SPECS, read_job, read_values

JOBS = Path(__file__).parents[1] / "jobs"


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_job_that_ships_is_valid(path: Path) -> None:
    assert isinstance(read_job(path), SPECS[yaml.safe_load(path.read_text())["command"]])


def test_the_example_trains_as_the_demo_does() -> None:
    assert read_job(JOBS / "train.yaml") == training_spec(Path("vidcnn-demo/videos"), Path("runs/motion"))


def test_the_recipe_for_kinetics_has_the_published_figures_for_8_gpus() -> None:
    spec = read_job(JOBS / "kinetics.yaml")
    assert isinstance(spec, TrainSpec)
    assert (spec.num_frames, spec.fps, spec.resize, spec.crop, spec.repeats) == (16, 15, "128x171", "112", 5)
    assert (spec.workers, spec.batch_size, spec.lr) == (8, 8 * 24, 8 * 0.01)
    assert (spec.optimizer, spec.momentum, spec.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (spec.epochs, spec.warmup_epochs, spec.schedule) == (45, 10, "multistep")
    assert (spec.milestones, spec.gamma) == ("20,30,40", 0.1)


def test_a_job_has_the_options_of_its_command(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: videos/\nout: preds\ntop_k: 3\n")
    assert read_job(job) == InferSpec(source=("videos/",), out="preds", top_k=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: [a]\n", "must have a key command, one of infer, train, evaluate, not None"),
        ("command: fly\n", "must have a key command, one of infer, train, evaluate, not 'fly'"),
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


def test_a_job_of_training_or_evaluation_has_the_options_of_its_command(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: train\ndata: videos/\nout: run\nlr: 1e-2\ncrop: 64\n")
    assert read_job(job) == TrainSpec(data="videos/", out="run", lr=0.01, crop="64")
    job.write_text("command: evaluate\ndata: videos/\ncrops: 3\n")
    assert read_job(job) == EvaluateSpec(data="videos/", crops="3")


@pytest.mark.parametrize(
    ("text", "flip", "compiles"),
    [("flip: on\ncompile: off\n", "on", "off"), ("flip: off\ncompile: 'on'\n", "off", "on"), ("", "on", "off")],
)
def test_on_and_off_may_be_written_without_quotes(tmp_path: Path, text: str, flip: str, compiles: str) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"command: train\n{text}")
    spec = read_job(job)
    assert isinstance(spec, TrainSpec)
    assert (spec.flip, spec.compile) == (flip, compiles)


def test_only_what_a_job_says_is_read_from_it(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: train\nepochs: 3\n")
    assert read_values(job, "train") == {"epochs": 3}


def test_a_job_of_another_command_is_refused_with_the_way_to_run_it(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: x\n")
    with pytest.raises(UsageError, match="is a job of the command infer, not train") as caught:
        read_values(job, "train")
    assert caught.value.hint == f"vidcnn run {job} does it"


def test_words_and_ranges_are_not_taken_for_truths_and_numbers(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    lines = ("command: infer", "source: videos", "actors: 1:4", "limit: 10", "fps: 7.5", "probabilities: true")
    job.write_text("\n".join([*lines, "compile: off"]))
    spec = read_job(job)
    assert isinstance(spec, InferSpec)
    assert (spec.actors, spec.limit, spec.fps, spec.probabilities, spec.compile) == ("1:4", 10, 7.5, True, "off")
    job.write_text("command: infer\n1: 2\n")
    with pytest.raises(UsageError, match="must have names of options for its keys"):
        read_job(job)
