from __future__ import annotations

from typing import Any

import pytest

from vidcnn.config import InferSpec
from vidcnn.inference import classifier as inference
from vidcnn.inference.runtime import Runtime, choose_runtime


def spec(**values: Any) -> InferSpec:
    return InferSpec(source=("videos",), **values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Runtime("bf16", True)),
        ({"precision": "fp32"}, Runtime("fp32", True)),
        ({"compile": "off"}, Runtime("bf16", False)),
        ({"precision": "exact"}, Runtime("exact", False)),
        ({"precision": "exact", "compile": "on"}, Runtime("exact", False)),
    ],
)
def test_a_run_that_goes_on_takes_what_the_first_one_chose_save_for_what_is_asked_for(
    values: dict[str, Any], expected: Runtime
) -> None:
    assert Runtime.from_settings({"precision": "bf16", "compiled": True}, spec(**values)) == expected


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ({"precision": "fp32"}, True),
        ({"precision": "fp32", "compile": "on"}, False),
        ({"precision": "fp32", "compile": "off"}, False),
        ({"precision": "exact"}, False),
    ],
)
def test_a_model_is_compiled_where_that_pays_unless_the_user_says(
    values: dict[str, Any], asks: bool, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def compiling_pays(bundle: Any, device: str, num_clips: int) -> bool:
        asked.append(num_clips)
        return pays

    monkeypatch.setattr(inference, "compiling_pays", compiling_pays)
    bundle: Any = None
    chosen = choose_runtime(bundle, spec(**values), "cpu", 1000)
    assert asked == ([1000] if asks else [])
    assert chosen.compiled == (values.get("compile") == "on" or (asks and pays))
    assert chosen.precision == values["precision"]


def test_the_precision_is_the_fastest_of_the_device_unless_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = {"cpu": "bf16", "cuda": "fp32"}
    monkeypatch.setattr("vidcnn.inference.network.best_precision", lambda _, device: fastest[device.type])
    bundle: Any = None
    assert choose_runtime(bundle, spec(compile="off"), "cpu", 1).precision == "bf16"
    assert choose_runtime(bundle, spec(compile="off", precision="exact"), "cpu", 1).precision == "exact"
