from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.commands import command, environment, make_tiny_bundle
from tests.commands.conftest import Call
from tests.videos import write_video
from vidcnn.commands.infer import choose_trial
from vidcnn.config import InferSpec
from vidcnn.errors import UsageError, VidcnnError
from vidcnn.predictions.output_storage import open_storage


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, InferSpec]]:
    """What is to be done; nothing is."""
    import vidcnn.pipelines.dry_run
    import vidcnn.pipelines.estimate
    import vidcnn.pipelines.infer

    done: list[tuple[str, InferSpec]] = []

    def remember(what: str) -> Any:
        return lambda spec, **_: done.append((what, spec)) or what

    monkeypatch.setattr(vidcnn.pipelines.infer, "run_inference", remember("run"))
    monkeypatch.setattr(vidcnn.pipelines.dry_run, "plan_source", remember("plan"))
    monkeypatch.setattr(vidcnn.pipelines.estimate, "estimate_source", remember("estimate"))
    for name in ("infer_text", "infer_line", "plan_text"):
        monkeypatch.setattr(f"vidcnn.reporting.summaries.{name}", lambda spec, result, name=name: f"{name} of {result}")
    monkeypatch.setattr("vidcnn.reporting.summaries.estimate_text", lambda spec, result: f"estimate_text of {result}")
    monkeypatch.setattr("vidcnn.reporting.summaries.infer_json", lambda spec, result: {"result": result})
    monkeypatch.setattr("vidcnn.reporting.summaries.check_outcome", lambda spec, result: None)
    return done


def test_options_make_a_spec_and_the_report_is_printed(call: Call, asked: list[tuple[str, InferSpec]]) -> None:
    assert call("infer", "videos", "more", "--top-k", "3") == (0, "infer_text of run\n", "")
    assert asked == [("run", InferSpec(source=("videos", "more"), top_k=3))]
    assert call("infer", "videos", "--quiet").stdout == "infer_line of run\n"
    assert json.loads(call("infer", "videos", "--json").stdout) == {"result": "run"}


@pytest.mark.parametrize(("option", "what"), [("--dry-run", "plan"), ("--estimate", "estimate")])
def test_a_trial_is_told_and_nothing_is_done(
    call: Call, asked: list[tuple[str, InferSpec]], option: str, what: str
) -> None:
    assert call("infer", "videos", option).stdout == f"{what}_text of {what}\n"
    assert [done for done, _ in asked] == [what]


def test_the_report_is_printed_before_too_many_bad_videos_end_the_command(
    call: Call, asked: list[tuple[str, InferSpec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(spec: InferSpec, result: Any) -> None:
        raise VidcnnError("1 of 2 videos are bad")

    monkeypatch.setattr("vidcnn.reporting.summaries.check_outcome", refuse)
    assert call("infer", "videos") == (1, "infer_text of run\n", "vidcnn: 1 of 2 videos are bad\n")


def test_a_run_that_fails_has_no_report(
    call: Call, asked: list[tuple[str, InferSpec]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import vidcnn.pipelines.infer

    def fail(spec: InferSpec, **_: Any) -> None:
        raise VidcnnError("no room", "make some")

    monkeypatch.setattr(vidcnn.pipelines.infer, "run_inference", fail)
    assert call("infer", "videos", "--out", tmp_path / "p") == (1, "", "vidcnn: no room\n        make some\n")


def test_a_dry_run_is_no_estimate() -> None:
    assert (choose_trial(dry_run=True, estimate=False), choose_trial(dry_run=False, estimate=True)) == (
        "--dry-run",
        "--estimate",
    )
    assert choose_trial(dry_run=False, estimate=False) is None
    with pytest.raises(UsageError, match="--dry-run and --estimate exclude each other"):
        choose_trial(dry_run=True, estimate=True)


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[..., Any]:
    """Run a command on what find lists: two of three videos, one with a name that is not UTF-8."""
    bundle = make_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "videos").mkdir()
    for name in (b"a.mp4", b"caf\xe9.mp4", b"not listed.mp4"):
        write_video(tmp_path / "videos" / os.fsdecode(name), 16)

    def run(*more: str) -> Any:
        with subprocess.Popen(
            ["find", "videos", "-name", "[ac]*.mp4"], cwd=tmp_path, stdout=subprocess.PIPE
        ) as listing:
            done = subprocess.run(
                [*command("infer", "-", "--model", bundle, "--out", "preds.parquet", "--json", "--quiet"), *more],
                cwd=tmp_path,
                env=environment(),
                stdin=listing.stdout,
                capture_output=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.ray
def test_a_list_on_standard_input_is_planned(pipe: Callable[..., Any]) -> None:
    planned = pipe("--dry-run")
    assert (planned["videos"], planned["videos_to_do"], planned["bad_videos"]) == (2, 2, [])


@pytest.mark.ray
@pytest.mark.slow
def test_a_list_on_standard_input_is_classified_once(pipe: Callable[..., Any], tmp_path: Path) -> None:
    assert pipe("--estimate")["videos"] == 2
    assert pipe()["run"]["videos_done"] == 2
    names = set(pq.read_table(tmp_path / "preds.parquet")["video"].to_pylist())
    assert names == {"videos/a.mp4", r"videos/caf\xe9.mp4"}
    assert pipe()["run"]["videos_done"] == 0


def test_a_list_on_standard_input_is_not_sent_to_a_cluster(call: Call) -> None:
    done = call("infer", "-", "--cluster", "http://localhost:1")
    assert (done.code, done.stderr.splitlines()[0]) == (
        2,
        "vidcnn: a list on standard input cannot be sent to a cluster",
    )


def test_a_held_output_is_refused_before_torch_and_ray_are_loaded(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 4)
    out = tmp_path / "preds.parquet"
    code = (
        "import sys\nfrom vidcnn.cli import main\n"
        f"sys.argv = ['vidcnn', 'infer', {str(tmp_path / 'a.mp4')!r}, '--out', {str(out)!r}]\n"
        "try:\n    main()\nfinally:\n    print([name for name in ('torch', 'ray') if name in sys.modules])\n"
    )
    storage = open_storage(str(out))
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        storage.close()
    assert (done.returncode, done.stdout) == (75, "[]\n"), done.stderr
    assert "preds.parquet" in done.stderr


def test_a_table_is_scored_instead_of_videos(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import vidcnn.pipelines.rescore

    done: list[InferSpec] = []
    monkeypatch.setattr(vidcnn.pipelines.rescore, "run_rescoring", lambda spec, **_: done.append(spec) or "rescored")
    for name in ("infer_text", "infer_line"):
        monkeypatch.setattr(f"vidcnn.reporting.summaries.{name}", lambda spec, result, name=name: f"{name} of {result}")
    monkeypatch.setattr("vidcnn.reporting.summaries.check_outcome", lambda spec, result: None)
    assert call("infer", "--from", "old.parquet", "--model", "new", "--quiet") == (0, "infer_line of rescored\n", "")
    assert done == [InferSpec(from_="old.parquet", model="new")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run"], "--dry-run is for videos, and with --from none is read"),
        (["--estimate"], "--estimate is for videos"),
        (["--cluster", "auto"], "--from is the work of one process, and no cluster is needed"),
        (["--decoders", "2"], "--decoders would change nothing: with --from, no video is read"),
    ],
)
def test_what_means_nothing_for_a_table_is_refused(call: Call, arguments: list[str], message: str) -> None:
    ended = call("infer", "--from", "old.parquet", "--out", "new.parquet", *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert message in ended.stderr
