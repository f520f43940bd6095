"""A network that does not compute what its bundle records is not used: each fault is made, and seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from vidcnn.choices import Precision
from vidcnn.errors import ModelError, PrecisionError
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.golden import TOLERANCES, GoldenCheck, with_golden
from vidcnn.inference.int8_ops import IntegerConv3d, why_no_int8
from vidcnn.inference.quantizing import calibrate
from vidcnn.models.bundle import Bundle
from vidcnn.models.golden import golden_clips
from vidcnn.models.resolve import make_bundle

needs_int8 = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


def small(num_classes: int = 4, seed: int = 0) -> Bundle:
    return make_bundle("simple3d", weights="random", num_classes=num_classes, arguments={"width": 0.25}, seed=seed)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return with_golden(small())


def compute_wrong(monkeypatch: pytest.MonkeyPatch, is_wrong: Callable[[Tensor], bool]) -> None:
    """Let 3D convolutions lose their last channels of input where a function of the weights says so."""
    right = nn.Conv3d.forward

    def forward(self: nn.Conv3d, values: Tensor) -> Tensor:
        if is_wrong(self.weight):
            values = values.clone()
            values[:, values.shape[1] // 2 :] = 0
        return right(self, values)

    monkeypatch.setattr(nn.Conv3d, "forward", forward)


def is_bf16(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16


def is_channels_last(weight: Tensor) -> bool:
    return not weight.is_contiguous()


@pytest.mark.parametrize("name", ["simple3d", "mc3_18"])
def test_a_network_that_computes_rightly_is_far_within_the_tolerance(name: str) -> None:
    made = make_bundle(name, weights="random", num_classes=5)
    preprocessing = replace(made.preprocessing, resize=(40, 40), crop=(32, 32))
    made = with_golden(replace(made, sampling=replace(made.sampling, num_frames=4), preprocessing=preprocessing))
    assert made.golden is not None
    tighter = {precision: tolerance / 4 for precision, tolerance in TOLERANCES.items()}
    made = replace(made, golden=replace(made.golden, tolerances=tighter))
    precisions: tuple[Precision, ...] = ("exact", "fp32", "bf16")
    for precision in precisions:
        assert Classifier(made, device="cpu", precision=precision).precision == precision


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_of_all_sizes_are_checked(bundle: Bundle, batch_size: int) -> None:
    assert Classifier(bundle, device="cpu", precision="fp32", batch_size=batch_size).batch_size == batch_size


def test_weights_that_were_exchanged_are_refused_though_their_checksum_fits(bundle: Bundle, tmp_path: Any) -> None:
    replace(small(seed=1), golden=bundle.golden).save(tmp_path / "b")
    exchanged = Bundle.load(tmp_path / "b")
    for precision in ("auto", "exact", "bf16"):
        with pytest.raises(ModelError, match="does not give the scores that its bundle records") as caught:
            Classifier(exchanged, device="cpu", precision=precision)  # type: ignore[arg-type]
        assert not isinstance(caught.value, PrecisionError)
        assert f"on cpu with torch {torch.__version__}" in caught.value.message
        assert "0.10% is allowed" in caught.value.message
        assert "copy the whole bundle again" in caught.value.hint


def test_another_normalisation_is_refused(bundle: Bundle) -> None:
    preprocessing = replace(bundle.preprocessing, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    with pytest.raises(ModelError, match="does not give the scores"):
        Classifier(replace(bundle, preprocessing=preprocessing), device="cpu", precision="exact")


def test_classes_in_another_order_are_named(bundle: Bundle) -> None:
    state = load(bundle.weights)
    order = [1, 0, 2, 3]
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][order].contiguous()
    with pytest.raises(ModelError, match=r"embeddings are 0\.00% off.*they are those of other classes") as caught:
        Classifier(replace(bundle, weights=save(state)), device="cpu", precision="bf16")
    assert "are in another order than they were" in caught.value.hint


def test_a_wrong_kernel_in_bfloat16_is_seen_and_float32_proposed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_wrong(monkeypatch, is_bf16)
    with pytest.raises(PrecisionError, match=r"in bf16 gives wrong scores for the golden clips .* 5\.00% is") as caught:
        Classifier(bundle, device="cpu", precision="bf16")
    assert caught.value.hint == "use --precision fp32"
    assert Classifier(bundle, device="cpu", precision="fp32").precision == "fp32"
    assert Classifier(replace(bundle, golden=None), device="cpu", precision="bf16").precision == "bf16"


def test_a_wrong_kernel_for_channels_last_leaves_the_exact_precision(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_wrong(monkeypatch, is_channels_last)
    with pytest.raises(PrecisionError, match="in fp32 gives wrong scores") as caught:
        Classifier(bundle, device="cpu", precision="fp32")
    assert caught.value.hint == "use --precision exact"
    assert Classifier(bundle, device="cpu", precision="exact").precision == "exact"


@pytest.mark.parametrize("precision", ["exact", "fp32", "bf16"])
def test_where_all_kernels_are_wrong_there_is_no_safer_way(
    precision: Precision, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_wrong(monkeypatch, lambda weight: True)
    with pytest.raises(ModelError, match="not even in exact precision"):
        Classifier(bundle, device="cpu", precision=precision)


def test_scores_that_are_no_numbers_are_wrong(bundle: Bundle) -> None:
    def nothing(clips: Any) -> tuple[Tensor, Tensor]:
        return torch.full((len(clips), 4), torch.nan), torch.full((len(clips), bundle.embedding_size), torch.nan)

    text = GoldenCheck(bundle, "bf16", torch.device("cpu"), 2).difference(nothing)
    assert text is not None
    assert "embeddings are no numbers, logits no numbers" in text


def test_clips_of_another_length_are_no_reason_not_to_check(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = replace(bundle, sampling=replace(bundle.sampling, num_frames=20))
    assert Classifier(longer, device="cpu", precision="bf16").precision == "bf16"
    compute_wrong(monkeypatch, is_bf16)
    with pytest.raises(PrecisionError):
        Classifier(longer, device="cpu", precision="bf16")
    # A compiled network takes the clips that it was compiled for, and no others.
    assert not GoldenCheck(longer, "bf16", torch.device("cpu"), 2, compiled=True).is_known
    assert GoldenCheck(bundle, "bf16", torch.device("cpu"), 2, compiled=True).is_known


def test_a_record_of_a_later_formula_is_not_compared(bundle: Bundle) -> None:
    assert bundle.golden is not None
    later = replace(small(seed=1), golden=replace(bundle.golden, formula=99))
    assert Classifier(later, device="cpu", precision="exact").precision == "exact"


@pytest.mark.parametrize("num_classes", [1, 2])
def test_few_classes_that_are_as_likely_as_each_other_are_no_false_alarm(num_classes: int) -> None:
    state = load(small(num_classes).weights)
    state["classifier.weight"][:] = state["classifier.weight"][0].clone()
    state["classifier.bias"][:] = 0
    made = with_golden(replace(small(num_classes), weights=save(state)))
    for precision in ("fp32", "bf16"):
        assert Classifier(made, device="cpu", precision=precision).precision == precision  # type: ignore[arg-type]


def test_a_network_that_gives_no_numbers_is_not_recorded() -> None:
    state = load(small().weights)
    state["classifier.bias"][0] = torch.nan
    assert with_golden(replace(small(), weights=save(state))).golden is None


def test_a_large_network_has_one_golden_clip() -> None:
    made = make_bundle("s3d", weights="random", num_classes=3)
    made = with_golden(replace(made, sampling=replace(made.sampling, num_frames=14)))
    assert made.golden is not None
    assert len(made.golden.expected["exact"].spreads) == 1


@pytest.fixture(scope="module")
def quantized(bundle: Bundle) -> Bundle:
    found = calibrate(bundle, golden_clips(2, *bundle.clip_size))
    return with_golden(replace(bundle, quantization=found))


@needs_int8
def test_a_quantized_bundle_keeps_the_float_scores_and_has_its_own_in_int8(bundle: Bundle, quantized: Bundle) -> None:
    assert bundle.golden is not None
    assert quantized.golden is not None
    assert set(bundle.golden.expected) == {"exact"}
    assert set(quantized.golden.expected) == {"exact", "int8"}
    assert quantized.golden.expected["exact"] == bundle.golden.expected["exact"]
    for precision in ("int8", "bf16", "exact"):
        assert Classifier(quantized, device="cpu", precision=precision).precision == precision  # type: ignore[arg-type]
    assert with_golden(replace(quantized, quantization=None)).golden == bundle.golden


@needs_int8
def test_a_wrong_kernel_in_int8_is_seen_and_float32_proposed(
    quantized: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = IntegerConv3d.forward

    def forward(self: IntegerConv3d, values: Tensor) -> Tensor:
        found: Tensor = right(self, values)
        return found.roll(1, dims=1)  # channels in another order

    monkeypatch.setattr(IntegerConv3d, "forward", forward)
    with pytest.raises(PrecisionError, match="in int8 gives wrong scores") as caught:
        Classifier(quantized, device="cpu")
    assert caught.value.hint == "use --precision fp32"


@needs_int8
def test_another_calibration_than_the_recorded_one_is_seen(quantized: Bundle) -> None:
    assert quantized.quantization is not None
    scales = {name: (step / 4, zero) for name, (step, zero) in quantized.quantization.scales.items()}
    other = replace(quantized, quantization=replace(quantized.quantization, scales=scales))
    with pytest.raises(PrecisionError, match="in int8 gives wrong scores"):
        Classifier(other, device="cpu")


def test_logits_are_measured_by_their_spread(bundle: Bundle) -> None:
    assert bundle.golden is not None
    embeddings, logits = bundle.golden.expected["exact"].read()

    def moved(clips: Any) -> tuple[Tensor, Tensor]:
        spreads = np.array(bundle.golden.expected["exact"].spreads)[:, None]  # type: ignore[union-attr]
        changed = logits.copy()
        changed[:, 1:2] += 0.2 * spreads
        return torch.from_numpy(changed), torch.from_numpy(embeddings)

    text = GoldenCheck(bundle, "bf16", torch.device("cpu"), 2).difference(moved)
    assert text is not None
    assert "embeddings are 0.00% off, logits 20.00% off, and 5.00% is allowed" in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["exact", "fp32", "bf16"])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_a_gpu_is_within_the_tolerance_of_what_a_processor_recorded(precision: Precision, compile: Any) -> None:
    made = make_bundle("r3d_18", weights="random", num_classes=5)
    made = with_golden(replace(made, sampling=replace(made.sampling, num_frames=8)))
    if precision == "exact" and compile == "on":
        pytest.skip("exact precision is not compiled")
    assert Classifier(made, device="cuda", precision=precision, compile=compile, batch_size=4).device == "cuda"
