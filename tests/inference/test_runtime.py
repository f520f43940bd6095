from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vidcnn.config import InferSpec
from vidcnn.errors import CompileError, PrecisionError
from vidcnn.inference import classifier as inference
from vidcnn.inference.golden import with_golden
from vidcnn.inference.runtime import Runtime, choose_runtime, instead, load_safely, mixed
from vidcnn.models.bundle import Bundle


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


@pytest.mark.parametrize(
    ("runtime", "safer"),
    [
        (Runtime("bf16", True), Runtime("bf16", False)),
        (Runtime("bf16", False), Runtime("fp32", False)),
        (Runtime("int8", False), Runtime("fp32", False)),
        (Runtime("fp32", True), Runtime("fp32", False)),
        (Runtime("fp32", False), Runtime("exact", False)),
    ],
)
def test_what_computes_wrongly_has_a_next_safer_way(runtime: Runtime, safer: Runtime) -> None:
    assert runtime.safer() == safer


def test_a_run_with_rows_says_of_what_model_they_are() -> None:
    wrong = PrecisionError("r3d_18 in bf16 gives wrong scores", "use --precision fp32")
    error = mixed(wrong, Runtime("bf16", False), "preds")
    assert isinstance(error, PrecisionError)
    assert error.message == (
        "the rows of preds are of a model in bf16 precision, and it does not compute rightly so everywhere: "
        "r3d_18 in bf16 gives wrong scores"
    )
    assert instead(wrong, Runtime("fp32", False)) == (
        "the model runs in fp32 precision: r3d_18 in bf16 gives wrong scores"
    )
    compiling = CompileError("there is no compiler", "install one")
    assert instead(compiling, Runtime("bf16", False)) == "the model runs uncompiled: there is no compiler: install one"


def test_a_model_is_loaded_in_the_first_precision_in_which_it_computes_rightly(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = nn.Conv3d.forward

    def forward(self: nn.Conv3d, values: torch.Tensor) -> torch.Tensor:
        found = right(self, values)
        return found if self.weight.is_contiguous() else found.roll(1, dims=1)

    monkeypatch.setattr(nn.Conv3d, "forward", forward)
    golden = with_golden(Bundle.load(bundle))
    found, notices = load_safely(golden, precision="bf16", device="cpu")
    assert found.precision == "exact"
    assert [notice.partition(":")[0] for notice in notices] == [
        "the model runs in fp32 precision",
        "the model runs in exact precision",
    ]
    found, notices = load_safely(golden, precision="exact", device="cpu")
    assert (found.precision, notices) == ("exact", ())
