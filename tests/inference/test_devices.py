from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.precisions import skip_where_imitated
from vidcnn.errors import ModelError
from vidcnn.inference.devices import bf16_gain, cpu_features, fastest_precision, ieee_float32, resolve_device

CPU = torch.device("cpu")


def settings() -> list[str]:
    backends: Any = torch.backends
    return [
        setting.fp32_precision
        for setting in (
            backends.cudnn.conv,
            backends.cuda.matmul,
            backends.mkldnn.conv,
            backends.mkldnn.matmul,
        )
    ]


def test_float32_shortcuts_are_off_only_inside() -> None:
    before = settings()
    torch.set_float32_matmul_precision("medium")
    try:
        allowed = settings()
        assert allowed != before
        with ieee_float32():
            assert settings() == ["ieee"] * 4
        assert settings() == allowed
    finally:
        torch.set_float32_matmul_precision("highest")


def test_devices_are_resolved_by_name() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match="unknown device 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(ModelError, match=r"this machine has no device 'cuda:99'"):
        resolve_device("cuda:99")


@pytest.mark.parametrize(
    ("features", "gain", "expected"),
    [
        ({"avx2", "avx512_f"}, 2.0, "fp32"),
        ({"avx2", "avx512_bf16"}, 2.0, "bf16"),
        ({"avx2", "avx512_bf16"}, 0.6, "fp32"),
        ({"avx512_bf16", "amx_tile"}, 0.6, "bf16"),
        ({"neon", "bf16"}, 1.5, "bf16"),
    ],
)
def test_bf16_is_for_processors_that_are_faster_in_it(
    features: set[str], gain: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.inference.devices.cpu_features", lambda: frozenset(features))
    monkeypatch.setattr("vidcnn.inference.devices.bf16_gain", lambda: gain)
    assert fastest_precision(CPU) == expected


def test_the_gain_is_measured_and_the_number_of_threads_put_back() -> None:
    skip_where_imitated("bf16")
    before = torch.get_num_threads()
    assert 0 < bf16_gain() < 20
    assert torch.get_num_threads() == before
    assert bf16_gain() == bf16_gain()


def test_features_of_the_processor_are_known_to_older_torch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name, value in (("avx2", True), ("avx512", True), ("avx512_bf16", True), ("amx_tile", False)):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda value=value: value, raising=False)
    assert cpu_features() == {"avx2", "avx512", "avx512_bf16"}
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported")
    assert cpu_features() == {"avx2", "avx512"}


def test_exact_arithmetic_of_one_thread_lasts_while_others_end_theirs() -> None:
    before = settings()
    first, second = ieee_float32(), ieee_float32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert settings() == ["ieee"] * 4
    second.__exit__(None, None, None)
    assert settings() == before
