"""Commands on a cluster of three nodes, compared with the same commands on an embedded Ray."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import torch

from tests.cluster.nodes import Nodes, open_nodes, three_nodes
from tests.commands import command, environment, vidcnn
from tests.s3 import Server
from tests.scans import write_scenes
from tests.videos import write_video
from vidcnn.demo import make_motion_videos
from vidcnn.models.resolve import make_bundle
from vidcnn.training.mirror import Mirror

pytestmark = pytest.mark.ray

TIMEOUT = 400


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes() as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of many clips, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for index in range(6):
        write_video(folder / f"{index}.mp4", 400, first_number=97 * index)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("embedded") / "preds.parquet"
    done = vidcnn(*infer(source, bundle, out), timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return rows(out)


def infer(source: Path | str, bundle: Path, out: Path | str, *options: str) -> list[str]:
    return ["infer", str(source), f"--model={bundle}", f"--out={out}", "--step=2", *options]


def train(data: Path | str, out: Path | str) -> list[str]:
    given = {
        "data": data, "out": out, "model": "simple3d", "crop": 32, "width": 0.5, "workers": 2, "precision": "fp32",
        "batch-size": 8, "epochs": 3, "lr": 0.003, "flip": "off", "cache-gb": 0,
    }  # fmt: skip
    return ["train", *(f"--{name}={value}" for name, value in given.items())]


def train_embedded(videos: Path, run: Path) -> dict[str, torch.Tensor]:
    """Make videos, train on them without a cluster, and return the weights."""
    make_motion_videos(videos, videos_per_class=2)
    done = vidcnn(*train(videos, run), timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return weights(run)


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = max((run / "checkpoints").glob("step_*.pt"))
    state: dict[str, torch.Tensor] = torch.load(newest, weights_only=True)["network"]
    return state


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return sorted(found, key=lambda row: (row["video"], -1 if row["clip"] is None else row["clip"]))


def on(nodes: Nodes, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return vidcnn(*arguments, "--cluster", nodes.address, extra=nodes.environment, timeout=TIMEOUT, **options)


def start(nodes: Nodes, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, "--cluster", nodes.address),
        env=environment() | nodes.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it is ignored in the background of a shell
    )


def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def both(found: list[psutil.Process]) -> list[psutil.Process]:
    """Return two processes, once there are two."""
    return found if len(found) == 2 else []


def kill(found: list[psutil.Process]) -> bool:
    """Kill the first of some processes that still runs; tell whether there was one."""
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            return True
    return False


@pytest.mark.slow
def test_a_command_on_a_cluster_gives_the_rows_of_an_embedded_one_and_its_jobs_can_be_looked_at(
    nodes: Nodes, source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    done = on(nodes, *infer(source, bundle, out, "--json"))
    assert done.returncode == 0, done.stderr
    assert rows(out) == expected
    summary = json.loads(done.stdout)  # nothing else is on stdout
    assert (summary["videos"], summary["bad_videos"]) == (7, 1)
    assert "core_worker" not in done.stderr
    assert "INFO" not in done.stderr

    again = on(nodes, *infer(source, bundle, out, "--no-wait"))
    assert (again.returncode, again.stderr) == (0, "")
    job_id = again.stdout.strip()
    assert job_id.endswith("-2")
    followed = on(nodes, "jobs", "logs", job_id, "--follow")
    assert (followed.returncode, followed.stdout.splitlines()[1]) == (
        0,
        "this run: nothing to do, all of 7 videos done",
    )
    listed = json.loads(on(nodes, "jobs", "list", "--json").stdout)
    assert (listed[0]["id"], listed[0]["status"], listed[0]["exit_code"]) == (job_id, "SUCCEEDED", 0)
    assert job_id in on(nodes, "jobs", "list").stdout
    assert on(nodes, "jobs", "status", job_id).stdout.startswith(f"{job_id}: succeeded (exit code 0), started 20")
    assert on(nodes, "jobs", "stop", job_id).stdout == f"{job_id}: had ended before\n"
    unknown = on(nodes, "jobs", "status", "nobody")
    assert (unknown.returncode, f"{nodes.address} knows no job nobody" in unknown.stderr) == (1, True)


@pytest.mark.nightly
def test_training_across_nodes_gives_the_weights_of_an_embedded_run(nodes: Nodes, tmp_path: Path) -> None:
    videos, run = tmp_path / "videos", tmp_path / "clustered"
    expected = train_embedded(videos, tmp_path / "embedded")
    process = start(nodes, train(videos, run))
    workers = wait_until(
        lambda: nodes.processes("ray::", "TrainWorker")[1:] and nodes.processes("ray::", "TrainWorker")
    )
    raylets = {worker.parent().pid for worker in workers if worker.is_running()}
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, stderr
    assert f"bundle: {run}/bundle" in stdout
    assert len(raylets) == 2
    assert same(weights(run), expected)


@pytest.mark.slow
def test_an_error_there_is_told_here_with_its_exit_code(nodes: Nodes, tmp_path: Path) -> None:
    done = on(nodes, "infer", str(tmp_path / "nothing"), "--out", str(tmp_path / "x.parquet"))
    assert done.returncode == 2
    host = socket.gethostname()
    assert f"there is no '{tmp_path}/nothing' on the cluster's head ({host}), nor on {host}" in done.stderr
    (tmp_path / "empty").mkdir()
    done = on(nodes, "infer", str(tmp_path / "empty"), "--out", str(tmp_path / "x.parquet"))
    assert done.returncode == 1
    assert "contains no video" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_the_same_job_does_not_run_twice_at_once_and_is_stopped_in_good_order(
    nodes: Nodes, source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    arguments = infer(source, bundle, tmp_path / "preds", "--num-frames=64", "--step=1", "--stride=1")
    process = start(nodes, arguments)
    wait_until(lambda: nodes.processes("vidcnn.cluster.entry"))
    second = on(nodes, *arguments)
    assert second.returncode == 75
    assert "the same job runs already as vidcnn-infer-" in second.stderr
    job_id = next(job["id"] for job in json.loads(on(nodes, "jobs", "list", "--json").stdout) if not job["ended"])
    wait_until(lambda: list((tmp_path / "preds").glob("part-*")) or process.poll() is not None)
    assert on(nodes, "jobs", "stop", job_id).stdout == f"{job_id}: stopping\n"
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert f"job {job_id} was stopped" in stderr


@pytest.mark.slow
def test_what_a_job_waits_for_is_said_soon_and_it_goes_on_when_a_machine_comes(
    source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    with open_nodes(num_cpus=[0]) as nodes:
        process = start(nodes, infer(source, bundle, out))
        wait_until(lambda: nodes.processes("vidcnn.cluster.entry"))
        began = time.monotonic()
        assert process.stderr is not None
        said = ""
        while "waiting: no machine of the cluster has a processor (1 machine is there)\n" not in said:
            said += process.stderr.readline()
            assert process.poll() is None, said
        assert time.monotonic() - began < 40, "15 s on a machine that has nothing else to do"
        nodes.add_node()
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said + stderr
    assert rows(out) == expected


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_an_actor_and_a_decoder_gives_the_same_table(
    source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    with three_nodes() as nodes:
        process = start(nodes, infer(source, bundle, out))
        for name in ("MapWorker(MapBatches(ScoreStage))", "MapBatches(DecodeStage)"):
            wait_until(lambda name=name: kill(nodes.processes("ray::", name)))
        nodes.remove_node()
        assert process.poll() is None, "all was done before the last of them was lost"
        _, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, stderr
        assert re.search(r"^machine \S+ was lost: what it was doing is done again elsewhere$", stderr, re.MULTILINE)
        assert rows(out) == expected


@pytest.mark.slow
def test_of_two_machines_one_may_be_lost_for_good(
    source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The copies of the model that were on it begin again on the other, and leave room for its tasks."""
    out = tmp_path / "preds.parquet"
    with open_nodes(num_cpus=[1, 1]) as nodes:
        process = start(nodes, infer(source, bundle, out))
        wait_until(lambda: both(nodes.processes("ray::MapWorker(MapBatches(ScoreStage))")))
        nodes.remove_node()
        assert process.poll() is None, "all was done before it was lost"
        try:
            _, stderr = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert process.returncode == 0, stderr
    assert rows(out) == expected


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give machines names")
def test_a_scan_on_two_machines_gives_the_table_of_a_local_one_also_where_one_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    long = write_scenes(folder / "long.mp4", ("moving", 20), size=(360, 480), options={"preset": "ultrafast"})
    for index in range(40):
        shutil.copy(long, folder / f"copy{index:02}.mp4")
    write_scenes(folder / "short.mp4", ("moving", 2), ("black", 3), seed=1)
    (folder / "text.mp4").write_text("no video")
    done = vidcnn("scan", folder, "--out", tmp_path / "local.parquet", timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    expected = pq.read_table(tmp_path / "local.parquet")
    assert expected["duplicate_of"].null_count == 3

    with open_nodes(num_cpus=[1, 1], names=["first", "second"]) as nodes:
        done = on(nodes, "scan", str(folder), "--out", str(tmp_path / "whole.parquet"), "--json")
        assert done.returncode == 0, done.stderr
        assert pq.read_table(tmp_path / "whole.parquet").equals(expected)
        run = json.loads(done.stdout)["run"]
        assert (run["videos_done"], sorted(run["confinement"])) == (43, ["first", "second"])

        process = start(nodes, ["scan", str(folder), "--out", str(tmp_path / "lost.parquet")])
        try:
            wait_until(lambda: both(nodes.processes("ray::MapBatches(ScanStage)")) or process.poll() is not None)
            nodes.remove_node()
            assert process.poll() is None, "all was done before it was lost"
            _, stderr = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert process.returncode == 0, stderr
    assert "was lost: what it was doing is done again elsewhere" in stderr
    assert pq.read_table(tmp_path / "lost.parquet").equals(expected)


@pytest.mark.nightly
def test_each_machine_has_a_copy_of_the_model_that_is_evaluated(tmp_path: Path) -> None:
    make_motion_videos(tmp_path / "videos", videos_per_class=3)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(sorted(path.name for path in (tmp_path / "videos").iterdir() if path.is_dir())))
    make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25}).save(tmp_path / "bundle")
    with open_nodes(num_cpus=[1, 1]) as nodes:
        line = ["evaluate", tmp_path / "videos", "--model", tmp_path / "bundle", "--split=all", "--device=cpu"]
        process = start(nodes, list(map(str, line)))
        try:
            scorers = wait_until(lambda: both(nodes.processes("ray::_Scorer")))
            assert len({scorer.ppid() for scorer in scorers}) == 2, "each is a child of its machine's raylet"
        finally:
            process.kill()
            process.communicate()


