from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Call
from vidcnn.commands.bundle import _parse_argument
from vidcnn.inference.golden import with_golden
from vidcnn.models.bundle import Bundle


def make(call: Call, out: Path, *options: str) -> Any:
    labels = out.with_suffix(".txt")
    labels.write_text("cat\ndog\n")
    return call("bundle", "simple3d", "--weights=random", "--labels", labels, "--out", out, *options)


def test_a_bundle_is_made_of_arguments_labels_and_a_seed(call: Call, tmp_path: Path) -> None:
    ended = make(call, tmp_path / "b", "--argument=width=0.25", "--argument=batch_norm=true", "--json")
    told = json.loads(ended.stdout)
    assert (ended.code, told["bundle"], told["classes"]) == (0, str(tmp_path / "b"), 2)
    made = Bundle.load(str(tmp_path / "b"))
    assert (made.labels, made.arguments) == (("cat", "dog"), {"width": 0.25, "batch_norm": True})
    assert made.weights_sha256 == told["weights_sha256"]
    assert with_golden(made).golden == made.golden
    assert made.golden is not None


def test_a_place_that_cannot_take_a_bundle_is_refused_before_anything_is_computed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.inference.golden.with_golden", lambda _: pytest.fail("it computes"))
    (tmp_path / "b").write_text("mine")
    ended = make(call, tmp_path / "b")
    assert (ended.code, ended.stdout) == (1, "")
    assert "exists and is not a model bundle" in ended.stderr


def test_the_same_seed_makes_the_same_weights_and_another_one_others(call: Call, tmp_path: Path) -> None:
    seeds = {"a": "1", "b": "1", "c": "2"}
    told = [json.loads(make(call, tmp_path / name, f"--seed={seed}", "--json").stdout) for name, seed in seeds.items()]
    first, same, other = (one["weights_sha256"] for one in told)
    assert (first == same, first == other) == (True, False)


def test_an_argument_that_is_none_is_a_wrong_usage(call: Call, tmp_path: Path) -> None:
    ended = make(call, tmp_path / "b", "--argument=width")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == "vidcnn: --argument 'width' must be NAME=VALUE\n"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("text", "value"), [("a=1", 1), ("a=[4, 6]", [4, 6]), ("a=true", True), ("a=same", "same"), ("a=b=c", "b=c")]
)
def test_an_argument_is_read_as_json_and_else_as_text(text: str, value: object) -> None:
    assert _parse_argument(text) == ("a", value)
