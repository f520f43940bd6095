from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import torch

import vidcnn as vidcnn_api
from tests.commands import command, environment, vidcnn
from vidcnn.demo import make_motion_videos
from vidcnn.sandbox import seccomp
from vidcnn.sandbox.confinement import Strength
from vidcnn.storage.locks.holder import this_process

pytestmark = pytest.mark.ray

NUM_STEPS = 18

PATIENCE_SECONDS = 400
"""Time that a run may take to begin, or to end: on a busy machine ten times as long as on an idle one."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    make_motion_videos(folder, videos_per_class=3)
    for name in ("up_left", "up_right", "down_left", "down_right"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    (folder / "up" / "up_broken.mp4").write_bytes(b"no video")
    return folder


def arguments(videos: Path, run: Path, **options: Any) -> list[str]:
    given = {
        "data": videos, "out": run, "model": "simple3d", "crop": 32, "width": 0.5, "workers": 2, "precision": "fp32",
        "batch-size": 4, "epochs": 8, "val-fraction": 0.25, "lr": 0.003, "flip-pairs": "left=right", "cache-gb": 0,
        "checkpoint-seconds": 0.01,
    } | options  # fmt: skip
    return ["train", *(f"--{name}={value}" for name, value in given.items())]


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = max((run / "checkpoints").glob("step_*.pt"))
    assert newest.name == f"step_{NUM_STEPS:08d}.pt"
    state: dict[str, torch.Tensor] = torch.load(newest, weights_only=True)["network"]
    return state


def notes(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    result = vidcnn(*arguments(videos, run), "--json", "--quiet")
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    summary = json.loads(result.stdout)
    assert summary["steps_done"] == summary["steps"] == NUM_STEPS
    assert summary["bundle"] == str(run / "bundle")
    ((machine, strength),) = summary["confinement"].items()
    assert (machine, strength["seccomp"]) == (socket.gethostname(), seccomp.is_there())
    assert [note["confinement"] for note in notes(run) if note["kind"] == "run"] == [summary["confinement"]]
    return run


def test_a_run_leaves_its_bundle_its_notes_and_nothing_else(undisturbed: Path) -> None:
    assert {path.name for path in undisturbed.iterdir()} == {
        "bundle", "checkpoints", "metrics.jsonl", "run.json", "tensorboard",
    }  # fmt: skip
    steps = [note["step"] for note in notes(undisturbed) if note["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert steps[-1] == NUM_STEPS
    bad = [sample["video"] for note in notes(undisturbed) for sample in note.get("bad_samples", ())]
    assert set(bad) == {"up/up_broken.mp4"}
    card = json.loads((undisturbed / "bundle" / "model.json").read_text())
    assert card["labels"] == ["down", "left", "right", "up"]
    assert card["preprocessing"]["crop"] == [32, 32]
    assert card["provenance"]["metrics"]["top1"] >= 0
    assert card["golden"]["size"] == [16, 32, 32]
    vidcnn_api.load(undisturbed / "bundle", device="cpu", precision="exact")  # which checks it


def test_what_infer_says_of_a_trained_bundle_is_what_evaluate_counts(
    undisturbed: Path, videos: Path, tmp_path: Path
) -> None:
    out, figures = tmp_path / "preds.parquet", tmp_path / "figures.json"
    bundle = undisturbed / "bundle"
    result = vidcnn("infer", videos, "--out", out, "--model", bundle, "--num-clips", "2", "--quiet")
    assert result.returncode == 0, result.stderr
    result = vidcnn("evaluate", videos, "--model", bundle, "--split=all", "--clips=2", f"--out={figures}", "--quiet")
    assert result.returncode == 0, result.stderr
    assert "1 video could not be scored" in result.stdout
    rows = [row for row in pq.read_table(out).to_pylist() if row["error"] is None]
    labels = ["down", "left", "right", "up"]
    confusion = [[0] * 4 for _ in range(4)]
    for row in rows:
        confusion[labels.index(row["video"].split("/")[0])][labels.index(row["label"])] += 1
    found = json.loads(figures.read_text())
    assert found["clips"]["confusion"] == confusion
    assert found["clips"]["num_samples"] == len(rows) == 24
    assert found["videos"]["num_samples"] == 12
    assert found["bad_videos"][0]["video"] == "up/up_broken.mp4"
    ((machine, strength),) = found["confinement"].items()
    assert (machine, strength["seccomp"]) == (socket.gethostname(), seccomp.is_there())


@pytest.mark.slow
def test_decoding_outside_the_cell_is_said_by_training_and_by_evaluation(videos: Path, tmp_path: Path) -> None:
    run, line = tmp_path / "run", f"confinement of decoding processes on {socket.gethostname()}: not confined"
    trained = vidcnn(*arguments(videos, run, epochs=1, workers=1), "--sandbox=off", timeout=PATIENCE_SECONDS)
    assert trained.returncode == 0, trained.stderr
    assert line in trained.stdout.splitlines()
    (note,) = (note for note in notes(run) if note["kind"] == "run")
    assert note["confinement"][socket.gethostname()] == Strength()._asdict()
    evaluated = vidcnn(
        "evaluate", videos, "--model", run / "bundle", "--split=all", "--clips=1", "--sandbox=off",
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    assert line in evaluated.stdout.splitlines()


def wait_for(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait for a checkpoint of a step or later."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        steps = [int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt")]
        if max(steps, default=0) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step}")


def wait_for_note(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until training has begun."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "metrics.jsonl").exists() and any(note["kind"] == "train" for note in notes(run)):
            return
        time.sleep(0.02)
    raise AssertionError("training has not begun")


def trainers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train together."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "RayTrainWorker" in " ".join(child.cmdline())]


def test_killed_workers_and_a_killed_command_change_no_bit_of_the_weights(
    undisturbed: Path, videos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(*arguments(videos, run), "--quiet"), env=environment(), stderr=subprocess.PIPE)
    try:
        wait_for(run, 3, process)
        os.kill(trainers(process)[-1].pid, signal.SIGKILL)
        killed_at = max(int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt"))
        wait_for(run, killed_at + 3, process)
    finally:
        process.kill()
        process.communicate()
    result = vidcnn(*arguments(videos, run, workers=2), "--json", "--quiet", timeout=PATIENCE_SECONDS)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    assert 0 < json.loads(result.stdout)["steps_done"] < NUM_STEPS
    expected, found = weights(undisturbed), weights(run)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    steps = [note["step"] for note in notes(run) if note["kind"] == "train"]
    assert steps == [note["step"] for note in notes(undisturbed) if note["kind"] == "train"]


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_leaves_no_process(videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    endless = arguments(videos, run, **{"checkpoint-seconds": 3600, "epochs": 10_000, "val-fraction": 0})
    process = subprocess.Popen(command(*endless, "--quiet"), env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        wait_for_note(run, process)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, stderr.splitlines()[0]) == (130, "vidcnn: interrupted")
    saved = max(int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt"))
    assert stderr.splitlines()[1].strip() == f"step {saved} is saved, and the same command continues from there"
    _, alive = psutil.wait_procs(started, timeout=15)
    assert alive == []
    assert not (run / ".ray").exists()
    (note,) = (note for note in notes(run) if note["kind"] == "run")
    assert (note["step"], list(note["confinement"])) == (saved, [socket.gethostname()])


@pytest.mark.slow
def test_a_run_that_loses_its_directory_to_another_stops(videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    endless = arguments(videos, run, epochs=10_000)
    process = subprocess.Popen(command(*endless, "--quiet"), env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        wait_for_note(run, process)
        started = psutil.Process(process.pid).children(recursive=True)
        (run / "lock").write_bytes(this_process("held").encode())
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 75
    assert f"the lock on {run} was lost to another run (process {os.getpid()}" in stderr
    assert (run / "lock").exists()
    assert (run / ".ray").exists()  # the other run's records are there too
    assert not any(note["kind"] == "run" for note in notes(run))
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == [], "they may still write"


def test_a_finished_run_has_nothing_to_do_and_other_settings_are_refused_by_name(
    undisturbed: Path, videos: Path
) -> None:
    again = vidcnn(*arguments(videos, undisturbed), "--quiet")
    assert again.returncode == 0, again.stderr
    assert f"nothing to do: all {NUM_STEPS} steps are done" in again.stdout
    other = vidcnn(*arguments(videos, undisturbed, lr=0.1), "--quiet")
    assert other.returncode == 1
    assert "was begun with other settings: --lr was 0.003, now 0.1" in other.stderr
    assert "Traceback" not in other.stderr
