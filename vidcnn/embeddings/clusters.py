"""Clusters of the clips of a table: groups of like directions of embeddings, with the clips that are typical of each.

Spherical k-means: centres begin among a random sample of the rows, settle on the sample, and are then moved by all
rows, a block at a time. A seed and a table always give the same clusters. Memory is bounded by the sample.

After Dhillon and Modha, "Concept decompositions for large sparse text data using clustering" (2001), with the first
centres of Arthur and Vassilvitskii, "k-means++" (2007).

Letters: N rows, E values of an embedding, K clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.embeddings.clips import COLUMNS, PIECE_ROWS, Clip, FloatArray, clip_of, unit_rows
from vidcnn.errors import UsageError
from vidcnn.predictions.table import Table

SAMPLE_ROWS = 16 * 1024
"""Rows by which centres are found."""
_NUM_PASSES = 2
"""How often all rows move the centres."""
_MOST_ROUNDS = 50
_NUM_LABELS = 3


@dataclass(frozen=True)
class Cluster:
    """A group of clips that are alike.

    Attributes:
        num_clips: Clips of it.
        share: Of all clips.
        similarity: Mean cosine of its clips to its centre.
        labels: Its most frequent labels, each with the share of its clips.
        typical: The clips next to its centre, each of another video.
    """

    num_clips: int
    share: float
    similarity: float
    labels: tuple[tuple[str, float], ...]
    typical: tuple[Clip, ...]


def find_clusters(table: Table, num_clusters: int, *, num_typical: int = 3, seed: int = 0) -> list[Cluster]:
    """Return the clusters of a table, the largest first.

    Args:
        table: The table.
        num_clusters: How many, K; where fewer rows differ, there are fewer.
        num_typical: Clips that are named of each.
        seed: Of what is drawn.

    Raises:
        UsageError: There are fewer clips than clusters.
        OutputError: A file is damaged.
    """
    rng = np.random.default_rng(seed)
    sample, num_rows = _sample(table, rng)
    if num_rows < num_clusters:
        raise UsageError(f"{num_clusters} clusters of {num_rows} clips with an embedding", "ask for fewer")
    centres = _settle(sample, _first_centres(sample, num_clusters, rng))
    if num_rows > len(sample):
        for _ in range(_NUM_PASSES):
            sums = np.zeros_like(centres, np.float64)
            for _, directions in _blocks(table, ["embedding"]):
                nearest = (directions @ centres.T).argmax(axis=1)
                _add(sums, nearest, directions)
            centres = _centres_of(sums, centres)
    return _described(table, centres, num_typical)


def _blocks(table: Table, columns: list[str]) -> Iterator[tuple[pa.Table, FloatArray]]:
    """Yield rows with an embedding, and their directions (N, E)."""
    for piece in table.read(columns):
        for start in range(0, piece.num_rows, PIECE_ROWS):
            rows = piece.slice(start, PIECE_ROWS)
            indexes, directions = unit_rows(rows)
            if len(indexes):
                yield rows.take(indexes), directions


def _sample(table: Table, rng: np.random.Generator) -> tuple[FloatArray, int]:
    """Return a random sample of the directions, and how many rows have one: those that draw the lowest numbers."""
    kept: FloatArray | None = None
    keys = np.empty(0)
    num_rows = 0
    for _, directions in _blocks(table, ["embedding"]):
        num_rows += len(directions)
        keys = np.concatenate([keys, rng.random(len(directions))])
        kept = directions if kept is None else np.concatenate([kept, directions])
        if len(kept) > SAMPLE_ROWS:
            lowest = np.sort(np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS])
            keys, kept = keys[lowest], kept[lowest]
    return np.empty((0, 1), np.float32) if kept is None else kept, num_rows


def _first_centres(sample: FloatArray, num_clusters: int, rng: np.random.Generator) -> FloatArray:
    """Draw rows as centres, each with a chance that grows with its distance from those before."""
    chosen = [int(rng.integers(len(sample)))]
    distance = np.full(len(sample), np.inf)
    for _ in range(num_clusters - 1):
        distance = np.minimum(distance, np.maximum(0, 1 - sample @ sample[chosen[-1]]).astype(np.float64))
        total = distance.sum()
        if total <= 1e-6 * len(sample):  # all others are like one of these
            break
        chosen.append(
            int(np.searchsorted(np.cumsum(distance), rng.random() * total, side="right").clip(0, len(sample) - 1))
        )
    return sample[chosen]


def _settle(sample: FloatArray, centres: FloatArray) -> FloatArray:
    """Move centres to the middle of what is next to them, until nothing changes."""
    before: NDArray[np.int64] | None = None
    for _ in range(_MOST_ROUNDS):
        nearest = (sample @ centres.T).argmax(axis=1)
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        sums = np.zeros_like(centres, np.float64)
        _add(sums, nearest, sample)
        centres = _centres_of(sums, centres)
    return centres


def _add(sums: NDArray[np.float64], nearest: NDArray[np.int64], directions: FloatArray) -> None:
    """Add rows to the sums (K, E) of their clusters."""
    for cluster in np.unique(nearest):
        sums[cluster] += directions[nearest == cluster].sum(axis=0, dtype=np.float64)


def _centres_of(sums: NDArray[np.float64], before: FloatArray) -> FloatArray:
    """Return the directions of sums (K, E); of an empty cluster, the centre before."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-30), before).astype(np.float32)


