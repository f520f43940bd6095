"""What becomes of a run whose network or decoder does not compute what it should: a safer way, or a clear end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
import torch
from torch import nn

from tests.commands import vidcnn
from tests.video.test_golden import swapping_batches
from tests.videos import write_video
from vidcnn.config import EvaluateSpec, InferSpec
from vidcnn.errors import DecoderError, PrecisionError
from vidcnn.inference import compiled
from vidcnn.inference.golden import with_golden
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.pipelines import evaluate, scoring
from vidcnn.pipelines.estimate import estimate_source
from vidcnn.pipelines.infer import run_inference
from vidcnn.pipelines.stages import DecodeStage
from vidcnn.predictions.output import Output


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "videos"
    for index, label in enumerate(("run", "jump")):
        (folder / label).mkdir(parents=True)
        write_video(folder / label / f"{index}.mp4", 40, rate=15, first_number=37 * index)
    return folder


@pytest.fixture(scope="module")
def golden(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual small bundle, with golden clips."""
    folder = tmp_path_factory.mktemp("golden") / "bundle"
    with_golden(Bundle.load(bundle)).save(folder)
    return folder


def spec(videos: Path, bundle: Path, out: Path, **values: Any) -> InferSpec:
    return InferSpec(source=(str(videos),), out=str(out), model=str(bundle), in_process="on", device="cpu", **values)


def run(videos: Path, bundle: Path, out: Path, **values: Any) -> Any:
    return run_inference(spec(videos, bundle, out, **values), show_progress=False)


def settings(table: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(pq.read_metadata(table).metadata[b"vidcnn.settings"])
    return values


def break_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    right = nn.Conv3d.forward

    def forward(self: nn.Conv3d, values: torch.Tensor) -> torch.Tensor:
        found = right(self, values)
        return found.roll(1, dims=1) if found.dtype == torch.bfloat16 else found

    monkeypatch.setattr(nn.Conv3d, "forward", forward)


def test_a_run_with_wrong_kernels_in_bfloat16_runs_in_float32_and_says_so(
    videos: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(videos, golden, tmp_path / "expected.parquet", precision="fp32")
    break_bf16(monkeypatch)
    report = run(videos, golden, tmp_path / "found.parquet", precision="bf16")
    (notice,) = report.notices
    assert notice.startswith("the model runs in fp32 precision: simple3d in bf16 gives wrong scores for the golden")
    assert (report.runtime.precision, settings(tmp_path / "found.parquet")["precision"]) == ("fp32", "fp32")
    assert pq.read_table(tmp_path / "found.parquet").equals(pq.read_table(tmp_path / "expected.parquet"))


def test_an_estimate_goes_the_same_way(
    videos: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_bf16(monkeypatch)
    estimate = estimate_source(spec(videos, golden, tmp_path / "p.parquet", precision="bf16"))
    assert estimate.num_clips_sampled == 6


def test_a_table_with_rows_in_bfloat16_gets_none_in_another_precision(
    videos: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "preds"
    run(videos / "run", golden, out, precision="bf16")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    break_bf16(monkeypatch)
    monkeypatch.setattr(Output, "should_commit", lambda self, now: True)
    with pytest.raises(PrecisionError, match="are of a model in bf16 precision, and it does not compute rightly so"):
        run(videos, golden, out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_compiled_network_that_is_wrong_is_not_used_and_the_rows_are_those_of_the_network(
    videos: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(videos, golden, tmp_path / "expected.parquet", precision="fp32")
    num_classes, size = len(Bundle.load(golden).labels), Bundle.load(golden).embedding_size
    monkeypatch.setattr(compiled, "_check_compiler", lambda: None)
    monkeypatch.setattr(compiled, "_compile_in_child", lambda *arguments: arguments[-1].touch())
    monkeypatch.setattr(
        compiled, "_load", lambda _: lambda clips: (torch.ones(len(clips), num_classes), torch.ones(len(clips), size))
    )
    monkeypatch.setattr(compiled, "cache_directory", lambda: tmp_path / "cache")
    report = run(videos, golden, tmp_path / "found.parquet", precision="fp32", compile="on")
    (notice,) = report.notices
    assert notice.startswith("the model runs uncompiled: simple3d in fp32, compiled, gives wrong scores")
    assert not report.runtime.compiled
    assert not list((tmp_path / "cache").glob("*.pt2"))
    assert pq.read_table(tmp_path / "found.parquet").equals(pq.read_table(tmp_path / "expected.parquet"))


def exchange_weights(folder: Path) -> None:
    bundle = Bundle.load(folder)
    other = make_bundle(
        bundle.architecture, weights="random", num_classes=len(bundle.labels), arguments=bundle.arguments, seed=9
    )
    replace(bundle, weights=other.weights).save(folder)  # with a checksum that fits


def permute_labels(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    card["labels"] = card["labels"][::-1]
    (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (exchange_weights, "simple3d does not give the scores that its bundle records for its golden clips, not even"),
        (permute_labels, "was changed: its labels are not those, or not in the order, with which"),
    ],
)
def test_a_bundle_that_is_not_what_it_was_ends_the_command(
    change: Any, message: str, videos: Path, golden: Path, tmp_path: Path
) -> None:
    Bundle.load(golden).save(tmp_path / "b")
    change(tmp_path / "b")
    result = vidcnn("infer", videos, "--out", tmp_path / "p.parquet", "--model", tmp_path / "b", "--quiet")
    assert result.returncode == 1, result.stderr
    assert message in result.stderr
    assert "copy the whole bundle again" in result.stderr
    assert not (tmp_path / "p.parquet").exists()


def test_a_decoder_that_swaps_channels_ends_the_run_without_a_row(
    videos: Path, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodeStage, "work", staticmethod(swapping_batches))
    with pytest.raises(DecoderError, match="gives wrong pixels: frames of a known video are") as caught:
        run(videos, golden, tmp_path / "p.parquet")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "p.parquet").exists()


class BrokenScorer:
    """A model actor on a machine that computes wrongly in bfloat16."""

    def __init__(self, bundle: Bundle, classifier: dict[str, Any]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            break_bf16(patch)
            self._scorer = scoring._Scorer.__ray_actor_class__(bundle, classifier)

    def score(self, views: Any) -> Any:
        return self._scorer.score(views)


@pytest.mark.ray
@pytest.mark.slow
def test_an_evaluation_with_wrong_kernels_in_bfloat16_is_done_in_float32(
    videos: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = EvaluateSpec(data=str(videos), model=str(golden), clips=2, device="cpu", precision="fp32", split="all")
    expected = evaluate.run_evaluation(wanted, show_progress=False)
    monkeypatch.setattr(scoring, "_Scorer", ray.remote(BrokenScorer))
    told: list[str] = []
    found = evaluate.run_evaluation(
        wanted.model_copy(update={"precision": "bf16"}), show_progress=False, announce=told.extend
    )
    assert told == list(found.notices)
    assert found.notices[0].startswith("the model runs in fp32 precision: simple3d in bf16 gives wrong scores")
    assert (found.precision, found.reached) == ("fp32", expected.reached)
