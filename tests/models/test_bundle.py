from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from vidcnn import __version__
from vidcnn.errors import BundleError
from vidcnn.models.bundle import Bundle, Provenance, read_shapes
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Sampling

WEIGHTS = save({"classifier.weight": torch.ones(2, 5), "classifier.bias": torch.zeros(2)})


def make(**changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "architecture": "simple3d",
        "labels": ("run", "café"),
        "sampling": Sampling(8, stride=2),
        "preprocessing": Preprocessing(36, (32, 30), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic"),
        "weights": WEIGHTS,
        "arguments": {"channels": [4, 8]},
        "multi_label": True,
        "provenance": Provenance("random (seed 0)", "clips/", {"epochs": 3}, {"top1": 0.5}),
    }
    return Bundle(**values | changes)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make().save(tmp_path / "mine")
    return tmp_path / "mine"


def change(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    card = json.loads((bundle / "model.json").read_text())
    edit(card)
    (bundle / "model.json").write_text(json.dumps(card))


def test_a_file_uri_means_the_folder_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make().save(f"file://{tmp_path}/my%20own")
    assert [path.name for path in tmp_path.iterdir()] == ["my own"]
    for location in (f"file://{tmp_path}/my%20own", f"file://localhost{tmp_path}/my%20own/", tmp_path / "my own"):
        assert Bundle.load(location) == make()
    with pytest.raises(BundleError, match="is not a directory"):
        Bundle.load(f"file://{tmp_path}/absent")


def test_object_storage_is_no_place_to_save_to_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="'s3://bkt/mine' is in object storage"):
        make().save("s3://key:secret@bkt/mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bundle",
    [
        make(),
        make(sampling=Sampling(16, fps=7.5)),
        make(preprocessing=Preprocessing((36, 40), (32, 32), (0, 0, 0), (1, 1, 1))),
        make(arguments={}, multi_label=False, provenance=Provenance()),
    ],
)
def test_what_is_saved_is_loaded(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "a" / "b")
    loaded = Bundle.load(tmp_path / "a" / "b")
    assert loaded == bundle
    assert isinstance(loaded.preprocessing.crop, tuple)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["model.json", "model.safetensors"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_the_card_is_readable_and_says_which_version_wrote_it(saved: Path) -> None:
    text = (saved / "model.json").read_text()
    assert "café" in text
    card = json.loads(text)
    assert card["format_version"] == 1
    assert card["provenance"]["vidcnn_version"] == __version__
    assert card["weights_sha256"] == make().weights_sha256


def test_a_bundle_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(make())) == make()


def test_a_bundle_knows_the_size_of_its_embedding() -> None:
    assert make().embedding_size == 5


def test_saving_replaces_a_bundle_or_an_empty_directory(saved: Path, tmp_path: Path) -> None:
    other = make(labels=("a", "b"))
    other.save(saved)
    assert Bundle.load(saved).labels == ("a", "b")
    (tmp_path / "empty").mkdir()
    other.save(tmp_path / "empty")
    assert Bundle.load(tmp_path / "empty") == other


@pytest.mark.parametrize("name", ["notes.txt", "model.json.bak"])
def test_saving_never_replaces_something_else(name: str, saved: Path) -> None:
    (saved / name).write_text("mine")
    with pytest.raises(BundleError, match="exists and is not a model bundle"):
        make().save(saved)
    with pytest.raises(BundleError, match="exists and is not a model bundle"):
        make().save(saved / name)
    assert (saved / name).read_text() == "mine"


def test_a_save_that_fails_leaves_the_old_bundle(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BundleError, match=r"cannot write the bundle .*: No space left on device"):
        make(labels=("a", "b")).save(saved)
    assert Bundle.load(saved) == make()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"cannot write the bundle '.*file/mine'"):
        make().save(tmp_path / "file" / "mine")


