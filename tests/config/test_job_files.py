from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.commands import vidcnn
from tests.fuzzing import damaged, damaged_text, refusing
from tests.limits import within
from vidcnn.config import EvaluateSpec, InferSpec, TrainSpec
from vidcnn.config.job_files import SPECS, read_job, read_needs, read_values
from vidcnn.demo import training_spec
from vidcnn.errors import UsageError

JOBS = Path(__file__).parents[2] / "jobs"
JOB_FILES = [path for path in sorted(JOBS.glob("*.yaml")) if "\ncommand: " in path.read_text()]
"""The jobs that ship; other files there are for other programs."""


@pytest.mark.parametrize("path", JOB_FILES, ids=lambda path: path.name)
def test_every_job_that_ships_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{(\w+)\}", path.read_text()):
        monkeypatch.setenv(name, "value")
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
        ("source: [a]\n", "must have a key command, one of infer, train, evaluate, scan, not None"),
        ("command: fly\n", "must have a key command, one of infer, train, evaluate, scan, not 'fly'"),
        ("- a\n", "must have a key command"),
        ("command: infer\nsource: [a]\nstirde: 2\n", r"job.yaml:3: stirde is not known"),
        ("command: infer\nsource: [a]\nout: p\ntop_k: x\n", r"job.yaml:4: top_k \(x\) must be a valid integer$"),
        ("command: infer\n", r"job.yaml: source is missing$"),
        ("command: [infer]\n", "must have a key command"),
        ("source: " + "[" * 3000, "not YAML to read: it is nested too deeply"),
        ("a: [\n", "job.yaml:2: not YAML"),
        ("command: infer\nsource: [a]\ntop_k: 1\ntop_k: 2\n", r"job.yaml:4: top_k is there twice, first in line 3"),
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
    values, name = read_values(job, "train")
    assert (values, name("epochs"), name("lr")) == ({"epochs": 3}, f"{job}:2: epochs", f"{job}: lr")


