from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.inference.cases import Clips, clips_of, small_bundle, threads  # noqa: F401
from tests.inference.idle_lanes import IdleLanes
from vidcnn.choices import Precision
from vidcnn.errors import ModelError
from vidcnn.inference.batch_sizes import default_batch_size, most_clips
from vidcnn.inference.classifier import Classifier, compiling_pays
from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling

pytestmark = pytest.mark.usefixtures("threads")


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
