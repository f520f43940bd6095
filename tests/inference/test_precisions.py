"""What the arithmetic of each precision promises: which pixels give which scores, and what may not change them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.inference.cases import Clips, clips_of, small_bundle, threads  # noqa: F401
from tests.precisions import is_imitated, skip_where_imitated
from vidcnn.choices import Precision
from vidcnn.inference.batch_sizes import choose_batch_size, default_batch_size, most_clips
from vidcnn.inference.classifier import Classifier
from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle

pytestmark = pytest.mark.usefixtures("threads")


def smooth_clip(num_frames: int, height: int, width: int) -> Clips:
    """A moving gradient, uint8 (1, T, H, W, C)."""
    time, rows, columns = np.ogrid[:num_frames, :height, :width]
    value = 127.5 * (1 + np.sin(rows / 17 + columns / 11 + time / 3))
    return np.stack([value, value[:, ::-1], value[:, :, ::-1]], axis=-1).round().astype(np.uint8)[None]


def calibrated(bundle: Bundle, clips: Tensor) -> Bundle:
    """Set batch normalisation to the statistics of `clips`: without it, deep random networks say the same of all."""
    from safetensors.torch import save

    model = build_model(bundle)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        model(clips)
    return replace(bundle, weights=save(model.state_dict()))


# Frame sizes that are odd, upright, small and large; fewer frames than the default where the network allows it.
ZOO = [
    ("r3d_18", 16, (131, 97)),
    ("mc3_18", 8, (240, 321)),
    ("r2plus1d_18", 8, (128, 171)),
    ("s3d", 14, (271, 361)),
    ("mvit_v2_s", 16, (240, 427)),
    ("swin3d_t", 2, (333, 257)),
]


@pytest.mark.parametrize(("name", "num_frames", "size"), ZOO)
def test_exact_logits_are_those_of_torchvisions_preset_and_model(
    name: str, num_frames: int, size: tuple[int, int]
) -> None:
    from torchvision.models import get_model_weights

    bundle = small_bundle(name, num_frames)
    clips = np.concatenate([clips_of(bundle, 1, size), smooth_clip(num_frames, *size)])
    preset = get_model_weights(name)["KINETICS400_V1"].transforms()
    # (T, H, W, C) -> (T, C, H, W), which is what the preset takes; it gives (C, T, H, W)
    frames = torch.stack([preset(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous()) for clip in clips])
    bundle = calibrated(bundle, frames)
    with torch.no_grad():
        expected = build_model(bundle)(frames)
    found = Classifier(bundle, precision="exact").logits(clips)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-3, "the clips do not tell anything apart"


@pytest.mark.parametrize("name", ["r3d_18", "swin3d_t"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fast_precisions_stay_close_to_exact(name: str, precision: Precision) -> None:
    skip_where_imitated(precision)
    bundle = small_bundle(name, 4)
    bundle = replace(bundle, preprocessing=replace(bundle.preprocessing, resize=64, crop=(64, 64)))
    clips = clips_of(bundle, 3)
    exact = Classifier(bundle, precision="exact").logits(clips)
    fast = Classifier(bundle, precision=precision).logits(clips)
    tolerance = 1e-5 if precision == "fp32" else 0.1
    torch.testing.assert_close(fast, exact, rtol=0, atol=tolerance * float(exact.std()))


def assert_scores_depend_on_the_clip_alone(
    bundle: Bundle, precision: Precision, num_clips: int, *, threads_may_differ: bool = False
) -> None:
    skip_where_imitated(precision)
    clips = clips_of(bundle, num_clips)
    classifier = Classifier(bundle, precision=precision, batch_size=2)
    expected, embeddings = classifier._run(clips)
    assert not torch.equal(embeddings[0], embeddings[1])
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        if threads_may_differ:
            found = classifier._run(clips)
            torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5 * float(expected.std()))
            expected, embeddings = found
        # Other companions, another place in the batch, another amount of padding.
        for order in ([*range(num_clips)], [*range(num_clips)][::-1], [1], [0, *range(2, num_clips)]):
            found = classifier._run(clips[order])
            assert torch.equal(found[0], expected[order])
            assert torch.equal(found[1], embeddings[order])


@pytest.mark.parametrize("precision", ["exact", "fp32", "bf16"])
@pytest.mark.parametrize(("name", "num_frames"), [("r3d_18", 2), ("simple3d", 16)])
def test_scores_depend_on_nothing_but_the_clip(name: str, num_frames: int, precision: Precision) -> None:
    assert_scores_depend_on_the_clip_alone(small_bundle(name, num_frames), precision, num_clips=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [("r3d_18", "fp32"), ("r3d_18", "bf16"), ("mc3_18", "bf16"), ("r2plus1d_18", "bf16"), ("s3d", "bf16")],
)
def test_scores_of_whole_clips_depend_on_nothing_but_the_clip(name: str, precision: Precision) -> None:
    bundle = small_bundle(name, 16)
    frames = torch.from_numpy(clips_of(bundle, 1)).permute(0, 4, 1, 2, 3) / 255 - 0.5
    # Without AVX-512, one thread sums up float32 in another order than several do. A run takes one number of them.
    is_float32 = precision == "fp32"
    assert_scores_depend_on_the_clip_alone(calibrated(bundle, frames), precision, 3, threads_may_differ=is_float32)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["r2plus1d_18", "s3d"])
@pytest.mark.parametrize("precision", ["exact", "fp32"])
def test_float32_with_kernels_along_time_alone_differs_in_the_last_bits_between_one_thread_and_more(
    name: str, precision: Precision
) -> None:
    bundle = small_bundle(name, 16)
    frames = torch.from_numpy(clips_of(bundle, 1)).permute(0, 4, 1, 2, 3) / 255 - 0.5
    classifier = Classifier(calibrated(bundle, frames), precision=precision)
    logits = {}
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        logits[num_threads] = classifier.logits(clips_of(bundle, 2))
    assert torch.equal(logits[2], logits[3])
    torch.testing.assert_close(logits[1], logits[2], rtol=0, atol=1e-5 * float(logits[2].std()))


def moving_squares(num: int, seed: int) -> tuple[Clips, NDArray[np.int64]]:
    """Clips (N, 16, 64, 64, 3) of a square that moves in one of four directions, and the direction of each."""
    generator = np.random.default_rng(seed)
    clips = generator.integers(0, 100, (num, 1, 64, 64, 3), dtype=np.uint8).repeat(16, axis=1)
    directions = generator.integers(0, 4, num)
    starts = generator.integers(0, 64, (num, 2))
    speeds = generator.uniform(1.5, 3.5, num)
    span = np.arange(12)
    for index, (direction, start, speed) in enumerate(zip(directions, starts, speeds, strict=True)):
        step = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])[direction]
        for time in range(16):
            row, column = (start + np.round(step * speed * time).astype(int)) % 64
            clips[index, time][np.ix_((row + span) % 64, (column + span) % 64)] = 220
    return clips, directions


def train(bundle: Bundle, num_steps: int) -> Bundle:
    """Train a bundle's network on moving squares, with the arithmetic of inference before it."""
    from safetensors.torch import save

    torch.manual_seed(0)
    model = build_model(bundle).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=num_steps)
    mean, std = (
        torch.tensor(values).view(3, 1, 1, 1) for values in (bundle.preprocessing.mean, bundle.preprocessing.std)
    )
    for step in range(num_steps):
        clips, directions = moving_squares(16, seed=step)
        pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float()  # (N, T, H, W, C) -> (N, C, T, H, W)
        loss = nn.functional.cross_entropy(model((pixels / 255 - mean) / std), torch.from_numpy(directions))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return replace(bundle, weights=save(model.state_dict()))


