"""The golden clips are the same everywhere, and a bundle whose record does not fit it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import damaged, refusing
from tests.limits import within
from vidcnn.errors import BundleError
from vidcnn.inference.golden import with_golden
from vidcnn.models.bundle import Bundle
from vidcnn.models.golden import GoldenScores, golden_clips, labels_digest


@pytest.fixture(scope="module")
def golden(bundle: Path) -> Bundle:
    return with_golden(Bundle.load(bundle))


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        ((2, 16, 64, 64), "ab57f933376353fb"),
        ((2, 5, 33, 50), "c15706213a16e5af"),
        ((1, 3, 7, 9), "94a9e4f69acc49af"),
    ],
)
def test_the_formula_gives_the_same_bytes_on_every_machine_and_in_every_version(
    size: tuple[int, int, int, int], digest: str
) -> None:
    clips = golden_clips(*size)
    assert (clips.shape, clips.dtype) == ((*size, 3), np.uint8)
    assert sha256(clips.tobytes()).hexdigest()[:16] == digest, "another formula needs another number: FORMULA"


def test_one_clip_is_the_first_of_two_and_both_move() -> None:
    clips = golden_clips(2, 8, 48, 64)
    assert np.array_equal(golden_clips(1, 8, 48, 64), clips[:1])
    assert all(not np.array_equal(clip[0], clip[7]) for clip in clips)
    assert abs(clips[0].astype(int) - clips[1]).mean() > 20
    assert clips.min() < 20
    assert clips.max() > 235


@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9),
    num_clips=st.integers(1, 2),
)
def test_scores_are_read_as_they_were_written(values: list[float], num_clips: int) -> None:
    logits = np.array([values] * num_clips, np.float32)
    embeddings = np.concatenate([logits, -logits], axis=1)
    found = GoldenScores.of(embeddings, logits, np.ones(num_clips, np.float32)).read()
    assert np.array_equal(found[0], embeddings)
    assert np.array_equal(found[1], logits)


def test_labels_in_another_order_are_other_labels() -> None:
    assert labels_digest(("a", "b")) != labels_digest(("b", "a"))
    assert labels_digest(("a", "b")) == labels_digest(["a", "b"])


def test_a_bundle_is_loaded_with_its_record(golden: Bundle, tmp_path: Path) -> None:
    golden.save(tmp_path / "b")
    assert Bundle.load(tmp_path / "b") == golden
    assert max(map(len, (tmp_path / "b" / "model.json").read_text().splitlines())) < 6000


def test_a_bundle_of_an_earlier_version_has_none_and_is_loaded(bundle: Path) -> None:
    assert "golden" not in json.loads((bundle / "model.json").read_text())
    assert Bundle.load(bundle).golden is None


def swap(labels: list[str]) -> None:
    labels[0], labels[1] = labels[1], labels[0]


def damage(card: dict[str, Any], name: str, value: Any) -> None:
    card["golden"]["expected"]["exact"][name] = value


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: swap(card["labels"]), "its labels are not those, or not in the order, with which"),
        (lambda card: card["sampling"].update(num_frames=8), "its clips are of 8x64x64 and were of 16x64x64"),
        (lambda card: card["preprocessing"].update(crop=[32, 32]), "its clips are of 16x32x32 and were of 16x64x64"),
        (lambda card: damage(card, "logits", "AAA"), "the scores of its golden clips are damaged"),
        (lambda card: damage(card, "logits", "é"), "the scores of its golden clips are damaged"),
        (lambda card: damage(card, "spreads", []), "are damaged: there are 0 of them"),
        (lambda card: damage(card, "logits", "AAAAAAAAAAA="), "are those of another network"),
        (lambda card: card["golden"].update(expected={}), "its golden clips have no scores"),
        (lambda card: card["golden"].update(clip=1), "golden: unknown clip: known are expected"),
        (lambda card: card["golden"].pop("size"), r"golden\.size"),
    ],
)
def test_a_bundle_whose_record_is_not_its_own_is_refused(
    edit: Callable[[dict[str, Any]], None], message: str, golden: Bundle, tmp_path: Path
) -> None:
    golden.save(tmp_path / "b")
    card = json.loads((tmp_path / "b" / "model.json").read_text())
    edit(card)
    (tmp_path / "b" / "model.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match=message):
        Bundle.load(tmp_path / "b")
    del card["golden"]  # what the message says to do where it was meant
    (tmp_path / "b" / "model.json").write_text(json.dumps(card))
    assert Bundle.load(tmp_path / "b").golden is None


def test_a_record_of_a_later_formula_is_loaded(golden: Bundle, tmp_path: Path) -> None:
    assert golden.golden is not None
    later = replace(golden, golden=replace(golden.golden, formula=99))
    later.save(tmp_path / "b")
    assert Bundle.load(tmp_path / "b") == later


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_of_a_bundles_card_is_a_bundle_or_one_error(
    golden: Bundle, tmp_path: Path, data: st.DataObject
) -> None:
    place = tmp_path / "bundle"
    if not place.exists():
        golden.save(place)
        (tmp_path / "card").write_bytes((place / "model.json").read_bytes())
    (place / "model.json").write_bytes(data.draw(damaged((tmp_path / "card").read_bytes())))
    with within(20), refusing(BundleError):
        Bundle.load(place)
