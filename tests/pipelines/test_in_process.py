"""Jobs in the command's own process give the rows that they give on Ray, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.commands import PROJECT, environment, vidcnn
from tests.videos import write_video
from vidcnn.cluster import Machine, plan_resources
from vidcnn.config import InferSpec
from vidcnn.errors import ModelError, SourceError, StorageError
from vidcnn.inference.job import InferenceJob
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines import in_process, pending
from vidcnn.pipelines.executors import StageSettings
from vidcnn.pipelines.infer import run_inference
from vidcnn.predictions.output import Output
from vidcnn.reporting.run_report import RunRecord
from vidcnn.sources import Listing, SourceVideo, listing, lists


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
    assert threading.active_count() <= before


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
    assert threading.active_count() <= before
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


def test_first_rows_are_committed_while_the_source_is_still_being_listed(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_rows = threading.Event()
    list_all, commit = Listing.__iter__, Output.commit

    def list_slowly(listing: Listing) -> Iterator[SourceVideo]:
        for index, video in enumerate(list_all(listing)):
            if index == 4:
                assert has_rows.wait(120)
            yield video

    def commit_and_tell(output: Output) -> None:
        commit(output)
        if not output.is_empty:
            has_rows.set()

    monkeypatch.setattr(pending, "FIRST_VIDEOS", 2)
    monkeypatch.setattr(pending, "_LEAST_BLOCK_VIDEOS", 1)
    monkeypatch.setattr(Output, "should_commit", lambda output, now: True)
    whole = run_inference(spec(videos, bundle, tmp_path / "whole.parquet", in_process="on"), show_progress=False)
    monkeypatch.setattr(Listing, "__iter__", list_slowly)
    monkeypatch.setattr(Output, "commit", commit_and_tell)
    record = RunRecord()
    report = run_inference(
        spec(videos, bundle, tmp_path / "slow.parquet", in_process="on"), show_progress=False, record=record
    )
    assert (report.num_videos, report.num_videos_done, record.num_listed) == (6, 6, 6)
    assert report.summary == whole.summary
    assert pq.read_table(tmp_path / "slow.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))
    assert record.progress is not None
    assert (record.progress.fraction, record.progress.num_videos) == (1.0, 6)


def test_a_list_that_turns_out_to_be_malformed_ends_the_run_and_what_is_committed_stays(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "FIRST_VIDEOS", 2)
    monkeypatch.setattr(pending, "_LEAST_BLOCK_VIDEOS", 1)
    monkeypatch.setattr(listing, "_LOOKUP_BATCH", 1)
    has_rows = threading.Event()
    read = lists.list_lines

    def read_slowly(file: IO[bytes]) -> Iterator[str]:
        for line in read(file):
            yield line
            assert "4.mp4" not in line or has_rows.wait(120)

    def commit_and_tell(output: Output) -> None:
        commit(output)
        if not output.is_empty:
            has_rows.set()

    commit = Output.commit
    monkeypatch.setattr(lists, "list_lines", read_slowly)
    monkeypatch.setattr(Output, "commit", commit_and_tell)
    monkeypatch.setattr(Output, "should_commit", lambda output, now: True)
    text = "\n".join([*(f"{videos}/{index}.mp4" for index in range(5)), ""])
    (tmp_path / "list.txt").write_text(f"{text}\0\n")
    job = spec(videos, bundle, tmp_path / "preds", in_process="on")
    job = job.model_copy(update={"source": (str(tmp_path / "list.txt"),)})
    record = RunRecord()
    with pytest.raises(SourceError, match="it is not text in UTF-8"):
        run_inference(job, show_progress=False, record=record)
    assert record.progress is not None
    num_done = record.progress.num_videos_done
    assert 1 <= num_done <= 5
    (tmp_path / "list.txt").write_text(text)
    report = run_inference(job, show_progress=False)
    assert (report.num_videos, report.num_videos_done, report.summary.num_videos) == (5, 5 - num_done, 5)


def test_outputs_of_shards_beside_each_other_are_the_table_of_one_run(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in videos.iterdir())
    for number, shard in enumerate((names, names[::2], names[1::2])):
        source = videos.parent / f"shard-{number}.txt"
        source.write_text("\n".join(f"videos/{name}" for name in shard))
        out = tmp_path / "preds" / str(number) if number else tmp_path / "whole"
        job = spec(videos, bundle, out, in_process="on").model_copy(update={"source": (str(source),)})
        run_inference(job, show_progress=False)
    order = [("video", "ascending"), ("clip", "ascending")]
    whole, shards = (ds.dataset(tmp_path / name).to_table().sort_by(order) for name in ("whole", "preds"))
    assert whole.num_rows > 100
    assert shards.equals(whole)