@pytest.mark.nightly
def test_a_driver_that_is_killed_between_two_commits_is_made_good_by_the_next_run(
    nodes: Nodes, source: Path, bundle: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "preds"
    done = on(nodes, *infer(source, bundle, whole, "--step=1"))
    assert done.returncode == 0, done.stderr
    process = start(nodes, infer(source, bundle, out, "--step=1"))
    wait_until(lambda: list(out.glob("part-*")) or process.poll() is not None)
    for driver in nodes.processes("vidcnn.cluster.entry"):
        os.kill(driver.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "the driver of job vidcnn-infer-" in stderr
    assert 0 < len(rows(out)) < len(rows(whole)), "nothing was committed, or nothing was left"
    again = on(nodes, *infer(source, bundle, out, "--step=1"))
    assert again.returncode == 0, again.stderr
    assert rows(out) == rows(whole)


@pytest.mark.nightly
def test_ctrl_c_leaves_the_job_to_itself_where_nobody_can_be_asked(
    nodes: Nodes, source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    process = start(nodes, infer(source, bundle, out))
    wait_until(lambda: nodes.processes("vidcnn.cluster.entry"))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "which continues" in stderr
    wait_until(out.exists)
    assert rows(out) == expected


@pytest.mark.nightly
def test_videos_and_rows_in_object_storage(
    s3: Server, source: Path, bundle: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    for path in source.iterdir():
        s3.put(f"videos/{path.name}", body=path.read_bytes())
    credentials = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    out = f"s3://bkt/preds.parquet{s3.query}"
    with three_nodes(**credentials) as nodes:
        done = on(nodes, *infer(f"s3://bkt/videos{s3.query}", bundle, out))
    assert done.returncode == 0, done.stderr
    from vidcnn.storage.uris import open_filesystem

    filesystem, path = open_filesystem(out)
    with filesystem.open_input_file(path) as file:
        found = pq.read_table(file).to_pylist()
    assert len(found) == len(expected)
    columns = ("clip", "start_seconds", "end_seconds", "label", "score", "error_kind")

    def comparable(table: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        named = [(row["video"].rpartition("/")[2], *(row[name] for name in columns)) for row in table]
        return sorted(named, key=lambda row: (row[0], -1 if row[1] is None else row[1]))

    assert comparable(found) == comparable(expected)


@pytest.mark.nightly
def test_a_run_in_object_storage_on_videos_in_object_storage(s3: Server, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    expected = train_embedded(videos, tmp_path / "embedded")
    for path in videos.rglob("*.*"):
        s3.put(f"videos/{path.relative_to(videos)}", body=path.read_bytes())
    credentials = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    out = f"s3://bkt/runs/one{s3.query}"
    with three_nodes(**credentials) as nodes:
        done = on(nodes, *train(f"s3://bkt/videos{s3.query}", out))
        assert done.returncode == 0, done.stderr
        assert "bundle: s3://bkt/runs/one/bundle" in done.stdout
        again = on(nodes, *train(f"s3://bkt/videos{s3.query}", out))
    assert "nothing to do" in again.stdout
    copy = tmp_path / "copy"
    copy.mkdir()
    Mirror(out, copy).pull()
    assert same(weights(copy), expected)
    assert (copy / "bundle" / "model.json").exists()
