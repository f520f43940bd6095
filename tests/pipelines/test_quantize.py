"""Bundles are quantized from videos, as a user does it."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.commands import vidcnn
from tests.videos import write_video
from vidcnn.choices import Sandbox
from vidcnn.errors import BundleError, DataError, ModelError, SourceError, UsageError
from vidcnn.inference.calibration import Observed, Observer
from vidcnn.inference.golden import with_golden
from vidcnn.inference.int8_ops import Scale, why_no_int8
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.pipelines import quantize as module
from vidcnn.pipelines.quantize import quantize_bundle
from vidcnn.sandbox.confinement import Strength
from vidcnn.video.cell import Cell

pytestmark = pytest.mark.skipif(why_no_int8() is not None, reason=f"no int8 here: {why_no_int8()}")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in folders by class, and one that is none."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    for label in ("run", "fall"):
        (folder / label).mkdir(parents=True)
        for index in range(3):
            write_video(folder / label / f"{index}.mp4", 40, rate=15, first_number=37 * index)
    (folder / "run" / "bad.mp4").write_bytes(b"no video")
    return folder


def quantize(bundle: Path, videos: Path, out: Path, **options: Any) -> Any:
    given = {"num_clips": 12, "min_agreement": 0.0, "show_progress": False, **options}
    return quantize_bundle(str(bundle), str(videos), str(out), **given)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let int8 be twice as fast, whatever this machine is doing."""
    monkeypatch.setattr("vidcnn.inference.quantizing._speeds", lambda *_: {"int8": 20.0, "bf16": 10.0})
    monkeypatch.setattr("vidcnn.inference.quantizing.fastest_precision", lambda _: "bf16")


@pytest.mark.usefixtures("fast")
def test_labelled_videos_calibrate_a_bundle_and_measure_its_accuracy(
    bundle: Path, videos: Path, tmp_path: Path
) -> None:
    report = quantize(bundle, videos, tmp_path / "b8")
    assert report.num_convolutions == 3
    assert report.measured["clips"] == 8  # four of six videos, two clips of each
    assert report.num_calibrated == 4
    assert 0 <= report.measured["top1_int8"] <= 1
    assert report.notices == ("it was measured on 8 clips only: with fewer than 100, shares say little",)
    made, before = Bundle.load(tmp_path / "b8"), Bundle.load(bundle)
    assert made.quantization is not None
    assert replace(made, quantization=None, golden=None) == before
    assert made.golden is not None
    assert set(made.golden.expected) == {"exact", "int8"}
    assert (made.quantization.source, made.quantization.num_clips) == (before.weights_sha256, 4)


def test_a_network_that_does_not_compute_what_its_bundle_records_is_not_quantized(
    bundle: Path, videos: Path, tmp_path: Path
) -> None:
    recorded = with_golden(Bundle.load(bundle))
    other = make_bundle("simple3d", weights="random", num_classes=4, arguments=recorded.arguments, seed=9)
    replace(recorded, weights=other.weights).save(tmp_path / "exchanged")
    with pytest.raises(ModelError, match="does not give the scores that its bundle records"):
        quantize(tmp_path / "exchanged", videos, tmp_path / "b8")
    assert not (tmp_path / "b8").exists()


