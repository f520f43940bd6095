from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.commands import command, environment, make_tiny_bundle, vidcnn, wait_until
from tests.reporting.test_summaries import REPORT
from tests.training.test_report import evaluation
from vidcnn import __version__
from vidcnn.cli import COMMANDS, load_command, main
from vidcnn.commands.evaluate import run_evaluate
from vidcnn.commands.infer import run_infer
from vidcnn.config import EvaluateSpec, InferSpec, ScheduleSpec, Spec, TrainSpec, option_name
from vidcnn.errors import BundleError, OutputError, TooManyErrorsError
from vidcnn.models.table import model_rows
from vidcnn.pipelines.evaluate import run_evaluation


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_line_of_each_command_is_the_one_in_the_overview(name: str) -> None:
    assert load_command(name).help.splitlines()[0] == COMMANDS[name]


def test_help_lists_the_commands() -> None:
    result = vidcnn("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize(
    ("command", "spec"),
    [("infer", InferSpec), ("train", TrainSpec), ("evaluate", EvaluateSpec), ("schedule", ScheduleSpec)],
)
def test_help_has_an_option_for_every_field_of_a_spec(command: str, spec: type[Spec]) -> None:
    result = vidcnn(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for name, field in spec.model_fields.items():
        assert re.search(rf"\s{name.upper() if field.is_required() else option_name(name)}\b(?!-)", result.stdout), name


def test_version() -> None:
    assert vidcnn("--version").stdout.strip() == f"vidcnn {__version__}"


def completed(*words: str) -> list[str]:
    """Return what bash is given after some words, of which the last is still being written."""
    asked = {"_VIDCNN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["vidcnn", *words])}
    done = vidcnn(extra={**asked, "COMP_CWORD": str(len(words))})
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "following"),
    [
        (["in"], ["infer"]),
        (["infer", "--pre"], ["--precision"]),
        (["infer", "videos", "--precision", ""], ["auto", "bf16", "fp32", "int8", "exact"]),
        (["infer", "--precision="], ["auto", "bf16", "fp32", "int8", "exact"]),
        (["train", "--model", "r"], ["r3d_18", "r2plus1d_18"]),
        (["bundle", "mvit"], ["mvit_v1_b", "mvit_v2_s"]),
        (["infer", "--redo-errors", "ti"], ["timeout"]),
        (["jobs", "st"], ["status", "stop"]),
        (["infer", "--model", "my/bun"], []),  # then the shell itself completes files
        (["evaluate", "--model", "r"], []),
        (["infre", "--"], []),
    ],
)
def test_a_shell_completes_commands_options_and_values(words: list[str], following: list[str]) -> None:
    assert completed(*words) == following


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with nothing in it, and the program on the path."""
    program = tmp_path / "bin" / "vidcnn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(command())} "$@"\n')
    program.chmod(0o755)
    for name, value in (environment() | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def run_shell(*words: str) -> str:
    """Run a script in a shell, and return what it prints."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_shell_is_given_what_completes_in_it(home: Path) -> None:
    def bash(script: str) -> str:
        return run_shell("bash", "--norc", "-c", f"{script}; exit $?")

    shown = bash("vidcnn --show-completion")
    assert "bash completion installed" in bash("vidcnn --install-completion")
    assert (home / ".bash_completions" / "vidcnn.sh").read_text() == shown.rstrip("\n")
    ask = "COMP_WORDS=(vidcnn infer --dev); COMP_CWORD=2; _vidcnn_completion vidcnn; echo ${COMPREPLY[@]}"
    assert bash(f"source ~/.bashrc; {ask}") == "--device\n"


def test_fish_completes_options_and_values(home: Path) -> None:
    # Each asks which shell it is in by its parent: a shell that has one command alone becomes that command.
    assert "fish completion installed" in run_shell("fish", "-c", "vidcnn --install-completion; true")
    asked = run_shell("fish", "-c", "complete --do-complete 'vidcnn infer --dev'; true")
    assert [line.split("\t")[0] for line in asked.splitlines()] == ["--device"]
    asked = run_shell("fish", "-c", "complete --do-complete 'vidcnn infer --model r3'; true")
    assert [line.split("\t")[0] for line in asked.splitlines()] == ["r3d_18"]


def test_zsh_completes_what_is_typed(home: Path) -> None:
    assert "zsh completion installed" in run_shell("zsh", "-f", "-c", "vidcnn --install-completion; true")
    with (home / ".zshrc").open("a") as file:
        file.write("tell() { print -r -- $BUFFER > ~/told }\nzle -N tell\nbindkey '^G' tell\nprint ready > ~/ready\n")
    terminal, its_end = pty.openpty()
    shell = subprocess.Popen(["zsh", "-d", "-i"], stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True)
    os.close(its_end)
    threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
    try:
        wait_until((home / "ready").exists, seconds=60)
        os.write(terminal, b"vidcnn infer --dev")

        def is_completed() -> bool:
            os.write(terminal, b"\t\x07")  # Typer's script only loads itself at the first Tab of a shell
            time.sleep(0.5)
            return (home / "told").exists() and (home / "told").read_text().startswith("vidcnn infer --device")

        wait_until(is_completed, seconds=120)
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


def _drain(terminal: int) -> None:
    with suppress(OSError):
        while os.read(terminal, 4096):
            pass