def test_what_is_no_bundle_is_told_apart(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a directory"):
        Bundle.load(saved / "model.json")
    with pytest.raises(BundleError, match="is not a directory"):
        Bundle.load(tmp_path / "absent")


def test_a_folder_of_something_else_is_no_bundle_to_copy_again(tmp_path: Path) -> None:
    (tmp_path / "classes" / "fall").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"is no model bundle: it has neither model\.json nor") as caught:
        Bundle.load(tmp_path / "classes")
    assert "vidcnn models" in caught.value.hint


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(BundleError, match=rf"mine' has no {name}: copy the whole bundle again"):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_a_malformed_card_is_refused(text: str, saved: Path) -> None:
    (saved / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"model\.json is not valid JSON"):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["[1]", "null", '"x"'])
def test_a_card_that_is_no_object_is_refused(text: str, saved: Path) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(BundleError, match=r"model\.json must contain a JSON object"):
        Bundle.load(saved)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: card.update(format_version=2), "format_version 2 and this vidcnn reads 1: upgrade vidcnn"),
        (lambda card: card.pop("format_version"), "format_version None"),
        (lambda card: card.update(lables=[]), "model.json: unknown lables: known are architecture"),
        (lambda card: card["sampling"].update(fsp=3), "sampling: unknown fsp: known are fps"),
        (lambda card: card["preprocessing"].update(flip=1), "preprocessing: unknown flip"),
        (lambda card: card["provenance"].update(author="x"), "provenance: unknown author"),
        (lambda card: card.pop("labels"), "labels: .*[Mm]issing|labels: .*required"),
        (lambda card: card.update(labels=["a", 2]), r"labels\.1: .*string"),
        (lambda card: card.update(labels="ab"), "labels: "),
        (lambda card: card.update(multi_label="perhaps"), "multi_label: .*boolean"),
        (lambda card: card["sampling"].update(stride=0), r"sampling.*stride \(0\) must be > 0"),
        (lambda card: card["sampling"].update(fps=3), "give one of stride"),
        (lambda card: card["preprocessing"].update(crop=[40, 40]), "crop .* does not fit"),
        (lambda card: card["preprocessing"].update(interpolation="lanczos"), "interpolation: .*bilinear"),
        (lambda card: card.update(architecture="simple2d"), "unknown model 'simple2d': did you mean simple3d"),
        (lambda card: card.update(architecture="r3d_18"), r"no 'fc\.weight', so they are not those of r3d_18"),
        (lambda card: card.update(labels=["a"]), "1 labels for a head of 2 classes"),
        (lambda card: card.update(weights_sha256="0" * 64), r"SHA-256 differs"),
    ],
)
def test_a_card_that_says_something_wrong_is_explained(
    edit: Callable[[dict[str, Any]], None], message: str, saved: Path
) -> None:
    change(saved, edit)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(saved)
    assert "\n" not in str(caught.value)


def test_a_card_without_a_hash_is_believed(saved: Path) -> None:
    change(saved, lambda card: card.pop("weights_sha256"))
    assert Bundle.load(saved) == make()


@given(length=st.integers(0, len(WEIGHTS) - 1))
def test_truncated_weights_are_refused_wherever_they_end(length: int) -> None:
    with pytest.raises(BundleError, match=r"is not a safetensors file|has \d+ bytes where its header declares"):
        make(weights=WEIGHTS[:length])


def test_weights_with_something_behind_them_are_refused() -> None:
    with pytest.raises(BundleError, match=f"has {len(WEIGHTS) + 1} bytes where its header declares {len(WEIGHTS)}"):
        make(weights=WEIGHTS + b"\0")


@given(content=st.binary(max_size=200))
def test_any_other_bytes_are_refused_as_weights(content: bytes) -> None:
    with pytest.raises(BundleError):
        make(weights=content)
    with pytest.raises(BundleError):
        make(weights=len(content).to_bytes(8, "little") + content)


@pytest.mark.parametrize(
    "header", ["[]", "3", '{"a": 1}', '{"a": {}}', '{"a": {"shape": 1}}', '{"a": {"shape": [1], "data_offsets": [0]}}']
)
def test_a_header_of_another_form_is_refused(header: str) -> None:
    with pytest.raises(BundleError, match="is not a safetensors file"):
        read_shapes(len(header).to_bytes(8, "little") + header.encode())