@pytest.mark.usefixtures("fast")
def test_weights_that_were_fine_tuned_are_those_that_are_written(bundle: Path, videos: Path, tmp_path: Path) -> None:
    def coarse(observed: Observed, observer: Observer) -> dict[str, Scale]:
        scales = {name: histogram.scale(observer) for name, histogram in observed.histograms.items()}
        return {name: Scale(scale.step * 16, scale.zero // 16) for name, scale in scales.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidcnn.inference.calibration.Observed.scales", coarse)
        report = quantize(bundle, videos, tmp_path / "b8", num_clips=24, num_epochs=6)
    assert report.is_tuned
    made, before = Bundle.load(tmp_path / "b8"), Bundle.load(bundle)
    assert made.quantization is not None
    assert made.quantization.source == made.weights_sha256 != before.weights_sha256
    assert made.golden is not None
    assert set(made.golden.expected) == {"exact", "int8"}


@pytest.mark.usefixtures("fast")
def test_fine_tuning_that_brings_nothing_leaves_the_weights_and_says_so(
    bundle: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.inference.quantizing.tune", lambda bundle, *_, **__: bundle)
    report = quantize(bundle, videos, tmp_path / "b8", num_epochs=1)
    assert not report.is_tuned
    assert "fine-tuning brought the scores no nearer" in report.notices[-1]
    assert Bundle.load(tmp_path / "b8").weights == Bundle.load(bundle).weights


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_the_process_that_decodes_is_confined_as_is_wanted(
    bundle: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    strengths: list[Strength | None] = []

    class NotingCell(Cell):
        def close(self) -> None:
            strengths.append(self.strength)
            super().close()

    def stop(*_: object, **__: object) -> None:
        raise ModelError("it has the clips")

    monkeypatch.setattr(module, "Cell", NotingCell)
    monkeypatch.setattr(module, "quantize", stop)
    with pytest.raises(ModelError, match="it has the clips"):
        quantize(bundle, videos, tmp_path / "b8", sandbox=sandbox)
    assert [strength is not None and strength.is_closed for strength in strengths] == [sandbox == "auto"]


@pytest.mark.usefixtures("fast")
def test_videos_without_labels_do_and_so_does_a_single_one(bundle: Path, videos: Path, tmp_path: Path) -> None:
    report = quantize(bundle, videos / "run", tmp_path / "b8", num_clips=6, sandbox="off")
    assert report.confinement == {socket.gethostname(): Strength()}
    assert "top1_int8" not in report.measured
    assert report.notices[0] == "the videos have no labels that the bundle knows, so its accuracy is not measured"
    report = quantize(bundle, videos / "run" / "0.mp4", tmp_path / "c8", num_clips=4)
    assert "there is one video only" in report.notices[1]
    assert [strength.is_closed for strength in report.confinement.values()] == [True]
    assert report.measured["clips"] == 4


@pytest.mark.usefixtures("fast")
def test_the_same_videos_are_taken_by_the_same_seed(bundle: Path, videos: Path, tmp_path: Path) -> None:
    found = [quantize(bundle, videos, tmp_path / str(n), num_clips=6, seed=n // 2) for n in range(4)]
    digests = [Bundle.load(tmp_path / str(n)).quantization.digest for n in range(4)]  # type: ignore[union-attr]
    assert (digests[0] == digests[1], digests[2] == digests[3]) == (True, True)
    assert found[0].measured == found[1].measured


def test_nothing_is_written_where_int8_does_not_pay_or_costs_too_much(
    bundle: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.inference.quantizing.fastest_precision", lambda _: "bf16")
    monkeypatch.setattr("vidcnn.inference.quantizing._speeds", lambda *_: {"int8": 10.0, "bf16": 11.0})
    with pytest.raises(ModelError, match=r"no faster in int8 here: 0\.91 times bf16"):
        quantize(bundle, videos, tmp_path / "b8")
    monkeypatch.setattr("vidcnn.inference.quantizing._speeds", lambda *_: {"int8": 20.0, "bf16": 11.0})
    measure = module.measure
    monkeypatch.setattr(module, "measure", lambda *given: {**measure(*given), "agreement": 0.5})
    with pytest.raises(ModelError, match=r"in int8 50\.00% of 8 other clips keep their first class, and 60\.00% are"):
        quantize(bundle, videos, tmp_path / "b8", min_agreement=0.6)
    assert not (tmp_path / "b8").exists()


def test_what_cannot_be_read_or_written_is_named(bundle: Path, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the bundle itself"):
        quantize(bundle, videos, bundle)
    with pytest.raises(BundleError):
        quantize(videos, videos, tmp_path / "b8")
    with pytest.raises(BundleError, match="exists and is not a model bundle"):
        quantize(bundle, videos, videos)
    with pytest.raises(BundleError, match="object storage"):
        quantize_bundle(str(bundle), str(videos), "s3://bucket/b8", num_clips=2, min_agreement=0.0)
    with pytest.raises(SourceError):
        quantize(bundle, tmp_path / "nothing", tmp_path / "b8")
    (tmp_path / "bad").mkdir()
    shutil.copy(videos / "run" / "bad.mp4", tmp_path / "bad")
    with pytest.raises(DataError, match="none of the 1 videos can be decoded"):
        quantize(bundle, tmp_path / "bad", tmp_path / "b8")


@pytest.mark.usefixtures("fast")
def test_rows_of_the_int8_form_are_recorded_as_such_and_not_mixed_with_others(
    bundle: Path, videos: Path, tmp_path: Path
) -> None:
    quantize(bundle, videos, tmp_path / "b8")
    arguments = ("infer", videos, "--out", tmp_path / "p.parquet", "--quiet", "--json")
    done = vidcnn(*arguments, "--model", tmp_path / "b8")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["precision"] == "int8"
    settings = json.loads(pq.read_metadata(tmp_path / "p.parquet").metadata[b"vidcnn.settings"])
    assert settings["precision"] == "int8"
    again = vidcnn(*arguments, "--model", bundle)
    assert again.returncode == 1
    assert f"another way of computing: quantization {settings['quantization']}, now none" in again.stderr
    other = replace(Bundle.load(tmp_path / "b8"))
    assert other.quantization is not None
    changed = {name: (step * 1.5, zero) for name, (step, zero) in other.quantization.scales.items()}
    replace(other, quantization=replace(other.quantization, scales=changed)).save(tmp_path / "c8")
    again = vidcnn(*arguments, "--model", tmp_path / "c8")
    assert again.returncode == 1
    assert "another way of computing: quantization" in again.stderr
    full = vidcnn(
        "infer", videos, "--out", tmp_path / "f.parquet", "--quiet", "--model", tmp_path / "b8", "--precision", "fp32"
    )
    assert full.returncode == 0
    scores = [np.array(pq.read_table(tmp_path / f"{name}.parquet")["score"].drop_null()) for name in "pf"]
    assert np.abs(scores[0] - scores[1]).max() < 0.05
