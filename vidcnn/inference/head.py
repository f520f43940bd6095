"""The last layer of a bundle alone: from embeddings that a table has to the rows that it gives for them.

Nothing is decoded and no other layer runs. Embeddings are half floats there, so scores are those of a full run within
their rounding: each value has 11 bits.

Letters: N rows, E values of an embedding, K classes, k labels kept for each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch.nn import functional

from vidcnn.errors import ModelError
from vidcnn.inference.classifier import to_probabilities
from vidcnn.models.bundle import Bundle
from vidcnn.models.ranking import top_classes
from vidcnn.models.registry import architecture
from vidcnn.predictions import prediction_schema
from vidcnn.safe_text import one_line

BATCH_ROWS = 4096
"""Rows that are computed at once: always so many, so that scores do not depend on what shares their batch."""
_SCORES = ("label", "score", "top_labels", "top_scores", "probabilities")


class Head:
    """The last layer of a bundle.

    Args:
        bundle: The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        name = architecture(bundle.architecture).head
        weights = load(bundle.weights)
        self.labels = bundle.labels
        self._multi_label = bundle.multi_label
        self._weight = weights[f"{name}.weight"].float().flatten(1)  # (K, E), of a 1x1x1 convolution as well
        bias = weights.get(f"{name}.bias")
        self._bias = None if bias is None else bias.float()

    def probabilities(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities of the classes, float32 (N, K), for embeddings, floats (N, E)."""
        batch = np.zeros((BATCH_ROWS, embeddings.shape[1]), np.float32)
        found = np.empty((len(embeddings), len(self.labels)), np.float32)
        with torch.inference_mode():
            for start in range(0, len(embeddings), BATCH_ROWS):
                some = embeddings[start : start + BATCH_ROWS]
                batch[: len(some)] = some
                logits = functional.linear(torch.from_numpy(batch), self._weight, self._bias)
                scores = to_probabilities(logits, multi_label=self._multi_label)
                found[start : start + len(some)] = scores[: len(some)]
        return found


def rescored_schema(
    schema: pa.Schema, *, num_classes_for_probabilities: int | None, keeps_embedding: bool
) -> pa.Schema:
    """Return the columns of a table that is scored again.

    Args:
        schema: Those of the table with the embeddings.
        num_classes_for_probabilities: K, for the column `probabilities`; None leaves it out.
        keeps_embedding: Whether the embeddings are copied.
    """
    fields = [field for field in schema if field.name != "probabilities"]
    if num_classes_for_probabilities is not None:
        own = prediction_schema(num_classes_for_probabilities=num_classes_for_probabilities, embedding_size=None)
        fields.insert(schema.get_field_index("top_scores") + 1, own.field("probabilities"))
    return pa.schema([field for field in fields if keeps_embedding or field.name != "embedding"])


def rescored_rows(rows: pa.Table, head: Head, schema: pa.Schema, top_k: int) -> pa.Table:
    """Score rows again by their embeddings.

    Args:
        rows: Rows with embeddings (N of them with one); what has none, such as an error, keeps its other columns.
        head: The last layer.
        schema: What `rescored_schema` returned.
        top_k: Classes kept for each row.

    Raises:
        ModelError: An embedding or a score is not finite.
    """
    has_one = pc.is_valid(rows["embedding"])
    scored = rows.filter(has_one)
    width = rows.schema.field("embedding").type.list_size
    flat = pc.list_flatten(scored["embedding"].combine_chunks())
    embeddings = flat.to_numpy(zero_copy_only=False).reshape(-1, width)  # (N, E)
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise _not_finite(scored, int(np.argmin(finite)))
    probabilities = head.probabilities(embeddings)
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        raise ModelError("the model gives scores that are not finite", "check the model's weights")
    columns = _score_columns(probabilities, head.labels, schema, top_k)
    places = pc.if_else(has_one, pc.subtract(pc.cumulative_sum(has_one.cast(pa.int64())), 1), None)
    made = {name: values.take(places.combine_chunks()) for name, values in columns.items()}
    return pa.table([made.get(field.name, _kept(rows, field)) for field in schema], schema=schema)


def _score_columns(
    probabilities: NDArray[np.float32], labels: tuple[str, ...], schema: pa.Schema, top_k: int
) -> dict[str, pa.Array]:
    """Return the columns that scores are in, of N rows."""
    indices, scores = top_classes(probabilities, top_k)  # (N, k)
    num_rows, num_top = indices.shape
    offsets = pa.array(np.arange(0, num_rows * num_top + 1, num_top), pa.int32())
    best = pa.array(labels, pa.string()).take(pa.array(indices.reshape(-1)))  # (N * k,)
    columns = {
        "label": best.take(offsets[:-1]),
        "score": pa.array(scores[:, 0], pa.float32()),
        "top_labels": pa.ListArray.from_arrays(offsets, best, schema.field("top_labels").type),
        "top_scores": pa.ListArray.from_arrays(
            offsets, pa.array(scores.reshape(-1), pa.float32()), schema.field("top_scores").type
        ),
    }
    if "probabilities" in schema.names:
        flat = pa.array(probabilities.reshape(-1).astype(np.float16))  # (N * K,)
        columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("probabilities").type)
    return columns


def _kept(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    return pa.nulls(rows.num_rows, field.type) if field.name in _SCORES else rows[field.name].cast(field.type)


def _not_finite(rows: pa.Table, index: int) -> ModelError:
    video, clip = (rows[name][index].as_py() for name in ("video", "clip"))
    return ModelError(
        f"the embedding of clip {clip} of {one_line(video)} is not finite: it has values beyond those of half floats",
        "classify the videos with the new model instead, without --from",
    )
