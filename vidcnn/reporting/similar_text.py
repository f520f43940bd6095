"""What `vidcnn similar` prints, for people and for programs: clips that are alike, and clusters of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vidcnn.embeddings.clips import Clip
from vidcnn.embeddings.clusters import Cluster
from vidcnn.reporting.show_text import csv_text
from vidcnn.reporting.summaries import count
from vidcnn.safe_text import one_line
from vidcnn.sources.names import shown_name

_COLUMNS = 80
_LABEL = 16
_SIMILARITY_DIGITS = 6
_CLIP_FIELDS = ["video", "clip", "start_seconds", "end_seconds", "label", "score", "similarity"]


def similar_text(clip: Clip, found: Sequence[Clip]) -> str:
    """Return the clips that are like one, a line for each."""
    lines = [f"like {clip_name(clip)} ({clip.start_seconds:.1f} s, {_label(clip)}):"]
    if not found:
        return "\n".join([*lines, "no other clip has an embedding"])
    lines.append(f"{'cosine':>6}  {'start':>9}  {'label':<{_LABEL}}  score  clip")
    return "\n".join([*lines, *map(_line, found)])


def similar_json(clip: Clip, found: Sequence[Clip]) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {"clip": _values(clip), "similar": [_values(one) for one in found]}


def similar_csv(found: Sequence[Clip]) -> str:
    """Return the same as CSV, with a line for each clip."""
    return csv_text([_values(clip) for clip in found], _CLIP_FIELDS)


def clusters_text(clusters: Sequence[Cluster]) -> str:
    """Return clusters, each with its most frequent labels and its typical clips."""
    total = sum(cluster.num_clips for cluster in clusters)
    lines = [f"{count(len(clusters), 'cluster')} of {count(total, 'clip')}"]
    for number, cluster in enumerate(clusters, 1):
        labels = ", ".join(f"{one_line(label)[:_LABEL]} {share:.0%}" for label, share in cluster.labels)
        head = f"{number:>3}  {count(cluster.num_clips, 'clip')} ({cluster.share:.0%}), cosine {cluster.similarity:.2f}"
        lines.append(_cut(f"{head}: {labels}"))
        lines += [f"     {_tail(clip_name(clip), _COLUMNS - 5)}" for clip in cluster.typical]
    return "\n".join(lines)


def clusters_json(clusters: Sequence[Cluster]) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "clusters": [
            {
                "clips": cluster.num_clips,
                "share": round(cluster.share, _SIMILARITY_DIGITS),
                "similarity": round(cluster.similarity, _SIMILARITY_DIGITS),
                "labels": [{"label": label, "share": round(share, 4)} for label, share in cluster.labels],
                "typical": [_values(clip) for clip in cluster.typical],
            }
            for cluster in clusters
        ]
    }


def clusters_csv(clusters: Sequence[Cluster]) -> str:
    """Return the typical clips of clusters as CSV, with the number and the size of the cluster."""
    rows = [
        {"cluster": number, "cluster_clips": cluster.num_clips, **_values(clip)}
        for number, cluster in enumerate(clusters, 1)
        for clip in cluster.typical
    ]
    return csv_text(rows, ["cluster", "cluster_clips", *_CLIP_FIELDS])


def clip_name(clip: Clip) -> str:
    """Return what a user calls a clip: ``VIDEO#INDEX``."""
    return f"{shown_name(clip.video)}#{clip.clip}"


def _line(clip: Clip) -> str:
    label = one_line(clip.label or "")
    label = label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
    score = "" if clip.score is None else f"{clip.score:.2f}"
    start = f"{clip.similarity:6.3f}  {clip.start_seconds:9.1f}  {label:<{_LABEL}}  {score:>5}  "
    return start + _tail(clip_name(clip), _COLUMNS - len(start))


def _label(clip: Clip) -> str:
    label = one_line(clip.label or "")
    return label if clip.score is None else f"{label} {clip.score:.2f}"


def _values(clip: Clip) -> dict[str, Any]:
    return asdict(clip) | {"similarity": round(clip.similarity, _SIMILARITY_DIGITS)}


def _cut(text: str) -> str:
    return text if len(text) <= _COLUMNS else text[: _COLUMNS - 1] + "…"


def _tail(text: str, room: int) -> str:
    """Return the end of a text, where names of files differ."""
    return text if len(text) <= room else "…" + text[1 - room :]
