"""What is settled before a job runs, and in which order: nothing is started for a job that cannot be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.videos import write_video
from vidcnn.cluster import Machine
from vidcnn.config import InferSpec
from vidcnn.errors import OutputBusyError, RunInterruptedError, SourceError, UsageError, VidcnnError, VideoError
from vidcnn.inference.runtime import Runtime
from vidcnn.inference.scoring import SegmentRows, video_without_plan
from vidcnn.pipelines import dataset, in_process
from vidcnn.pipelines import prepare as preparing
from vidcnn.pipelines.prepare import prepare
from vidcnn.predictions.output_storage import look_at, open_storage
from vidcnn.sources.keys import VideoKey


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to a Ray that is not there, and when the model is loaded."""
    found: list[str] = []
    load = preparing.load_bundle

    @contextmanager
    def open_ray(*, use_gpus: bool, has_begun: Any) -> Iterator[Machine]:
        found.append("start with GPUs" if use_gpus else "start")
        yield Machine(4, 0, 2**32)
        found.append("end")

    def load_and_tell(spec: InferSpec) -> Any:
        found.append("load")
        return load(spec)

    monkeypatch.setattr(preparing, "open_ray", open_ray)
    monkeypatch.setattr(preparing, "load_bundle", load_and_tell)
    return found


@pytest.fixture
def spec(tmp_path: Path, bundle: Path) -> InferSpec:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 30)
    return InferSpec(source=(str(tmp_path / "videos"),), out=str(tmp_path / "preds.parquet"), model=str(bundle))


def test_a_source_or_an_output_that_will_not_do_is_told_before_anything_is_loaded(
    spec: InferSpec, events: list[str], tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    bare = spec.model_copy(update={"source": (str(tmp_path / "bare"),)})
    with pytest.raises(SourceError, match="contains no video"), prepare(bare, open_storage, hint="", computes=True):
        pass
    gone = spec.model_copy(update={"source": (str(tmp_path / "gone"),)})
    with pytest.raises(SourceError), prepare(gone, open_storage, hint="", computes=True):
        pass
    holder = open_storage(spec.out)
    try:
        with pytest.raises(OutputBusyError), prepare(spec, open_storage, hint="", computes=True):
            pass
    finally:
        holder.close()
    assert events == []


def test_ray_is_not_started_for_a_model_that_there_is_not(spec: InferSpec, events: list[str]) -> None:
    wrong = spec.model_copy(update={"model": "r3d_81"})
    with pytest.raises(VidcnnError, match="r3d_81"), prepare(wrong, open_storage, hint="", computes=True):
        pass
    assert events == ["load"]


def run_once(spec: InferSpec) -> None:
    with prepare(spec, open_storage, hint="", computes=True) as prepared:
        assert prepared.recorded is None
        prepared.output.use_settings(prepared.job.settings(Runtime("fp32", False)))
        assert prepared.pending.num_videos == 1
        row = video_without_plan(VideoKey("b.mp4", 1, 2), VideoError("unreadable", "it is empty"), prepared.job.schema)
        assert isinstance(row, SegmentRows)
        prepared.output.add(row.segment, row.rows)
        prepared.output.publish()


def test_ray_starts_beside_the_model_for_a_new_output_and_when_it_is_asked_for_otherwise(
    spec: InferSpec, events: list[str]
) -> None:
    spec = spec.model_copy(update={"in_process": "off"})
    run_once(spec)
    assert [event for event in events if event != "load"] == ["start with GPUs", "end"]
    events.clear()
    with prepare(spec, open_storage, hint="", computes=True) as prepared:
        assert events == ["load"]
        assert prepared.choose_executor(1) is dataset
        assert prepared.machine.num_cpus == 4
        assert events == ["load", "start with GPUs"]
        assert not prepared.in_process
    assert events == ["load", "start with GPUs", "end"]


def test_a_few_videos_are_for_this_process_unless_their_clips_are_many(spec: InferSpec, events: list[str]) -> None:
    with prepare(spec, look_at, hint="", computes=True) as prepared:
        assert prepared.choose_executor(512) is in_process
        assert prepared.in_process
        assert prepared.machine.num_cpus >= 1
    assert events == ["load"]
    with prepare(spec, look_at, hint="", computes=True) as prepared:
        assert prepared.choose_executor(513) is dataset
        assert not prepared.in_process
    assert events == ["load", "load", "start with GPUs", "end"]


@pytest.mark.parametrize("change", [{"actors": "2"}, {"decoders": 3}, {"in_process": "off"}])
def test_who_wants_a_pool_gets_ray(spec: InferSpec, events: list[str], change: dict[str, Any]) -> None:
    with prepare(spec.model_copy(update=change), look_at, hint="", computes=True) as prepared:
        assert prepared.choose_executor(1) is dataset
    assert "start with GPUs" in events


def test_many_videos_are_for_ray_which_starts_beside_the_model(spec: InferSpec, events: list[str]) -> None:
    folder = Path(spec.source[0])
    for number in range(64):
        os.link(folder / "a.mp4", folder / f"b{number}.mp4")
    with prepare(spec, look_at, hint="", computes=True):
        assert sorted(events) == ["load", "start with GPUs"]
    events.clear()
    wanted = spec.model_copy(update={"in_process": "on"})
    with prepare(wanted, look_at, hint="", computes=True) as prepared:
        assert prepared.choose_executor(10**6) is in_process
    assert events == ["load"]


def test_the_model_runs_as_it_did_when_the_output_was_written(spec: InferSpec, events: list[str]) -> None:
    run_once(spec)
    with prepare(spec, look_at, hint="", computes=True) as prepared:
        assert prepared.recorded == Runtime("fp32", False)
        assert prepared.choose_runtime(10**9) == Runtime("fp32", False)
    other = spec.model_copy(update={"stride": 3})
    with pytest.raises(VidcnnError, match="stride"), prepare(other, look_at, hint="", computes=True):
        pass


def test_a_gpu_that_is_wanted_and_not_there_is_an_error(spec: InferSpec, events: list[str]) -> None:
    wanting = spec.model_copy(update={"device": "cuda", "in_process": "off"})
    with pytest.raises(UsageError, match="no GPU"), prepare(wanting, look_at, hint="", computes=True) as prepared:
        assert prepared.device
    wanting = spec.model_copy(update={"device": "cuda"})
    with prepare(wanting, look_at, hint="", computes=True) as prepared:
        prepared.choose_executor(1)
        with pytest.raises(UsageError, match="no GPU"):
            assert prepared.device
    with prepare(spec, look_at, hint="", computes=False) as prepared:
        assert prepared.device == "cpu"
        assert prepared.plan_resources(100).num_decoders >= 1
    assert "start" in events


def test_an_interrupted_block_says_what_becomes_of_the_work(spec: InferSpec, events: list[str]) -> None:
    with (
        pytest.raises(RunInterruptedError) as caught,
        prepare(spec, look_at, hint="nothing was written", computes=False),
    ):
        raise KeyboardInterrupt
    assert caught.value.hint == "nothing was written"
