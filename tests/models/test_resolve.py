from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from vidcnn.errors import BundleError, ModelError, UsageError
from vidcnn.models import resolve
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.models.resolve import make_bundle, resolve_model

TINY = {"width": 0.25}


def checkpoint(path: Path, num_classes: int = 4, **changes: torch.Tensor | None) -> str:
    """Save weights of a small simple3d, with tensors changed or, where None, left out."""
    state = load(make_bundle("simple3d", weights="random", num_classes=num_classes, arguments=TINY, seed=9).weights)
    for name, tensor in changes.items():
        state.pop(name.replace("__", "."), None)
        if tensor is not None:
            state[name.replace("__", ".")] = tensor
    torch.save({"state_dict": state}, path)
    return str(path)


def labels_file(path: Path, *labels: str) -> str:
    path.write_text("\n".join(labels))
    return str(path)


def test_random_weights_say_so_and_repeat(tmp_path: Path) -> None:
    first = make_bundle("simple3d", weights="random", num_classes=3, seed=4)
    assert first == make_bundle("simple3d", weights="random", num_classes=3, seed=4)
    assert first.weights_sha256 != make_bundle("simple3d", weights="random", num_classes=3).weights_sha256
    assert first.provenance.weights == "random (seed 4)"
    assert first.labels == ("class_0", "class_1", "class_2")


def test_a_zoo_model_brings_its_sampling_preprocessing_and_labels() -> None:
    bundle = make_bundle("mc3_18", weights="random")
    entry = ARCHITECTURES["mc3_18"]
    assert (bundle.sampling, bundle.preprocessing) == (entry.sampling, entry.preprocessing)
    assert len(bundle.labels) == 400
    assert bundle.labels[1] == "air drumming"


def test_a_files_head_says_how_many_classes_there_are(tmp_path: Path) -> None:
    bundle = make_bundle("simple3d", weights=checkpoint(tmp_path / "mine.pth"), arguments=TINY)
    assert bundle.labels == ("class_0", "class_1", "class_2", "class_3")
    assert bundle.provenance.weights == "mine.pth"
    saved = torch.load(tmp_path / "mine.pth")["state_dict"]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in load(bundle.weights).items())


def test_a_model_and_its_parts_may_be_file_uris(tmp_path: Path) -> None:
    folder = tmp_path / "my own"
    folder.mkdir()
    uri = f"file://{tmp_path}/my%20own"
    checkpoint(folder / "mine.pth")
    labels_file(folder / "names.txt", *"abcd")
    made = make_bundle("simple3d", weights=f"{uri}/mine.pth", labels=f"{uri}/names.txt", arguments=TINY)
    assert (made.labels, made.provenance.weights) == (tuple("abcd"), "mine.pth")
    made.save(f"{uri}/bundle")
    assert resolve_model(f"{uri}/bundle") == resolve_model(str(folder / "bundle")) == made


def test_labels_come_from_a_file_and_must_be_as_many_as_the_classes(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "mine.pth")
    labels = labels_file(tmp_path / "four.txt", "a", "b", "c", "d")
    assert make_bundle("simple3d", weights=weights, labels=labels, arguments=TINY).labels == ("a", "b", "c", "d")
    few = labels_file(tmp_path / "three.txt", "a", "b", "c")
    with pytest.raises(ModelError, match=r"three\.txt' has 3 labels and the weights .* have 4 classes"):
        make_bundle("simple3d", weights=weights, labels=few, arguments=TINY)


def test_labels_set_the_number_of_classes_of_random_weights(tmp_path: Path) -> None:
    labels = labels_file(tmp_path / "labels.txt", "a", "b")
    assert make_bundle("simple3d", weights="random", labels=labels).labels == ("a", "b")


def test_another_number_of_classes_keeps_all_but_the_head(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "mine.pth", num_classes=4)
    bundle = make_bundle("simple3d", weights=weights, num_classes=7, arguments=TINY)
    saved, found = torch.load(tmp_path / "mine.pth")["state_dict"], load(bundle.weights)
    assert found["classifier.weight"].shape == (7, 256)
    assert torch.equal(found["features.2.0.weight"], saved["features.2.0.weight"])
    assert bundle.provenance.weights == "mine.pth, new head (seed 0)"
    assert len(bundle.labels) == 7
    assert bundle == make_bundle("simple3d", weights=weights, num_classes=7, arguments=TINY)


