from __future__ import annotations

import dataclasses
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models import read_weights
from vidcnn.errors import ModelError
from vidcnn.models import published
from vidcnn.models.published import class_names, published_file
from vidcnn.models.registry import ARCHITECTURES


@dataclasses.dataclass
class Member:
    """What torchvision says of published weights, at another address."""

    url: str
    meta: dict[str, Any]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def publish(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(published, "_member", lambda *_: Member(url, {"categories": ["run", "fall"]}))


def served(folder: Path, digits: str | None = None) -> str:
    """Put weights where a file URL finds them, named by their hash as torchvision does."""
    torch.save({"fc.weight": torch.ones(2, 3)}, folder / "w.pth")
    content = (folder / "w.pth").read_bytes()
    path = folder / f"r3d_18-{digits or sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path.as_uri()


def test_weights_are_downloaded_once(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = served(tmp_path)
    publish(monkeypatch, url)
    first = read_weights(published_file(ARCHITECTURES["r3d_18"], "kinetics400"))
    for file in tmp_path.glob("*.pth"):
        file.unlink()
    again = read_weights(published_file(ARCHITECTURES["r3d_18"], "kinetics400"))
    assert torch.equal(first["fc.weight"], torch.ones(2, 3))
    assert torch.equal(again["fc.weight"], first["fc.weight"])
    assert class_names("r3d_18", "kinetics400") == ("run", "fall")
    assert [path.name for path in hub.iterdir()] == [url.rpartition("/")[2]]


def test_a_failed_download_says_which_file_to_put_where_and_leaves_nothing(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    publish(monkeypatch, "http://127.0.0.1:9/models/r3d_18-b3b3357e.pth")
    with pytest.raises(ModelError, match="could not be downloaded") as caught:
        published_file(ARCHITECTURES["r3d_18"], "kinetics400")
    assert f"put http://127.0.0.1:9/models/r3d_18-b3b3357e.pth at '{hub}/r3d_18-b3b3357e.pth'" in caught.value.hint
    assert "--weights FILE" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert not list(hub.iterdir())
    assert capfd.readouterr().out == ""


def test_a_download_of_other_content_is_not_kept(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, served(tmp_path, digits="00000000"))
    with pytest.raises(ModelError, match="invalid hash"):
        published_file(ARCHITECTURES["r3d_18"], "kinetics400")
    assert not list(hub.iterdir())


def test_a_damaged_file_in_the_cache_is_named(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = served(tmp_path)
    publish(monkeypatch, url)
    hub.mkdir(parents=True)
    (hub / url.rpartition("/")[2]).write_bytes(b"half a fi")
    with pytest.raises(ModelError, match=r"r3d_18-\w+\.pth' is damaged .*: delete it"):
        published_file(ARCHITECTURES["r3d_18"], "kinetics400")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("simple3d", "simple3d has no weights 'imagenet': none are published"),
        ("r3d_18", "r3d_18 has no weights 'imagenet': published are kinetics400"),
    ],
)
def test_unknown_weights_are_answered_with_those_there_are(model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        published_file(ARCHITECTURES[model], "imagenet")


@pytest.mark.parametrize("model", [entry.name for entry in ARCHITECTURES.values() if entry.weights])
def test_every_published_model_knows_the_classes_of_kinetics(model: str) -> None:
    labels = class_names(model, "kinetics400")
    assert len(set(labels)) == 400
    assert labels[0] == "abseiling"


@pytest.mark.parametrize("kind", ["written by all", "of another user", "a link", "a pipe", "in a folder for all"])
def test_a_file_that_others_could_have_put_there_is_not_taken(
    kind: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = served(tmp_path)
    publish(monkeypatch, url)
    path = published_file(ARCHITECTURES["r3d_18"], "kinetics400")
    if kind == "written by all":
        path.chmod(0o666)
    elif kind == "of another user":
        if os.geteuid():
            pytest.skip("only root can give a file to another user")
        os.chown(path, 54321, 54321)
    elif kind == "a link":
        path.rename(tmp_path / "elsewhere.pth")
        path.symlink_to(tmp_path / "elsewhere.pth")
    elif kind == "a pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.parent.chmod(0o777)
    with pytest.raises(ModelError, match=r"is not taken for published weights: .*: if you trust it, give --weights"):
        published_file(ARCHITECTURES["r3d_18"], "kinetics400")
