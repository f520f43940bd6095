"""`benchmarks/gpu.py` runs from end to end without a GPU, and would notice what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.commands import PROJECT, environment
from tests.precisions import skip_where_imitated
from vidcnn.sampling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing((128, 171), (112, 112), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modules of the benchmarks be imported."""
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))


@pytest.fixture
def nvdec(programs: None) -> Any:
    from on_device import nvdec

    return nvdec


def test_every_part_runs_on_the_processor_and_finds_pixels_and_scores_right(tmp_path: Path) -> None:
    skip_where_imitated("bf16")
    out = tmp_path / "gpu.json"
    line = [sys.executable, PROJECT / "benchmarks" / "gpu.py", "--out", out]
    line += ["--device", "cpu", "--short", "--model", "simple3d"]
    done = subprocess.run(
        list(map(str, line)), env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    parts = report["parts"]
    assert not [(name, figures["failed"]) for name, figures in parts.items() if "failed" in figures]
    assert {name for name, figures in parts.items() if "left_out" in figures} == {
        *("graph", "compiled", "compiled_max_autotune")
    }
    assert parts["nvdec_correctness_h264"]["is_right"]
    assert parts["nvdec_correctness_hevc"]["is_right"]
    assert parts["classifier"]["scores_depend_on_the_clip_alone"]
    assert len(parts["ratios"]) == 4, "three ratios, and the seconds"
    assert report["is_trial"]


def test_the_network_can_be_measured_where_there_is_neither_pyav_nor_pyarrow(tmp_path: Path) -> None:
    code = "import sys; sys.modules['av'] = sys.modules['pyarrow'] = sys.modules['pydantic'] = None; import gpu"
    variables = environment() | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'benchmarks'}"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_that_fails_is_told_and_the_next_one_is_measured(programs: None, tmp_path: Path) -> None:
    from on_device.report import LeftOutError, Report

    def fail() -> dict[str, Any]:
        raise RuntimeError("an illegal memory access")

    def leave_out() -> dict[str, Any]:
        raise LeftOutError("there is none here")

    out = tmp_path / "report.json"
    report = Report({"device": "one"}, 60, out)
    report.part("first", fail)
    assert (
        "RuntimeError: an illegal memory access (test_gpu_benchmark.py:"
        in json.loads(out.read_text())["parts"]["first"]["failed"]
    )
    report.part("second", leave_out)
    report.part("third", lambda: {"speed": 1.0})
    report.part("fourth", lambda: {"speed": 1.0}, least_seconds=100)
    report.close()
    written = json.loads(out.read_text())
    assert written["device"] == "one"
    assert written["parts"]["second"]["left_out"] == "there is none here"
    assert written["parts"]["third"]["speed"] == 1.0
    assert written["parts"]["fourth"]["left_out"] == "60 s left, and it needs 100"


def test_a_part_that_does_not_return_ends_the_program_with_all_others_written(
    programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from on_device import report as module

    out = tmp_path / "report.json"
    codes: list[int] = []
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.2)
    report = module.Report({}, 0.1, out, end=codes.append)

    def hang() -> dict[str, Any]:
        until = time.monotonic() + 60
        while not codes and time.monotonic() < until:
            time.sleep(0.01)
        assert json.loads(out.read_text())["parts"]["endless"] == {"failed": "time was up"}
        return {}

    report.part("quick", lambda: {"speed": 1.0}, least_seconds=0)
    report.part("endless", hang, least_seconds=-1)
    assert codes == [0]
    assert json.loads(out.read_text())["parts"]["quick"]["speed"] == 1.0


def test_a_maker_that_fails_ends_the_waiting_for_what_it_makes(programs: None) -> None:
    from on_device.videos import Supply, measure

    def make() -> Any:
        yield 1
        raise RuntimeError("no more")

    supply = Supply([make], ahead=2)
    with pytest.raises(RuntimeError, match="no more"):
        measure(supply, lambda _: 1, 30)
    supply.close()


