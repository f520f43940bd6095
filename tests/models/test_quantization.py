from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vidcnn.errors import BundleError
from vidcnn.models.bundle import Bundle
from vidcnn.models.quantization import Quantization
from vidcnn.models.resolve import make_bundle, starting_bundle

QUANTIZATION = Quantization(
    scales={"clips": (0.5, 100), "relu": (0.25, 0)},
    kept=("features.0.0",),
    corrections={"features.1.0": (0.5, -0.25)},
    source="abc",
    observer="mse",
    data="clips/",
    num_clips=12,
    measured={"agreement": 0.995},
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle("simple3d", weights="random", num_classes=3, arguments={"width": 0.25})


def test_a_bundle_keeps_its_quantization(bundle: Bundle, tmp_path: Path) -> None:
    replace(bundle, quantization=QUANTIZATION).save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b").quantization
    assert loaded is not None
    assert loaded.digest == QUANTIZATION.digest
    assert dict(loaded.measured) == {"agreement": 0.995}
    assert tuple(loaded.kept) == QUANTIZATION.kept
    assert loaded.corrections == QUANTIZATION.corrections


def test_a_bundle_that_was_not_quantized_has_no_word_of_it(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    assert "quantization" not in json.loads((tmp_path / "b" / "model.json").read_text())
    assert Bundle.load(tmp_path / "b").quantization is None


def test_what_is_unknown_or_of_another_type_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    replace(bundle, quantization=QUANTIZATION).save(tmp_path / "b")
    card = json.loads((tmp_path / "b" / "model.json").read_text())
    for change, said in (({"bits": 4}, "unknown bits"), ({"scales": {"clips": ["wide", 0]}}, "quantization")):
        (tmp_path / "b" / "model.json").write_text(
            json.dumps({**card, "quantization": {**card["quantization"], **change}})
        )
        with pytest.raises(BundleError, match=said):
            Bundle.load(tmp_path / "b")


def test_the_digest_is_of_what_scores_depend_on() -> None:
    other = replace(QUANTIZATION, measured={}, data="", observer="max", num_clips=1, source="")
    assert other.digest == QUANTIZATION.digest
    assert replace(QUANTIZATION, kept=()).digest != QUANTIZATION.digest
    assert replace(QUANTIZATION, corrections={}).digest != QUANTIZATION.digest
    assert replace(QUANTIZATION, scales={"clips": (0.5, 101)}).digest != QUANTIZATION.digest


def test_a_network_with_a_new_head_was_not_quantized(bundle: Bundle, tmp_path: Path) -> None:
    replace(bundle, quantization=QUANTIZATION).save(tmp_path / "b")
    assert starting_bundle(str(tmp_path / "b"), ("one", "two")).quantization is None
