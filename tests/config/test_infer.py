from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from vidcnn.config import InferSpec, parse_pool
from vidcnn.config.base import read_spec
from vidcnn.errors import UsageError
from vidcnn.sampling.segments import ClipSpec, Sampling


def spec(**values: object) -> InferSpec:
    return InferSpec(source=("videos",), **values)  # type: ignore[arg-type]


def test_clips_are_those_of_the_model_unless_the_user_says_otherwise() -> None:
    own = Sampling(16, fps=15)
    assert spec().clip_spec(own) == ClipSpec(own)
    assert spec(num_frames=8).clip_spec(own).sampling == Sampling(8, fps=15)
    assert spec(stride=4).clip_spec(own).sampling == Sampling(16, stride=4)
    assert spec(fps=30).clip_spec(Sampling(16, stride=2)).sampling == Sampling(16, fps=30)
    assert spec(num_clips=3, short_clips="loop").clip_spec(own) == ClipSpec(own, num_clips=3, short_clips="loop")


def test_unknown_keys_and_impossible_values_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"--stirde is not known"):
        read_spec(InferSpec, {"source": ["x"], "stirde": 4})
    with pytest.raises(UsageError, match=r"--image-fps \(0\) must be in \[0.001, 1000\]"):
        read_spec(InferSpec, {"source": ["x"], "image_fps": 0})
    with pytest.raises(UsageError, match="--step and --num-clips exclude each other"):
        read_spec(InferSpec, {"source": ["x"], "step": 1, "num_clips": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--source is missing"),
        ({"source": []}, "there is no SOURCE: name videos, or a table of predictions with --from"),
        ({"source": ["x"], "from_": "old.parquet"}, "SOURCE and --from exclude each other"),
        ({"source": ["x"], "from_model": "old"}, "--from-model is for --from"),
        ({"from_": "old.parquet", "step": 4, "in_process": "on"}, "--in-process, --step would change nothing"),
        ({"from_": "old.parquet", "out": "old.parquet"}, "--from and --out are one table"),
    ],
)
def test_either_videos_or_a_table_is_scored(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_spec(InferSpec, values)


def test_a_table_is_scored_without_a_source_and_options_at_their_defaults_are_none() -> None:
    given = {"source": [], "from_": "old.parquet", "model": "new", "stride": 2, "step": None, "limit": None}
    assert read_spec(InferSpec, given) == InferSpec(from_="old.parquet", model="new", stride=2)
    assert InferSpec.model_validate({"from": "old.parquet"}).from_ == "old.parquet"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().top_k = 3  # type: ignore[misc]


@pytest.mark.parametrize(("text", "bounds"), [("2", (2, 2)), ("1:4", (1, 4))])
def test_a_pool_is_a_number_or_a_range(text: str, bounds: tuple[int, int]) -> None:
    assert parse_pool(text) == bounds


@pytest.mark.parametrize("text", ["0", "3:2", "a", "1:", ":2", "1:2:3", ""])
def test_other_pools_are_refused(text: str) -> None:
    if text == "1:":
        assert parse_pool(text) == (1, 1)
        return
    with pytest.raises(ValueError, match="must be a number of actors"):
        parse_pool(text)


@pytest.mark.parametrize(
    "out",
    ["json", "results/db", "a.json/", "s3://bucket/csv", "preds.v2", "s3://bucket/p.parquet?endpoint_override=a.csv"],
)
def test_a_folder_may_have_the_name_of_a_kind_of_file(out: str) -> None:
    assert InferSpec(source=("v",), out=out).out == out


@pytest.mark.parametrize("out", ["p.csv", "p.parquet?x=a.csv", "a/p.JSON", "s3://bucket/p.jsonl?endpoint_override=x"])
def test_a_table_of_another_kind_is_refused(out: str) -> None:
    with pytest.raises(UsageError, match=r"must be a \.parquet file or a folder"):
        read_spec(InferSpec, {"source": ("v",), "out": out})


def test_a_folder_that_is_there_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "preds.db").mkdir()
    assert InferSpec(source=("v",), out=str(tmp_path / "preds.db")).out.endswith("preds.db")
