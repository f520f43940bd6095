from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load, save

from vidcnn.errors import ModelError
from vidcnn.inference import head as heads
from vidcnn.inference.head import BATCH_ROWS, Head, rescored_rows, rescored_schema
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.predictions import error_rows, prediction_rows, prediction_schema


def bundle_of(name: str, **changes: Any) -> Bundle:
    arguments = {"width": 0.25} if name == "simple3d" else None
    return replace(make_bundle(name, weights="random", num_classes=7, arguments=arguments, seed=3), **changes)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    found = bundle_of("simple3d")
    state = load(found.weights)
    state["classifier.weight"] *= 20
    return replace(found, weights=save(state))


def table_of(embeddings: np.ndarray[Any, Any], schema: pa.Schema) -> pa.Table:
    num = len(embeddings)
    return prediction_rows(
        schema,
        "a.mp4",
        clips=np.arange(num),
        start_seconds=np.arange(num) * 1.0,
        end_seconds=np.arange(num) + 1.0,
        labels=("old", "older"),
        top_indices=np.zeros((num, 1), np.int64),
        top_scores=np.ones((num, 1), np.float32),
        probabilities=np.ones((num, 2), np.float32) if "probabilities" in schema.names else None,
        embedding=embeddings,
    )


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", ["simple3d", "s3d"])
def test_a_head_gives_what_the_last_layer_of_the_network_gives(name: str, multi_label: bool) -> None:
    bundle = bundle_of(name, multi_label=multi_label)
    embeddings = np.random.default_rng(0).normal(size=(5, bundle.embedding_size)).astype(np.float32)
    layer = InferenceNetwork(bundle, "fp32", torch.device("cpu")).head
    logits = layer(torch.from_numpy(embeddings)).detach()
    wanted = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    assert np.allclose(Head(bundle).probabilities(embeddings), wanted.numpy(), rtol=1e-5, atol=1e-7)


def test_scores_do_not_depend_on_what_else_is_scored(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = np.random.default_rng(0).normal(size=(2 * BATCH_ROWS + 77, bundle.embedding_size)).astype(np.float16)
    head = Head(bundle)
    whole = head.probabilities(embeddings)
    for start, end in ((0, 1), (BATCH_ROWS - 1, BATCH_ROWS + 3), (5000, len(embeddings))):
        assert np.array_equal(head.probabilities(embeddings[start:end]), whole[start:end])
    assert len(np.unique(whole.argmax(axis=1))) > 3


def test_the_columns_are_those_of_the_table_but_for_what_the_labels_change() -> None:
    old = prediction_schema(num_classes_for_probabilities=400, embedding_size=8)
    old = old.append(pa.field("recorded_at", pa.timestamp("us", tz="UTC")))
    kept = rescored_schema(old, num_classes_for_probabilities=3, keeps_embedding=True)
    wanted = prediction_schema(num_classes_for_probabilities=3, embedding_size=8)
    assert kept.equals(wanted.append(pa.field("recorded_at", pa.timestamp("us", tz="UTC"))))
    less = rescored_schema(old, num_classes_for_probabilities=None, keeps_embedding=False)
    assert less.names == [name for name in old.names if name not in ("probabilities", "embedding")]


@pytest.mark.parametrize("keeps", [True, False])
def test_rows_get_new_scores_and_errors_stay(bundle: Bundle, keeps: bool) -> None:
    old = prediction_schema(num_classes_for_probabilities=2, embedding_size=bundle.embedding_size)
    embeddings = np.random.default_rng(1).normal(size=(4, bundle.embedding_size)).astype(np.float16)
    good = table_of(embeddings, old)
    bad = error_rows(old, "a.mp4", kind="truncated", message="ends early", clips=np.array([9]))
    rows = pa.concat_tables([bad, good.slice(0, 2), bad, good.slice(2), bad])
    schema = rescored_schema(old, num_classes_for_probabilities=7 if keeps else None, keeps_embedding=keeps)
    made = rescored_rows(rows, Head(bundle), schema, top_k=2)
    assert made.schema.equals(schema)
    wanted = Head(bundle).probabilities(embeddings)
    order = np.argsort(-wanted, axis=1)
    found = made.to_pylist()
    assert [row["error"] for row in found] == ["ends early", None, None, "ends early", None, None, "ends early"]
    for row, before in zip(found, rows.to_pylist(), strict=True):
        for name in ("video", "clip", "start_seconds", "end_seconds", "error", "error_kind"):
            assert row[name] == before[name]
        assert not keeps or row["embedding"] == before["embedding"]
    scored = [row for row in found if row["error"] is None]
    for row, own, best in zip(scored, wanted, order, strict=True):
        assert row["top_labels"] == [bundle.labels[index] for index in best[:2]]
        assert row["label"] == row["top_labels"][0]
        assert row["score"] == row["top_scores"][0] == own[best[0]]
        assert not keeps or np.array_equal(row["probabilities"], own.astype(np.float16))
    for row in found:
        assert row["error"] is None or {row[name] for name in ("label", "score", "top_labels", "top_scores")} == {None}


def test_rows_without_any_embedding_are_kept(bundle: Bundle) -> None:
    old = prediction_schema(num_classes_for_probabilities=None, embedding_size=bundle.embedding_size)
    bad = error_rows(old, "a.mp4", kind="unreadable", message="no")
    for rows in (bad, bad.slice(1)):
        assert rescored_rows(rows, Head(bundle), old, top_k=5).to_pylist() == rows.to_pylist()


def test_an_embedding_that_no_half_float_holds_is_told(bundle: Bundle) -> None:
    schema = prediction_schema(num_classes_for_probabilities=None, embedding_size=bundle.embedding_size)
    embeddings = np.ones((3, bundle.embedding_size), np.float32)
    embeddings[1, 5] = 1e6
    with pytest.raises(ModelError, match=r"embedding of clip 1 of a\.mp4 is not finite.*without --from"):
        rescored_rows(table_of(embeddings, schema), Head(bundle), schema, top_k=1)
    broken = load(bundle.weights)
    broken["classifier.bias"][0] = float("nan")
    with pytest.raises(ModelError, match="scores that are not finite"):
        rescored_rows(table_of(embeddings[:1], schema), Head(replace(bundle, weights=save(broken))), schema, top_k=1)
    assert heads.BATCH_ROWS % 64 == 0
