from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from vidcnn.cluster.control_groups import Limits
from vidcnn.doctor.processors import check_arithmetic, check_processors, usable_cores


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Big  CPU\nflags\t\t: sse avx2 avx512f avx512_vnni avx512_bf16\n\n"
        "processor\t: 1\nmodel name\t: Other\n"
    )
    return file


def test_the_model_the_number_and_the_features_are_named(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    cores, features = check_processors(Limits(), cpuinfo)
    assert cores.value.endswith("; Big CPU")
    assert features.value == "AVX2, AVX-512, VNNI, bf16; without AMX"
    assert (cores.level, features.level) == ("good", "good")


def test_a_share_of_a_processor_is_a_warning_and_a_limit_of_the_container_is_named(cpuinfo: Path) -> None:
    cores, _ = check_processors(Limits(cpus=0.5), cpuinfo)
    assert cores.level == "warning"
    assert "--cpus 1" in cores.remedy
    assert f"0.5 of {os.cpu_count()}, a limit of the container" in cores.value


def test_fewer_processors_may_be_used_than_there_are() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores(Limits()) == 1
        assert usable_cores(Limits(cpus=0.25)) == 0.25
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_processor_without_avx2_is_a_warning(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    cpuinfo.write_text("model name: Old\nflags: sse sse2\n")
    _, features = check_processors(Limits(), cpuinfo)
    assert (features.level, features.facts["AVX2"]) == ("warning", False)


def test_a_machine_that_says_nothing_of_its_processors_is_no_problem(tmp_path: Path) -> None:
    cores, features = check_processors(Limits(), tmp_path / "none")
    assert (cores.level, features.level, features.value) == ("good", "good", "not known")


@pytest.mark.parametrize("reason", [None, "the processor does not multiply int8 (it has no VNNI)"])
def test_what_the_features_mean_is_said(reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidcnn.inference.int8_ops.why_no_int8", lambda: reason)
    monkeypatch.setattr("vidcnn.inference.devices.fastest_precision", lambda device: "bf16")
    (found,) = check_arithmetic()
    said = "yes" if reason is None else f"no, {reason}"
    assert found.value == f"{said}; the fastest float precision is bf16"
    assert found.level == ("good" if reason is None else "note")