def _described(table: Table, centres: FloatArray, num_typical: int) -> list[Cluster]:
    num_clusters = len(centres)
    counts = np.zeros(num_clusters, np.int64)
    sums = np.zeros(num_clusters)
    labels: list[Counter[str]] = [Counter() for _ in range(num_clusters)]
    typical: list[dict[str, Clip]] = [{} for _ in range(num_clusters)]
    for rows, directions in _blocks(table, COLUMNS):
        similarities = directions @ centres.T  # (N, K)
        nearest = similarities.argmax(axis=1)
        own = similarities[np.arange(len(nearest)), nearest]
        counts += np.bincount(nearest, minlength=num_clusters)
        sums += np.bincount(nearest, own, num_clusters)
        for cluster in np.unique(nearest):
            members = np.flatnonzero(nearest == cluster)
            for each in rows["label"].take(pa.array(members)).value_counts().to_pylist():
                labels[cluster][str(each["values"])] += each["counts"]
            _keep_typical(typical[cluster], rows, members, own[members], num_typical)
    found = [
        Cluster(
            num_clips=int(counts[cluster]),
            share=float(counts[cluster] / counts.sum()),
            similarity=float(sums[cluster] / counts[cluster]),
            labels=tuple(
                (label, num / int(counts[cluster])) for label, num in labels[cluster].most_common(_NUM_LABELS)
            ),
            typical=tuple(sorted(typical[cluster].values(), key=_order)),
        )
        for cluster in np.flatnonzero(counts)
    ]
    return sorted(found, key=lambda cluster: -cluster.num_clips)


def _keep_typical(
    kept: dict[str, Clip], rows: pa.Table, members: NDArray[np.int64], similarities: FloatArray, num: int
) -> None:
    """Keep the clips next to a centre, the nearest of each of `num` videos."""
    for place in np.argsort(-similarities, kind="stable"):
        floor = min((clip.similarity for clip in kept.values()), default=-np.inf) if len(kept) >= num else -np.inf
        if similarities[place] <= floor:
            return
        clip = clip_of(rows, int(members[place]), similarities[place])
        if clip.video not in kept or clip.similarity > kept[clip.video].similarity:
            kept[clip.video] = clip
        if len(kept) > num:
            del kept[max(kept.values(), key=_order).video]


def _order(clip: Clip) -> tuple[float, str, int]:
    return -clip.similarity, clip.video, clip.clip