def ended_with() -> int:
    """Run the command line in this process, and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["infre"], 2, "vidcnn: there is no command 'infre'\n        did you mean infer?"),
        (["classify"], 2, "the commands are infer, train,"),
        (["infer", ".", "--out", "rows.csv"], 2, "--out (rows.csv) must be a .parquet file or a folder"),
        (["run", "wrong.yaml"], 2, "vidcnn: wrong.yaml:3: modle is not known\n        for modle, did you mean model?"),
        (["infer"], 2, "there is no SOURCE"),
        (["infer", "x", "--stride", "0"], 2, "vidcnn: --stride (0) must be > 0"),
        (["infer", "x", "--stride", "2", "--fps", "3"], 2, "vidcnn: --stride and --fps exclude each other"),
        (["infer", "x", "--actors", "3:2"], 2, "vidcnn: --actors (3:2) must be a number of actors"),
        (["infer", "x", "--precision", "fp8"], 2, "Invalid value for '--precision'"),
        (["infer", "no/such/folder", "--weights", "random"], 1, "no/such/folder"),
        (["infer", ".", "--model", "r3d18"], 1, "vidcnn: unknown model 'r3d18'\n        did you mean"),
        (["infer", ".", "--model", "no/such/bundle"], 1, "no/such/bundle"),
        (["bundle", "simple3d", "--out", "b", "--weights", "absent.pth"], 1, "absent.pth"),
        (["train"], 2, "vidcnn: there is no --data to train on\n        give --data DIR or --data clips.csv"),
        (["train", "--data", "."], 2, "vidcnn: there is no --out for the run\n        give --out RUN_DIR"),
        (["train", "--data", ".", "--out", "r", "--labels", "absent.txt"], 1, "absent.txt"),
        (["train", "--data", "absent", "--out", "r"], 1, "absent"),
        (["train", "--lr", "0"], 2, "vidcnn: --lr (0.0) must be > 0"),
        (["train", "infer.yaml"], 2, "is a job of the command infer, not train\n        vidcnn run infer.yaml does it"),
        (["evaluate"], 2, "Missing argument"),
        (["evaluate", ".", "--model", "no/such/bundle"], 1, "no/such/bundle"),
        (["run", "absent.yaml"], 2, "vidcnn: cannot read the job spec 'absent.yaml': No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_an_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "infer.yaml").write_text("command: infer\nsource: [.]\n")
    (tmp_path / "wrong.yaml").write_text("command: infer\nsource: [.]\nmodle: r3d_18\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["vidcnn", *arguments])
    assert ended_with() == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = vidcnn("infer", "absent", "--weights", "random", "--debug", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_a_folder_without_videos_is_an_error_that_says_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "preds").mkdir()  # Ray need not start for an output that may be complete
    monkeypatch.setattr("sys.argv", ["vidcnn", "infer", "source", "--out", "preds", "--model", str(bundle)])
    assert ended_with() == 1
    assert ".txt" in capsys.readouterr().err


def test_models_lists_the_zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vidcnn.models.table.model_rows", cache(model_rows))  # once for both
    monkeypatch.setattr("sys.argv", ["vidcnn", "models", "--json"])
    assert ended_with() == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["r3d_18"]["num_parameters"] == 33_371_472
    assert listed["r3d_18"]["gflops"] == pytest.approx(40.697, abs=0.01)
    monkeypatch.setattr("sys.argv", ["vidcnn", "models"])
    assert ended_with() == 0
    table = capsys.readouterr().out
    assert "r3d_18" in table
    assert "16x112x112 at 15 fps" in table


def test_bundle_makes_a_bundle_that_infer_could_take(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    result = vidcnn(
        "bundle", "simple3d", "--weights", "random", "--labels", "labels.txt", "--argument", "width=0.25", "--out", "b",
        cwd=tmp_path,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert "simple3d, 2 classes" in result.stdout
    card = json.loads((tmp_path / "b" / "model.json").read_text())
    assert (card["labels"], card["arguments"]) == (["cat", "dog"], {"width": 0.25})


def test_figures_are_printed_before_they_are_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vidcnn.pipelines.evaluate.run_evaluation", lambda spec, **_: evaluation())
    spec = EvaluateSpec(data="videos", model="bundle", out="/dev/full")
    with pytest.raises(OutputError, match="cannot be written to '/dev/full': no space left on device"):
        run_evaluate(spec, as_json=True, quiet=True)
    assert json.loads(capsys.readouterr().out)["clips_per_video"] == evaluation().num_clips


def test_an_evaluation_that_writes_nothing_works_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as in a folder of somebody else
    with pytest.raises(BundleError, match="no/such/bundle"):
        run_evaluation(EvaluateSpec(data="videos", model="no/such/bundle"))
    with pytest.raises(OutputError, match=r"cannot write to 'figures\.json'"):
        run_evaluation(EvaluateSpec(data="videos", model="no/such/bundle", out="figures.json"))


def test_a_summary_is_printed_before_the_report_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []
    monkeypatch.setattr("vidcnn.pipelines.infer.run_inference", lambda spec, show_progress, record: REPORT)
    monkeypatch.setattr("vidcnn.reporting.run_report._write", lambda *_: printed.append(capsys.readouterr().out))
    spec = InferSpec(source=("videos",), out=str(tmp_path / "preds.parquet"), report=True, max_error_fraction=0.0)
    with pytest.raises(TooManyErrorsError):
        run_infer(spec, as_json=True, quiet=True)
    assert [json.loads(text)["videos"] for text in printed] == [REPORT.summary.num_videos]
