from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models import read_weights
from vidcnn.errors import ModelError
from vidcnn.models.checkpoints import read_labels

STATE = {"fc.weight": torch.arange(6.0).view(3, 2), "fc.bias": torch.tensor([1.0, 2.0, 3.0])}


def assert_is_state(found: dict[str, Tensor]) -> None:
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        prefixed("module."),
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod.model."),
        {"state_dict": STATE, "epoch": 3},
        {"state_dict": prefixed("model."), "hyper_parameters": {"lr": 0.1}},
        {"model": STATE, "optimizer": {"state": {0: torch.ones(2)}}},
        {"model_state": STATE, "cfg": "DATA: kinetics"},
        {"model_state_dict": prefixed("module."), "loss": torch.tensor(1.0)},
        {"model_ema": {"n_averaged": torch.tensor(7), **prefixed("module.")}},
        {"model": STATE, "model_ema": {name: tensor + 1 for name, tensor in STATE.items()}},
        {"checkpoint": 1, "ema": {"module": STATE}},
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_weights_are_found_however_a_trainer_wraps_them(content: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(content, path)
    assert_is_state(read_weights(path))


def test_safetensors_are_read_and_half_precision_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.half() for name, tensor in prefixed("module.").items()}, path)
    found = read_weights(path)
    assert_is_state(found)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


def test_a_count_of_batches_stays_an_integer(tmp_path: Path) -> None:
    torch.save({"bn.num_batches_tracked": torch.tensor(5), **STATE}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["bn.num_batches_tracked"].dtype == torch.int64


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_is_refused_with_what_torch_found(protocol: int, tmp_path: Path) -> None:
    path, proof = tmp_path / "model.pkl.pth", tmp_path / "proof"
    path.write_bytes(pickle.dumps({"state_dict": Trap(proof)}, protocol=protocol))
    wanted = "contains Python objects" if protocol == 2 else "is a pickle of a kind that torch does not load safely"
    with pytest.raises(ModelError, match=wanted) as caught:
        read_weights(path)
    assert "save only the weights" in caught.value.hint
    assert not proof.exists()


@pytest.mark.parametrize("new_format", [True, False])
def test_pickled_objects_are_refused_and_never_run(new_format: bool, tmp_path: Path) -> None:
    path, proof = tmp_path / "model.pt", tmp_path / "proof"
    torch.save({"model": Trap(proof)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ModelError, match=r"contains Python objects \(.+\), which could run code.*state_dict\(\)"):
        read_weights(path)
    assert not proof.exists()


def test_a_whole_pickled_model_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("keep", [0, 1, 10, 300, 0.5, 0.95])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_truncated_file_is_called_damaged(name: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "w.pth":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else min(keep, len(content) - 1)])
    with pytest.raises(ModelError, match=r"is not a .* or is damaged"):
        read_weights(path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02garbage", b"PK\x03\x04garbage", b"<html>", b"\0" * 100])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_something_else_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"is not a .* or is damaged"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.ones(2), {"state_dict": {}}])
def test_a_checkpoint_without_weights_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="contains no weights"):
        read_weights(tmp_path / "w.pth")


def test_a_file_uri_means_the_file_that_it_names_and_object_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "my own.pth")
    assert torch.equal(read_weights(f"file://{tmp_path}/my%20own.pth")["a"], torch.ones(2))
    (tmp_path / "my names").write_text("run\njump\n")
    assert read_labels(f"file://{tmp_path}/my%20names") == ("run", "jump")
    for read, what in ((read_weights, "weights"), (read_labels, "labels")):
        with pytest.raises(ModelError, match=f"the {what} 's3://bkt/file' are in object storage"):
            read("s3://bkt/file")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no weights file '.*none\.pth'"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "text",
    [
        "run\njump over\nfall\n",
        "\ufeffrun\r\njump over\r\nfall",
        json.dumps(["run", "jump over", "fall"]),
        json.dumps({"0": "run", "2": "fall", "1": "jump over"}),
        json.dumps({"run": 0, '"jump over"': 1, "fall": 2}),
    ],
)
def test_labels_are_read_in_each_of_their_forms(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "labels") == ("run", "jump over", "fall")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "are empty"),
        ("[]", "are empty"),
        ("run\n\nfall", "no name for class 1"),
        ('{"0": "run", "2": "fall"}', "there is no class 1"),
        ('{"run": 1, "fall": 2}', "there is no class 0"),
        ("[1, 2]", "a name is not a string"),
        ('["run"', "cannot be understood"),
    ],
)
def test_malformed_labels_are_explained(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_labels(tmp_path / "labels.json")


def test_labels_that_cannot_be_read_are_explained(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(ModelError, match="not UTF-8"):
        read_labels(tmp_path / "latin")
    with pytest.raises(ModelError, match="No such file"):
        read_labels(tmp_path / "none")
