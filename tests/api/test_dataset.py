"""The samples of a training run, one by one or in batches of a DataLoader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import vidcnn
from tests.videos import write_video
from vidcnn.errors import DataError, UsageError

OPTIONS = {"model": "simple3d", "num_frames": 4, "stride": 2, "resize": "36x36", "crop": "32x32", "val_fraction": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for label in ("down", "up"):
        (folder / label).mkdir()
        for index in range(3):
            write_video(folder / label / f"{index}.mp4", 40, first_number=50 * index)
    return folder


def test_a_sample_is_the_same_whenever_it_is_loaded(data: Path) -> None:
    one, other = vidcnn.ClipDataset(data, **OPTIONS), vidcnn.ClipDataset(data, **OPTIONS)
    assert (len(one), one.labels) == (6, ("down", "up"))
    first = [one[number] for number in range(len(one))]
    for number in reversed(range(len(one))):
        assert torch.equal(other[number].pixels, first[number].pixels)
        assert torch.equal(other[number].targets, first[number].targets)
    assert sum(sample.targets for sample in first).tolist() == [3.0, 3.0]  # type: ignore[union-attr]
    assert not torch.equal(one[6].pixels, first[0].pixels), "another epoch takes other parts"
    assert not torch.equal(vidcnn.ClipDataset(data, **OPTIONS, seed=1)[0].pixels, first[0].pixels)


def test_an_epoch_can_be_gone_through_and_a_bundle_is_a_model_too(data: Path, bundle: Path) -> None:
    assert len(list(vidcnn.ClipDataset(data, **OPTIONS))) == 6
    assert vidcnn.ClipDataset(data, model=bundle, val_fraction=0.0)[0].pixels.shape == (16, 64, 64, 3)


def test_a_loader_makes_batches_in_processes_of_its_own(data: Path) -> None:
    dataset = vidcnn.ClipDataset(data, **OPTIONS)
    batches = list(DataLoader(dataset, batch_size=3, num_workers=2))
    assert [tuple(batch.pixels.shape) for batch in batches] == [(3, 4, 32, 32, 3)] * 2
    assert batches[0].pixels.dtype == torch.uint8
    assert batches[0].weight.tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(batches[1].pixels[0], dataset[3].pixels)


def test_what_cannot_be_decoded_has_no_weight(data: Path, tmp_path: Path) -> None:
    for label in ("down", "up"):
        (tmp_path / label).mkdir()
        write_video(tmp_path / label / "0.mp4", 40)
        (tmp_path / label / "bad.mp4").write_bytes(b"no video")
    dataset = vidcnn.ClipDataset(tmp_path, **OPTIONS)
    assert sorted(dataset[number].weight.item() for number in range(len(dataset))) == [0.0, 0.0, 1.0, 1.0]


def test_what_cannot_be_is_an_error_of_vidcnn(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        vidcnn.ClipDataset(data, colour="red")
    (tmp_path / "only").mkdir()
    write_video(tmp_path / "only" / "0.mp4", 8)
    with pytest.raises(DataError):
        vidcnn.ClipDataset(tmp_path, **OPTIONS)
    with pytest.raises(IndexError):
        vidcnn.ClipDataset(data, **OPTIONS)[-1]