def test_a_job_of_another_command_is_refused_with_the_way_to_run_it(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: x\n")
    with pytest.raises(UsageError, match="is a job of the command infer, not train") as caught:
        read_values(job, "train")
    assert caught.value.hint == f"vidcnn run {job} does it"


def test_a_job_writes_the_words_that_python_keeps_for_itself(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nfrom: old.parquet\nmodel: new\n")
    assert read_job(job) == InferSpec(from_="old.parquet", model="new")
    assert read_job(job, ["from=other.parquet"]) == InferSpec(from_="other.parquet", model="new")
    job.write_text("command: infer\nmodel: new\nfrom: [1]\n")
    with pytest.raises(UsageError, match=r"job\.yaml:3: from \("):
        read_job(job)


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


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def test_values_come_from_the_environment(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "night")
    monkeypatch.setenv("LIMIT", "10")
    monkeypatch.setenv("DAY", "2026-11-22")
    monkeypatch.setenv("YEAR", "2026")
    monkeypatch.delenv("FPS", raising=False)
    job.write_text(
        "command: infer\nsource:\n- s3://${BUCKET}/${DAY}\n- ${YEAR}\nout: ${YEAR}\nlimit: ${LIMIT}\n"
        "fps: ${FPS:-7.5}\nprobabilities: ${FULL:-true}\nweights: ${WEIGHTS:-}\nmodel: $${x}\n"
    )
    assert read_job(job) == InferSpec(
        source=("s3://night/2026-11-22", "2026"), out="2026", limit=10, fps=7.5, probabilities=True, model="${x}"
    )


def test_one_source_may_come_from_the_environment(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOS", "/data/a: b, c")
    job.write_text("command: infer\nsource: ${VIDEOS}\n")
    assert read_job(job) == InferSpec(source=("/data/a: b, c",))


def test_variables_that_are_not_set_are_named_with_their_keys_and_the_file(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VIDEOS", "BUCKET"):
        monkeypatch.delenv(name, raising=False)
    job.write_text("command: infer\nsource: ['${VIDEOS}']\nout: s3://${BUCKET}/preds\n")
    with pytest.raises(UsageError, match=r"job.yaml' .* not set: source needs VIDEOS, out needs BUCKET") as caught:
        read_job(job)
    assert "${NAME:-default}" in caught.value.hint
    assert read_job(job, ["source=a", "out=b"]) == InferSpec(source=("a",), out="b")
    assert read_values(job, "infer", without=["source", "out"])[0] == {}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("out: ${A", r"job.yaml', out \(\$\{A\): \$\{ must begin", ""),
        ("source: [${A}]", "not YAML", "needs quotes"),
        ("limit: ${A:-ten}", r"limit \(ten\) must be a valid integer", ""),
    ],
)
def test_variables_that_cannot_be_meant_are_refused(job: Path, text: str, message: str, hint: str) -> None:
    job.write_text(f"command: infer\nsource: a\n{text}\n")
    with pytest.raises(UsageError, match=message) as caught:
        read_job(job)
    assert hint in caught.value.hint


def test_settings_override_the_values_of_a_job(job: Path) -> None:
    job.write_text("command: infer\nsource: [x, y]\nout: preds\nlimit: 3\nfps: 5\n")
    settings = [
        "source=a,1",
        "source=2026",
        "limit=20",
        "limit=30",
        "top-k=1",
        "probabilities=true",
        "fps=",
        "out=2026",
    ]
    assert read_job(job, settings) == InferSpec(
        source=("a,1", "2026"), limit=30, top_k=1, probabilities=True, out="2026"
    )
    assert read_job(job, ["weights=null", "weights=a=b"]) == InferSpec(
        source=("x", "y"), out="preds", limit=3, fps=5, weights="a=b"
    )


def test_settings_of_training_are_written_as_its_options_are(job: Path) -> None:
    job.write_text("command: train\n")
    assert read_job(job, ["schedule=multistep", "milestones=20,30", "crop=112", "lr=1e-2", "flip=off"]) == TrainSpec(
        schedule="multistep", milestones="20,30", crop="112", lr=0.01, flip="off"
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("limit", "--set 'limit' must be name=value"),
        ("=3", "--set '=3' must be name=value"),
        ("stirde=2", r"--stirde is not known"),
        ("limit=0", r"--limit \(0\) must be > 0"),
        ("limit=many", r"--limit \(many\) must be a valid integer"),
        ("command=train", "would make it another job"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(job: Path, setting: str, message: str) -> None:
    job.write_text("command: infer\nsource: a\n")
    with pytest.raises(UsageError, match=message):
        read_job(job, [setting])


def test_a_number_of_actors_may_be_written_as_one(job: Path) -> None:
    job.write_text("command: infer\nsource: a\nactors: 4\n")
    assert read_job(job) == InferSpec(source=("a",), actors="4")


def test_a_job_is_run_with_settings(job: Path) -> None:
    job.write_text("command: infer\nsource: ${NOT_SET_ANYWHERE}\n")
    result = vidcnn("run", job, "--set", "source=absent", "--set", "weights=random")
    assert (result.returncode, "absent" in result.stderr) == (1, True)
    assert vidcnn("run", job).returncode == 2


def test_a_job_that_will_run_elsewhere_is_read_without_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BUCKET", "LIMIT", "OUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WIDTH", "3")
    job = tmp_path / "job.yaml"
    lines = ["command: infer", "source: s3://${BUCKET}/v", "limit: ${LIMIT}", "top_k: ${WIDTH}"]
    job.write_text("\n".join([*lines, "out: ${OUT:-preds}/${BUCKET:-b}"]))
    needs = read_needs(job)
    assert needs.spec == InferSpec(source=("s3://${BUCKET}/v",), top_k=3, out="preds/b")
    assert (needs.needed, needs.optional) == (("BUCKET", "LIMIT", "WIDTH"), ("OUT",))
    assert needs.open_fields == {"source": "s3://${BUCKET}/v", "limit": "${LIMIT}"}
    needs = read_needs(job, ["source=videos", "limit=2"])
    assert needs.spec == InferSpec(source=("videos",), limit=2, top_k=3, out="preds/b")
    assert (needs.needed, needs.open_fields) == (("WIDTH",), {})


def test_what_is_wrong_with_it_is_said_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUCKET", raising=False)
    job = tmp_path / "job.yaml"
    job.write_text("command: infer\nsource: s3://${BUCKET}/v\nstride: 0\n")
    with pytest.raises(UsageError, match=r"job.yaml:3: stride \(0\) must be > 0"):
        read_needs(job)


@pytest.mark.parametrize("source", ["'-'", "[videos/, '-']", "${LIST}"])
def test_a_job_reads_no_list_on_standard_input(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIST", "-")
    job = tmp_path / "job.yaml"
    job.write_text(f"command: infer\nsource: {source}\n")
    for read in (read_job, read_needs):
        with pytest.raises(UsageError, match=r"job\.yaml' cannot have - as a source: standard input is"):
            read(job)
    job.write_text("command: infer\nsource: videos/\n")
    with pytest.raises(UsageError, match="cannot have - as a source"):
        read_job(job, ["source=-"])


JOB = b"command: infer\nsource: [a, '${VIDEOS:-b}']\nout: p.parquet\nmodel: r3d_18\ntop_k: 3\nmax_error_fraction: 0.5\n"


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged(JOB, (JOBS / "train.yaml").read_bytes()), setting=damaged_text("top_k=2", "source=a", "seed=08"))
def test_a_damaged_job_is_a_spec_or_an_error_in_words(content: bytes, setting: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    for settings_given in ((), (setting,)):
        for read in (read_job, lambda *given: read_needs(*given).spec):
            with within(60), refusing(UsageError):
                assert isinstance(read(path, settings_given), tuple(SPECS.values()))