def test_metadata_in_the_weights_is_no_tensor() -> None:
    content = save({"classifier.weight": torch.ones(2, 5)}, metadata={"format": "pt"})
    assert read_shapes(content) == {"classifier.weight": (2, 5)}


def test_a_bundle_cannot_be_made_inconsistent() -> None:
    with pytest.raises(BundleError, match="3 labels for a head of 2 classes"):
        replace(make(), labels=("a", "b", "c"))
    with pytest.raises(BundleError, match="unknown model"):
        replace(make(), architecture="x")


def test_a_bundle_shows_no_login(tmp_path: Path) -> None:
    data = "s3://KEY:hu/sh@bucket/clips"
    make(provenance=Provenance("random", data, {"data": data, "epochs": 3})).save(tmp_path / "mine")
    card = (tmp_path / "mine" / "model.json").read_text()
    assert "hu/sh" not in card
    assert json.loads(card)["provenance"]["data"] == "s3://bucket/clips"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sampling", {"num_frames": 10**9, "stride": 1}, r"num_frames \(1000000000\) must be <= 16384"),
        ("sampling", {"num_frames": 8, "stride": 10**9}, r"stride \(1000000000\) must be <= 100000"),
        ("crop", [10**6, 10**6], "must be <= 8192"),
        ("crop", [8192, 8192], "a clip of 1,610,612,736 bytes, where 1,073,741,824 are allowed"),
        ("mean", [1e7, 0, 0], "must be numbers of at most 1e[+]06"),
        ("std", [1e-9, 1, 1], "must be numbers of at most 1e[+]06"),
    ],
)
def test_a_card_that_asks_for_absurd_sizes_is_refused(field: str, value: Any, message: str, saved: Path) -> None:
    def edit(card: dict[str, Any]) -> None:
        if field == "sampling":
            card["sampling"] = value
        else:
            card["preprocessing"] |= {field: value}
            if field == "crop":
                card["preprocessing"]["resize"] = value

    change(saved, edit)
    with pytest.raises(BundleError, match=message):
        Bundle.load(saved)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_card_with_what_is_no_number_is_refused(number: str, saved: Path) -> None:
    text = (saved / "model.json").read_text()
    assert "0.1" in text
    (saved / "model.json").write_text(text.replace("0.1", number, 1))
    with pytest.raises(BundleError, match=r"not valid JSON: .* is no number"):
        Bundle.load(saved)


def test_a_card_that_is_deep_or_giant_is_refused(saved: Path) -> None:
    (saved / "model.json").write_text("[" * 10**6)
    with pytest.raises(BundleError, match="not valid JSON"):
        Bundle.load(saved)
    with (saved / "model.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match=r"model\.json has 1,099,511,627,776 bytes"):
        Bundle.load(saved)


def test_weights_are_not_read_where_their_header_does_not_fit_the_file(saved: Path) -> None:
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(7 * 2**30)
    with pytest.raises(BundleError, match="it has 7516192768 bytes where its header declares"):
        Bundle.load(saved)
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match=r"has 1,099,511,627,776 bytes, [\d,]+ are allowed"):
        Bundle.load(saved)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_pipe_under_the_name_of_a_file_is_not_waited_for(name: str, saved: Path) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(BundleError, match=f"{name} is not a regular file"):
        Bundle.load(saved)


def test_more_classes_than_any_network_has_are_refused() -> None:
    with pytest.raises(BundleError, match="100,001 labels are more than 100,000"):
        make(labels=tuple(map(str, range(100_001))))


def test_a_head_that_is_no_layer_is_refused() -> None:
    with pytest.raises(BundleError, match="is not a layer's"):
        make(weights=save({"classifier.weight": torch.ones(2)}))


def test_a_bundle_stays_when_the_power_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def note_sync(file: int) -> None:
        sync(file)
        steps.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)

    def note_rename(source: Any, target: Any, **options: Any) -> None:
        rename(source, target, **options)
        steps.append(f"{Path(source).name} becomes {Path(target).name}")

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    make().save(tmp_path / "made" / "mine")
    assert steps == [tmp_path.name, "model.safetensors", "model.json", "new", "new becomes mine", "made"]
