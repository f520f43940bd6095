"""Jobs in the command's own process give the rows that they give on Ray, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.commands import PROJECT, environment, vidcnn
from tests.videos import write_video
from vidcnn.cluster import Machine, plan_resources
from vidcnn.config import InferSpec
from vidcnn.errors import ModelError, StorageError
from vidcnn.inference.job import InferenceJob
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines import in_process
from vidcnn.pipelines.executors import StageSettings
from vidcnn.pipelines.infer import run_inference
from vidcnn.predictions.output import Output


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    for index in range(5):
        write_video(folder / f"{index}.mp4", 20 + 90 * index, rate=15, first_number=100 * index)
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


def spec(videos: Path, bundle: Path, out: Path, **values: object) -> InferSpec:
    return InferSpec(source=(str(videos),), out=str(out), model=str(bundle), step=4, **values)  # type: ignore[arg-type]


@pytest.mark.ray
def test_rows_are_the_same_to_the_last_bit_as_those_of_ray(videos: Path, bundle: Path, tmp_path: Path) -> None:
    tables = []
    for value in ("on", "off"):
        out = tmp_path / f"{value}.parquet"
        report = run_inference(
            spec(videos, bundle, out, in_process=value, probabilities=True, embedding=True), show_progress=False
        )
        assert report.in_process is (value == "on")
        tables.append(pq.read_table(out))
    assert tables[0].num_rows > 100
    assert tables[0].equals(tables[1])


def test_ray_is_not_loaded_for_a_few_videos(videos: Path, bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys, vidcnn; report = vidcnn.infer(sys.argv[1], out=sys.argv[2], model=sys.argv[3])\n"
        "print(report.in_process, 'ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(videos), str(tmp_path / "p.parquet"), str(bundle)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    assert done.stdout.splitlines()[-1] == "True False"


def test_what_fails_in_a_thread_ends_the_run_and_its_threads(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("no process for decoding can be started")

    before = threading.active_count()
    monkeypatch.setattr(in_process, "DecodeStage", fail)
    with pytest.raises(StorageError, match="no process for decoding"):
        run_inference(spec(videos, bundle, tmp_path / "p.parquet"), show_progress=False)
    assert threading.active_count() == before


def test_a_model_that_cannot_be_loaded_ends_the_run(videos: Path, bundle: Path, tmp_path: Path) -> None:
    other = Bundle.load(str(bundle))
    card = json.loads((bundle / "model.json").read_text())
    folder = tmp_path / "other"
    folder.mkdir()
    for path in bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert other.architecture == card["architecture"]
    card["arguments"] = {"width": 0.5}
    (folder / "model.json").write_text(json.dumps(card))
    result = vidcnn("infer", videos, "--out", tmp_path / "p.parquet", "--model", folder, "--quiet")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "p.parquet").exists()


def test_a_run_that_ends_early_leaves_no_thread_and_no_process(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Output) -> None:
        raise ModelError("ended on purpose")

    monkeypatch.setattr(Output, "commit", fail)
    monkeypatch.setattr(Output, "should_commit", lambda self, now: True)
    before = threading.active_count()
    children = set(psutil.Process().children(recursive=True))
    with pytest.raises(ModelError, match="on purpose"):
        run_inference(spec(videos, bundle, tmp_path / "p.parquet"), show_progress=False)
    assert threading.active_count() == before
    left = [child for child in psutil.Process().children(recursive=True) if child not in children]
    assert len(left) <= 1  # the one that plans, which serves the next run


@pytest.mark.parametrize(
    ("device", "num_gpus", "expected"),
    [("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]), ("cuda", 1, ["cuda"]), ("cpu", 0, ["cpu", "cpu"])],
)
def test_each_model_has_a_gpu_of_its_own(
    device: str, num_gpus: int, expected: list[str], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    def load(_: Bundle, *, device: str) -> None:
        devices.append(device)

    monkeypatch.setattr(in_process, "load_classifier", load)
    job = InferenceJob(spec(tmp_path, bundle, tmp_path / "p.parquet"), Bundle.load(bundle))
    resources = plan_resources(Machine(2.0, float(num_gpus), 2**34), use_gpus=device == "cuda", num_decoders=1)
    settings = StageSettings(
        plan=job.plan,
        decode=job.decode_settings(exact=False, batch_size=2),
        bundle=job.bundle,
        classifier={"device": device},
        row_format=job.row_format,
        max_unit_frames=100,
    )
    assert list(in_process.score_videos([], settings, resources)) == []
    assert sorted(devices) == expected