def test_kinetics_weights_keep_their_labels_until_the_head_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.save(load(make_bundle("mc3_18", weights="random", num_classes=2).weights), tmp_path / "w.pth")
    monkeypatch.setattr("vidcnn.models.published.published_file", lambda *_: tmp_path / "w.pth")
    monkeypatch.setattr("vidcnn.models.published.class_names", lambda *_: ("run", "fall"))
    bundle = make_bundle("mc3_18")
    assert (bundle.labels, bundle.provenance.weights) == (("run", "fall"), "kinetics400")
    other = make_bundle("mc3_18", num_classes=3)
    assert other.labels == ("class_0", "class_1", "class_2")
    assert other.provenance.weights == "kinetics400, new head (seed 0)"


def test_weights_of_another_network_are_refused_with_what_differs(tmp_path: Path) -> None:
    weights = checkpoint(
        tmp_path / "w.pth", features__0__0__bias=None, extra=torch.ones(1), hidden__weight=torch.ones(2, 2)
    )
    with pytest.raises(ModelError) as caught:
        make_bundle("simple3d", weights=weights, arguments=TINY)
    message = str(caught.value)
    assert "missing features.0.0.bias" in message
    assert "unexpected extra" in message
    assert "hidden.weight is (2, 2) instead of (256, 32)" in message
    assert "check --model" in message


def test_weights_without_a_head_are_refused(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "w.pth", classifier__weight=None, classifier__bias=None)
    with pytest.raises(ModelError, match=r"no 'classifier\.weight' \(they begin with features\.0\.0\.bias"):
        make_bundle("simple3d", weights=weights)


def test_early_checkpoints_without_batch_counts_fit(tmp_path: Path) -> None:
    bundle = make_bundle("simple3d", weights="random", num_classes=3, arguments={"batch_norm": True})
    state = {name: value for name, value in load(bundle.weights).items() if "num_batches" not in name}
    torch.save(state, tmp_path / "old.pth")
    again = make_bundle("simple3d", weights=str(tmp_path / "old.pth"), arguments={"batch_norm": True})
    assert again.weights == bundle.weights


def test_a_model_without_published_weights_asks_for_some() -> None:
    with pytest.raises(ModelError, match=r"no weights are published for simple3d: .*--weights FILE.*random"):
        make_bundle("simple3d")


@pytest.mark.parametrize("weights", ["missing.pth", "./missing", "dir/missing"])
def test_an_absent_weights_file_is_named(weights: str) -> None:
    with pytest.raises(ModelError, match=f"there is no weights file '{weights.removeprefix('./')}'"):
        make_bundle("r3d_18", weights=weights)


def test_a_name_means_the_zoo_and_a_directory_a_bundle(tmp_path: Path) -> None:
    bundle = resolve_model("simple3d", weights="random", seed=2)
    assert bundle.architecture == "simple3d"
    bundle.save(tmp_path / "mine")
    assert resolve_model(str(tmp_path / "mine")) == bundle


def test_a_bundle_takes_no_weights_or_labels(tmp_path: Path) -> None:
    make_bundle("simple3d", weights="random", num_classes=2).save(tmp_path / "mine")
    with pytest.raises(UsageError, match="has its own weights: leave --weights out"):
        resolve_model(str(tmp_path / "mine"), weights="random")
    with pytest.raises(UsageError, match="own weights and labels: leave --weights and --labels out"):
        resolve_model(str(tmp_path / "mine"), weights="random", labels="x")


def test_what_is_neither_name_nor_bundle_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown model 'r3d18': did you mean r3d_18"):
        resolve_model("r3d18")
    with pytest.raises(BundleError, match=r"absent/bundle' is not a directory"):
        resolve_model(str(tmp_path / "absent" / "bundle"))
    with pytest.raises(BundleError, match=r"is no model bundle"):
        resolve_model(str(tmp_path))


def test_reading_a_bundle_loads_no_torch(tmp_path: Path) -> None:
    make_bundle("simple3d", weights="random", num_classes=2).save(tmp_path / "mine")
    check = (
        "import sys; from vidcnn.models.resolve import resolve_model; "
        f"resolve_model({str(tmp_path / 'mine')!r}).weights_sha256; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_default_is_published() -> None:
    assert {resolve._default_weights(entry) for entry in ARCHITECTURES.values() if entry.weights} == {"kinetics400"}


def test_a_bundle_keeps_its_arguments_through_a_file(tmp_path: Path) -> None:
    bundle = make_bundle("simple3d", weights="random", num_classes=2, arguments={"channels": (4, 8), "dropout": 0})
    bundle.save(tmp_path / "mine")
    assert Bundle.load(tmp_path / "mine") == bundle