@pytest.mark.parametrize("size", [(340, 256), (350, 250), (172, 128), (112, 200)])
def test_pixels_made_on_the_device_are_those_that_the_processor_makes(
    size: tuple[int, int], nvdec: Any, tmp_path: Path
) -> None:
    import av

    from vidcnn.video.pixels import FrameConverter

    path = nvdec.write_pattern(tmp_path / "a.mp4", *size, num_frames=3)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            luma, chroma = nvdec.planes_of(frame)
            assert tuple(luma.shape) == size[::-1]
            found = nvdec.to_rgb(luma[None], chroma[None], PREPROCESSING)[0].numpy().astype(int)
            expected = FrameConverter(PREPROCESSING).convert(frame)
            assert np.abs(found - expected).max() <= 5  # OpenCV rounds to fixed points on the way
            assert np.abs(found - expected).mean() < 0.7


def test_a_decoder_that_crops_as_the_file_before_is_found_out(
    nvdec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nvdec.differ(tmp_path)
    assert nvdec.correctness(tmp_path, CPU, PREPROCESSING, num_frames=4)["is_right"]
    first_shape: list[Any] = []
    planes_of = nvdec.planes_of

    def crop_as_before(frame: Any) -> Any:
        luma, chroma = planes_of(frame)
        first_shape.append(luma.shape)
        height, width = (min(a, b) for a, b in zip(first_shape[0], luma.shape, strict=True))
        return luma[:height, :width], chroma[: height // 2, : width // 2]

    class Cropping(nvdec.KeptDecoder):  # type: ignore[misc, name-defined]
        def frames(self, path: Path) -> Any:
            for frame in super().frames(path):
                yield _Cropped(crop_as_before(frame))

    monkeypatch.setattr(nvdec, "KeptDecoder", Cropping)
    monkeypatch.setattr(nvdec, "planes_of", lambda one: one.planes if isinstance(one, _Cropped) else planes_of(one))
    found = nvdec.correctness(tmp_path, CPU, PREPROCESSING, num_frames=4)
    assert not found["is_right"]
    wrong = [name for name, one in found["files"].items() if not one["same_planes"]]
    assert wrong == ["1-350x250.mp4", "3-640x360.mp4"]


class _Cropped:
    """A frame with the wrong crop."""

    def __init__(self, planes: Any) -> None:
        self.planes = planes


def test_frames_that_are_lost_between_files_are_found_out(
    nvdec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Losing(nvdec.KeptDecoder):  # type: ignore[misc, name-defined]
        def frames(self, path: Path) -> Any:
            yield from list(super().frames(path))[:-1]

    monkeypatch.setattr(nvdec, "KeptDecoder", Losing)
    assert not nvdec.correctness(tmp_path, CPU, PREPROCESSING, num_frames=4)["is_right"]


def test_ratios_are_to_the_slower_ceiling_and_of_what_was_measured_only(programs: None) -> None:
    import gpu

    parts: dict[str, Any] = {
        "network": {"bf16": {8: 900.0, 32: 1000.0}},
        "copies": {"from_locked_memory": 4000.0},
        "classifier": {"many_batches": 950.0},
        "decoding": {"clips_per_second": 500.0},
        "pipeline": {"clips_per_second": 450.0},
        "nvdec": {"a.mp4": {1: 8000.0, 4: 16000.0}, "seconds": 9.0},
        "nvdec_pipeline": {"failed": "no session"},
    }
    assert gpu.ratios(parts, 32) == {
        "classifier_to_slower_of_network_and_copies": 0.95,
        "pipeline_to_slower_of_network_and_decoding": 0.9,
    }
    parts["nvdec_pipeline"] = {"clips_per_second": 400.0}
    assert gpu.ratios(parts, 32)["nvdec_pipeline_to_slower_of_network_and_nvdec"] == 0.8
    assert gpu.ratios({"network": {"failed": "out of memory"}}, 32) == {}