@pytest.mark.slow
def test_fast_precisions_agree_with_exact_on_a_trained_model(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("right\nleft\ndown\nup\n")
    arguments = {"width": 0.5, "batch_norm": True}
    fresh = make_bundle("simple3d", weights="random", labels=str(labels), arguments=arguments)
    bundle = train(fresh, num_steps=120)
    clips, directions = moving_squares(200, seed=10**6)
    precisions: list[Precision] = ["exact", "fp32", *([] if is_imitated("bf16") else ["bf16"])]
    top = {
        precision: Classifier(bundle, precision=precision).predict(clips).probabilities.argmax(axis=1)
        for precision in precisions
    }
    assert (top["exact"] == directions).mean() > 0.9, "the model has not learned"
    for found in top.values():
        assert (found == top["exact"]).mean() >= 0.99


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["exact", "fp32", "bf16"])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_a_gpu_computes_what_the_cpu_does(precision: Precision, compile: Any) -> None:
    bundle = small_bundle("r3d_18", 8)
    clips = clips_of(bundle, 5)
    expected = Classifier(bundle, device="cpu", precision="exact").logits(clips)
    classifier = Classifier(bundle, device="cuda", precision=precision, compile=compile, batch_size=4)
    found = classifier.logits(clips)
    tolerance = {"exact": 1e-4, "fp32": 1e-2, "bf16": 0.05}[precision] * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert torch.equal(classifier.logits(clips[::-1]), found.flip(0))
    assert default_batch_size(bundle, "cuda") <= 32
    assert default_batch_size(bundle, "cuda") <= most_clips(bundle, "cuda") == choose_batch_size(bundle, "cuda", 10**6)
