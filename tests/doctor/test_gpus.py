from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vidcnn.doctor.gpus import check_gpus, has_kernels
from vidcnn.reporting.findings import Finding

GIB = 2**30
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"


@pytest.mark.parametrize(
    ("capability", "built", "fits"),
    [
        ((8, 6), ["sm_75", "sm_80"], True),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((9, 0), ["sm_80", "sm_90a"], True),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_120"], True),
        ((3, 5), [], True),
    ],
)
def test_a_build_of_torch_has_code_for_a_gpu_or_not(capability: tuple[int, int], built: list[str], fits: bool) -> None:
    assert has_kernels(capability, built) is fits


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The first GPU, as the kernel shows it, and the driver's account of itself."""
    driver = tmp_path / "version"
    driver.write_text(DRIVER)
    (tmp_path / "nvidia0").touch()
    return tmp_path / "nvidia0", driver


class FakeCuda:
    """What torch says of GPUs that are not here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> None:
        self.free, self.built, self.cudnn = 70 * GIB, ["sm_80", "sm_90"], 91_900
        properties = SimpleNamespace(major=9, minor=0, name="NVIDIA H100")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (self.free, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: self.built)
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: self.cudnn)


def test_gpus_are_named_with_their_memory_and_the_driver(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeCuda(monkeypatch, count=2)
    first, second, driver = check_gpus(*files)
    assert (first.name, first.value, first.level) == ("cuda:0", "NVIDIA H100, 70 of 80 GiB free", "good")
    assert (second.name, second.short) == ("cuda:1", "2 x NVIDIA H100")
    assert driver.value == f"550.54.15, CUDA {torch.version.cuda}"


def test_what_does_not_fit_a_gpu_is_named(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    cuda.free, cuda.cudnn = 20 * GIB, 91_002
    busy, _, cudnn = check_gpus(*files)
    assert (busy.level, busy.problem) == ("warning", "other programs have 60 of the 80 GiB of cuda:0")
    assert (cudnn.level, "9.15" in cudnn.remedy) == ("warning", True)
    cuda.built = ["sm_75", "sm_80"]
    (gpu, *_) = check_gpus(*files)
    assert (gpu.level, "(sm_90): it has sm_75, sm_80" in gpu.problem) == ("failure", True)


def test_a_gpu_that_gives_an_error_is_named(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore")

    FakeCuda(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    (gpu, *_) = check_gpus(*files)
    assert (gpu.level, gpu.problem) == (
        "failure",
        "cuda:0 cannot be used: CUDA error: uncorrectable ECC error encountered",
    )


def without_cuda(monkeypatch: pytest.MonkeyPatch, warning: str = "", built: str | None = "12.8") -> None:
    def is_available() -> bool:
        if warning:
            warnings.warn(warning, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.version, "cuda", built)


def test_a_machine_without_gpus_is_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    (found,) = check_gpus(tmp_path / "none", tmp_path / "none")
    assert (found.level, found.value) == ("note", "none: models run on the processors")


def only(findings: list[Finding]) -> Finding:
    (found,) = findings
    return found


def test_a_gpu_that_torch_cannot_use_will_fail(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    without_cuda(monkeypatch, "The NVIDIA driver on your system is too old")
    found = only(check_gpus(*files))
    assert found.level == "failure"
    assert "driver 550.54.15: The NVIDIA driver on your system is too old" in found.problem
    without_cuda(monkeypatch, built=None)
    found = only(check_gpus(*files))
    assert found.problem == "there is a GPU, and this torch was built for processors alone"


def test_a_gpu_that_is_hidden_on_purpose_is_no_problem(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cuda(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert only(check_gpus(*files)).level == "note"
