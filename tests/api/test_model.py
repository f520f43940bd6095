"""A model in this process gives the rows of the command, and takes arrays as well."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import vidcnn
from tests.commands import vidcnn as run
from vidcnn.errors import ModelError, SourceError, StorageError, UsageError, VidcnnError
from vidcnn.inference.golden import with_golden
from vidcnn.models.bundle import Bundle


@pytest.fixture(scope="module")
def model(bundle: Path) -> vidcnn.Model:
    return vidcnn.load(bundle, device="cpu", precision="fp32")


@pytest.mark.ray
def test_rows_are_those_that_the_command_writes(
    model: vidcnn.Model, bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    options = ("--precision", "fp32", "--compile", "off", "--probabilities", "--embedding", "--step", "16")
    done = run("infer", videos, "--out", out, "--model", bundle, *options, "--max-error-fraction", "1", "--quiet")
    assert done.returncode == 0, done.stderr
    table = model.classify(videos, step=16, probabilities=True, embedding=True)
    assert table.equals(pq.read_table(out, schema=table.schema))
    assert table["error_kind"].to_pylist().count("unreadable") == 1
    assert table.num_rows > 8


def test_one_video_or_several_may_be_given_as_paths(model: vidcnn.Model, videos: Path) -> None:
    one = model.classify(videos / "0.mp4", num_clips=2)
    assert one["clip"].to_pylist() == [0, 1]
    two = model.classify([videos / "1.mp4", str(videos / "0.mp4")], num_clips=2, top_k=1)
    assert two["video"].to_pylist() == ["0.mp4", "0.mp4", "1.mp4", "1.mp4"]
    assert all(len(labels) == 1 for labels in two["top_labels"].to_pylist())
    assert two.slice(0, 2)["score"].equals(one["score"])


def test_clips_in_memory_give_the_scores_of_the_same_clips_in_files(model: vidcnn.Model, videos: Path) -> None:
    sampling, crop = model.bundle.sampling, model.bundle.preprocessing.crop
    pixels = np.random.default_rng(0).integers(0, 256, (5, sampling.num_frames, *crop, 3), np.uint8)
    table = model.classify(pixels, probabilities=True)
    assert table.column_names == ["clip", "label", "score", "top_labels", "top_scores", "probabilities"]
    logits = model.logits(pixels)
    assert (logits.shape, logits.dtype) == ((5, len(model.labels)), np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(np.array(table["probabilities"].to_pylist(), np.float32), probabilities, atol=1e-3)
    assert table["label"].to_pylist() == [model.labels[index] for index in logits.argmax(1)]
    assert model.classify(pixels[2]).equals(model.classify(pixels[2:3]))


def test_embeddings_are_a_column_of_their_own(model: vidcnn.Model, videos: Path) -> None:
    table = model.embed(videos / "0.mp4", num_clips=2)
    assert "label" not in table.column_names
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), model.bundle.embedding_size)
    assert all(np.isfinite(table["embedding"].to_pylist()).all(axis=1))


def test_what_cannot_be_is_an_error_of_vidcnn(
    model: vidcnn.Model, bundle: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="num-clips"):
        model.classify(videos, num_clips=0)
    with pytest.raises(UsageError):
        model.classify(videos, colour="red")
    with pytest.raises(UsageError, match="no out"):
        model.classify(videos, out="preds.parquet")
    with pytest.raises(UsageError, match="num_frames"):
        model.classify(videos, num_frames=3)
    with pytest.raises(SourceError):
        model.classify(videos / "gone.mp4")
    with pytest.raises(ValueError, match="uint8"):
        model.classify(np.zeros((2, 3), np.uint8))
    with pytest.raises(VidcnnError):
        vidcnn.load("r3d_81")
    with pytest.raises(ModelError):
        vidcnn.load(bundle, device="cuda:99")

    monkeypatch.setattr("vidcnn.api.model.plan_in_cell", lambda *_: iter([(0, StorageError("it cannot be read"))]))
    with pytest.raises(StorageError, match=r"'0\.mp4': it cannot be read"):
        model.classify(videos / "0.mp4")


def test_threads_take_turns_and_each_gets_its_own_rows(model: vidcnn.Model, videos: Path) -> None:
    names = [f"{index}.mp4" for index in range(3)]
    alone = {name: model.classify(videos / name, num_clips=2) for name in names}
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda name: model.classify(videos / name, num_clips=2), names * 3))
    assert all(table.equals(alone[name]) for name, table in zip(names * 3, found, strict=True))


def test_a_process_that_is_forked_leaves_the_reader_of_its_parent_alone(model: vidcnn.Model, videos: Path) -> None:
    expected = model.classify(videos / "0.mp4", num_clips=2)
    reader = model._reader
    child = os.fork()
    if not child:
        os._exit(0 if model._own_reader() is not reader else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert model._own_reader() is reader
    assert model.classify(videos / "0.mp4", num_clips=2).equals(expected)


def test_a_model_says_what_it_is(model: vidcnn.Model) -> None:
    assert repr(model) == f"<vidcnn.Model simple3d: {len(model.labels)} classes, 16 frames, fp32 on cpu>"


def test_a_batch_that_is_too_large_is_made_smaller_with_a_warning(bundle: Path, videos: Path) -> None:
    with pytest.warns(UserWarning, match=r"the model takes \d+ clips at once, not 100,000"):
        large = vidcnn.load(bundle, device="cpu", precision="fp32", batch_size=100_000)
    assert large.classify(videos / "0.mp4", num_clips=2).num_rows == 2


def test_a_precision_that_computes_wrongly_here_is_not_taken_and_a_warning_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = nn.Conv3d.forward

    def forward(self: nn.Conv3d, values: torch.Tensor) -> torch.Tensor:
        found = right(self, values)
        return found.roll(1, dims=1) if found.dtype == torch.bfloat16 else found

    with_golden(Bundle.load(bundle)).save(tmp_path / "b")
    monkeypatch.setattr(nn.Conv3d, "forward", forward)
    with pytest.warns(UserWarning, match="the model runs in fp32 precision: simple3d in bf16 gives wrong scores"):
        found = vidcnn.load(tmp_path / "b", device="cpu", precision="bf16")
    assert found.classifier.precision == "fp32"
