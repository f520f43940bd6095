from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.inference.idle_lanes import IdleLanes
from tests.precisions import skip_where_imitated
from vidcnn.choices import Precision
from vidcnn.errors import ModelError
from vidcnn.inference.batch_sizes import choose_batch_size, default_batch_size, most_clips
from vidcnn.inference.classifier import Classifier, compiling_pays
from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling

Clips = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Threads are set for the whole process: put them back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clips_of(bundle: Bundle, num: int, size: tuple[int, int] | None = None, seed: int = 0) -> Clips:
    shape = (num, bundle.sampling.num_frames, *(size or bundle.preprocessing.crop), 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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


def small_bundle(name: str = "simple3d", num_frames: int = 16, **options: Any) -> Bundle:
    bundle = make_bundle(name, weights="random", num_classes=11, **options)
    return replace(bundle, sampling=Sampling(num_frames, fps=15))


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


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    bundle = small_bundle()
    classifier = Classifier(bundle, precision="fp32")
    clips = clips_of(bundle, 3)
    prediction = classifier.predict(clips)
    assert prediction.probabilities.dtype == np.float32
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(prediction.probabilities, classifier.logits(clips).softmax(1).numpy())


def test_a_multi_label_model_scores_each_class_by_itself() -> None:
    bundle = replace(small_bundle(), multi_label=True)
    classifier = Classifier(bundle, precision="fp32")
    clips = clips_of(bundle, 2)
    assert np.array_equal(classifier.predict(clips).probabilities, classifier.logits(clips).sigmoid().numpy())


def test_embeddings_are_the_input_of_the_last_layer() -> None:
    bundle = small_bundle()
    model = build_model(bundle)
    clips = clips_of(bundle, 3)
    embeddings = torch.from_numpy(Classifier(bundle, precision="exact").predict(clips).embeddings)
    assert embeddings.shape == (3, bundle.embedding_size)
    expected = Classifier(bundle, precision="exact").logits(clips)
    torch.testing.assert_close(model.get_submodule("classifier")(embeddings), expected)


def test_no_clips_give_no_rows() -> None:
    bundle = small_bundle()
    prediction = Classifier(bundle).predict(clips_of(bundle, 0))
    assert prediction.probabilities.shape == (0, 11)
    assert prediction.embeddings.shape == (0, 256)


def test_arrays_tensors_views_and_read_only_memory_are_all_clips() -> None:
    bundle = small_bundle()
    classifier = Classifier(bundle)
    clips = clips_of(bundle, 3)
    expected = classifier.logits(clips)
    frozen = clips.copy()
    frozen.setflags(write=False)
    for form in (frozen, torch.from_numpy(clips), np.asfortranarray(clips), np.flip(clips.copy(), 2)[:, :, ::-1]):
        assert torch.equal(classifier.logits(form), expected)


@pytest.mark.parametrize(
    "clips",
    [
        np.zeros((1, 16, 64, 64, 3), np.float32),
        np.zeros((1, 15, 64, 64, 3), np.uint8),
        np.zeros((1, 16, 64, 64, 1), np.uint8),
        np.zeros((16, 64, 64, 3), np.uint8),
    ],
)
def test_clips_of_another_form_are_refused(clips: Any) -> None:
    with pytest.raises(ValueError, match=r"clips must be uint8 \(N, 16, H, W, 3\), not"):
        Classifier(small_bundle()).predict(clips)


def test_settings_are_resolved_and_told() -> None:
    classifier = Classifier(small_bundle(), device="cpu", num_threads=3)
    assert torch.get_num_threads() == 3
    assert classifier.device == "cpu"
    assert classifier.batch_size == default_batch_size(small_bundle(), "cpu") == 2
    assert classifier.precision in ("bf16", "fp32")
    assert not classifier.compiled
    assert classifier.labels == small_bundle().labels


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_the_hardware_has_it(
    has_it: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.inference.network.fastest_precision", lambda _: "bf16" if has_it else "fp32")
    assert Classifier(small_bundle(), device="cpu").precision == expected


@pytest.mark.parametrize("name", ["batch_size", "num_threads"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} \(0\) must be > 0"):
        Classifier(small_bundle(), **{name: 0})


def test_a_clip_length_that_the_network_cannot_take_is_refused_at_once() -> None:
    bundle = make_bundle("s3d", weights="random", num_classes=3)
    with pytest.raises(ModelError, match="s3d needs at least 14 frames"):
        Classifier(replace(bundle, sampling=Sampling(8, fps=15)))


@pytest.mark.parametrize(("precision", "hint"), [("bf16", "--precision fp32"), ("fp32", "check the model's weights")])
def test_scores_that_are_not_finite_are_an_error_that_names_model_and_precision(
    precision: Precision, hint: str
) -> None:
    from safetensors.torch import load, save

    bundle = small_bundle()
    state = load(bundle.weights)
    state["hidden.weight"][0, 0] = float("inf")
    classifier = Classifier(replace(bundle, weights=save(state)), precision=precision)
    with pytest.raises(ModelError, match=f"simple3d in {precision} gives scores that are not finite: .*{hint}"):
        classifier.predict(clips_of(bundle, 1))


def test_a_batch_is_no_larger_than_is_of_use_however_many_clips_are_wanted() -> None:
    bundle = small_bundle()
    classifier = Classifier(bundle, batch_size=100_000)
    assert classifier.batch_size == most_clips(bundle, "cpu") <= 32
    clips = clips_of(bundle, 3)
    scores = classifier.predict(clips).probabilities
    assert np.array_equal(scores, Classifier(bundle, batch_size=classifier.batch_size).predict(clips).probabilities)


def test_a_device_without_memory_is_an_error_that_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = small_bundle()
    classifier = Classifier(bundle, batch_size=8)

    def exhausted(_: Tensor) -> tuple[Tensor, Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(classifier, "_network", exhausted)
    with pytest.raises(ModelError, match=r"more memory than .* has for batches of 8: use --batch-size 4"):
        classifier.predict(clips_of(bundle, 1))


def storages() -> dict[int, int]:
    """The memory of all tensors that are alive: address and size in bytes."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}


@pytest.mark.parametrize(("precision", "share"), [("exact", 1.0), ("fp32", 1.0), ("bf16", 0.5)])
def test_a_classifier_keeps_one_copy_of_the_weights(precision: Precision, share: float) -> None:
    bundle = make_bundle("mc3_18", weights="random", num_classes=3)
    before = storages()
    classifier = Classifier(bundle, precision=precision)
    kept = sum(size for address, size in storages().items() if address not in before)
    assert 0.9 <= kept / (share * len(bundle.weights)) <= 1.02
    assert all(value is not bundle for value in vars(classifier).values())


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
    clips, directions = moving_squares(400, seed=10**6)
    skip_where_imitated("bf16")
    top = {
        precision: Classifier(bundle, precision=precision).predict(clips).probabilities.argmax(axis=1)  # type: ignore[arg-type]
        for precision in ("exact", "fp32", "bf16")
    }
    assert (top["exact"] == directions).mean() > 0.9, "the model has not learned"
    assert (top["fp32"] == top["exact"]).mean() >= 0.99
    assert (top["bf16"] == top["exact"]).mean() >= 0.99


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


def test_compiling_is_not_promised_to_pay_where_it_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidcnn.inference.classifier.resolve_device", lambda _: torch.device("cuda"))
    assert not compiling_pays(small_bundle(), "cuda", 10**9)


class OneThing:
    """A network of one layer, that knows how large a batch a device has room for."""

    room = 32
    sizes: list[int]

    def __init__(self, bundle: Bundle, precision: Precision, device: torch.device) -> None:
        self.num_classes, self.num_features = len(bundle.labels), bundle.embedding_size

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        OneThing.sizes.append(len(batch))
        if len(batch) > OneThing.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        mean = batch.flatten(1).float().mean(dim=1, keepdim=True)
        return mean.expand(-1, self.num_classes), mean.expand(-1, self.num_features)


@pytest.fixture
def device_with_room(monkeypatch: pytest.MonkeyPatch) -> type[OneThing]:
    """A device apart from the processor, which works late, and has room for as many clips as is set."""
    monkeypatch.setattr("vidcnn.inference.classifier.InferenceNetwork", OneThing)
    monkeypatch.setattr("vidcnn.inference.classifier.lanes_of", lambda _: IdleLanes(0))
    OneThing.room, OneThing.sizes = 32, []
    return OneThing


@pytest.mark.parametrize(("room", "expected", "tried"), [(32, 16, [16]), (15, 8, [16, 8]), (1, 1, [16, 8, 4, 2, 1])])
def test_a_batch_that_a_devices_memory_does_not_hold_is_halved_when_the_model_is_loaded(
    room: int, expected: int, tried: list[int], device_with_room: type[OneThing], caplog: pytest.LogCaptureFixture
) -> None:
    device_with_room.room = room
    classifier = Classifier(small_bundle(), batch_size=16)
    assert (classifier.batch_size, device_with_room.sizes) == (expected, tried)
    told = f"simple3d takes {expected} clips at once, not 16: the memory of cpu is too small"
    assert caplog.messages == ([told] if expected < 16 else [])
    clips = clips_of(small_bundle(), 19)
    found = classifier.predict(clips).embeddings[:, 0]
    np.testing.assert_allclose(found, clips.reshape(19, -1).mean(axis=1), rtol=1e-6)


def test_a_device_that_has_no_room_for_a_clip_is_an_error_that_says_so(device_with_room: type[OneThing]) -> None:
    device_with_room.room = 0
    with pytest.raises(ModelError, match=r"simple3d needs more memory than cpu has free for a single clip: end what"):
        Classifier(small_bundle(), batch_size=2)


def test_a_compiled_network_is_run_as_it_will_be_and_with_smaller_batches_where_memory_wants_it(
    device_with_room: type[OneThing], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(bundle: Bundle, precision: Precision, *_: Any) -> OneThing:
        return OneThing(bundle, precision, torch.device("cpu"))

    monkeypatch.setattr("vidcnn.inference.classifier.load_or_compile", compiled)
    device_with_room.room = 7
    classifier = Classifier(small_bundle(), precision="fp32", compile="on", batch_size=8)
    assert (classifier.batch_size, device_with_room.sizes) == (4, [8, 4])


def test_threads_share_a_classifier_and_not_its_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = small_bundle()
    classifier = Classifier(bundle, precision="fp32", batch_size=2)
    clips = [clips_of(bundle, 5, seed=seed) for seed in range(4)]
    expected = [classifier.logits(one) for one in clips]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(classifier.logits, clips * 3))
    assert all(torch.equal(one, two) for one, two in zip(found, expected * 3, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_takes_clips_of_any_size_from_wherever_they_are() -> None:
    bundle = small_bundle()
    clips = clips_of(bundle, 5, (97, 131))
    expected = Classifier(bundle, device="cpu", precision="exact").logits(clips)
    classifier = Classifier(bundle, device="cuda", precision="exact", batch_size=2)
    for form in (clips, torch.from_numpy(clips), torch.from_numpy(clips).cuda()):
        torch.testing.assert_close(classifier.logits(form), expected, rtol=0, atol=1e-3)
