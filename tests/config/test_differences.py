from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.config.differences import differences, is_same

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)

RECORDED: dict[str, Any] = {
    "model": "r3d_18",
    "weights": "kinetics400",
    "weights_sha256": "ab" * 32,
    "backbone_sha256": "12" * 32,
    "clip_num_frames": 16,
    "clip_stride": 4,
    "clip_fps": None,
    "short_clips": "repeat_last",
    "preprocessing": {"resize": [128, 171], "crop": [112, 112], "mean": [0.4, 0.4, 0.4], "interpolation": "bilinear"},
    "top_k": 5,
    "precision": "bf16",
    "compiled": False,
    "labels": ["run", "walk", "stand"],
    "column video": "string",
}


def otherwise(value: Any) -> Any:
    """Write a value in another way that JSON and Python have for it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list):
        return tuple(map(otherwise, value))
    if isinstance(value, dict):
        return {name: otherwise(value[name]) for name in reversed(value)}
    return value


@given(values)
def test_a_value_is_the_same_however_it_was_written(value: Any) -> None:
    assert is_same(value, otherwise(value))
    assert is_same(otherwise(value), value)
    assert is_same(value, json.loads(json.dumps(value)))


@given(values, values)
def test_sameness_does_not_depend_on_the_order(one: Any, other: Any) -> None:
    assert is_same(one, other) == is_same(other, one)


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, None), ("15", 15), ([1], [1, 2]), ({"a": 1}, {"a": 2})])
def test_other_values_differ(one: Any, other: Any) -> None:
    assert not is_same(one, other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip_stride": 2}, ["other clips: stride 4, now 2"]),
        ({"clip_stride": None, "clip_fps": 15.0}, ["other clips: fps none, now 15, stride 4, now none"]),
        ({"model": "r2plus1d_18", "weights_sha256": "cd" * 32}, ["another model: r3d_18, now r2plus1d_18"]),
        (
            {"weights_sha256": "cd" * 32},
            ["other weights of r3d_18: kinetics400 (abababab...), now kinetics400 (cdcdcdcd...)"],
        ),
        (
            {"preprocessing": {**RECORDED["preprocessing"], "crop": [224, 224]}},
            ["other preprocessing: crop [112, 112], now [224, 224]"],
        ),
        (
            {"precision": "fp32", "compiled": True},
            ["another way of computing: compiled off, now on, precision bf16, now fp32"],
        ),
        ({"top_k": 3}, ["other settings: top k 5, now 3"]),
        ({"labels": ["run", "jump", "sit"]}, ["other labels: walk, now jump, and 1 more"]),
        ({"labels": ["run", "walk"]}, ["other labels: 3 of them, now 2"]),
        ({"column embedding": "list"}, ["other columns: embedding none, now list"]),
        ({"backbone_sha256": "ef" * 32}, ["other arguments of r3d_18"]),
        (
            {"backbone_sha256": "ef" * 32, "weights_sha256": "cd" * 32},
            ["other weights of r3d_18: kinetics400 (abababab...), now kinetics400 (cdcdcdcd...)"],
        ),
        ({"backbone_sha256": "ef" * 32, "clip_stride": 2}, ["other clips: stride 4, now 2"]),
        ({"scored_from": "embeddings"}, ["another way of computing: scored from videos, now embeddings"]),
    ],
)
def test_what_differs_is_said_in_words(changes: dict[str, Any], words: list[str]) -> None:
    found = differences(RECORDED, RECORDED | changes)
    assert found == words
    assert "{" not in str(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "/moved/somewhere/else.pth"},
        {"clip_num_frames": 16.0, "top_k": 5.0},
        {"preprocessing": dict(reversed(RECORDED["preprocessing"].items()))},
        {"a_newer_setting": None},
        {"labels": None},
        {"backbone_sha256": None},
        {"image_fps": 25},
        {"preprocessing": {**RECORDED["preprocessing"], "a_newer_one": None}},
    ],
)
def test_nothing_differs_over_nothing(changes: dict[str, Any]) -> None:
    assert differences(RECORDED, RECORDED | changes) == []
    assert differences(RECORDED | changes, RECORDED) == []


def test_a_setting_that_was_not_there_yet_is_what_it_is_by_default() -> None:
    assert differences({}, {"flip": "on"}, {"flip": "on"}) == []
    assert differences({}, {"flip": "off"}, {"flip": "on"}) == ["other settings: flip on, now off"]
