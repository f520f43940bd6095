"""Score the clips of a table again with the last layer of another model, by their embeddings: no video is read.

Each row of the table has its row in the new one, of the same video, version and segment; an error stays an error. The
driver is the only writer, and the only worker: the last layer of a million clips takes seconds. The same call again
does what is new or other in the table, or not finished.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vidcnn.config import InferSpec
from vidcnn.config.differences import differences, is_same
from vidcnn.errors import CONTINUES, ModelError, SourceError, UsageError
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.runtime import Runtime
from vidcnn.interrupts import interruptible
from vidcnn.models.backbone import backbone_sha256
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import resolve_model
from vidcnn.predictions.derived import ERROR_COLUMNS, DerivedOutput, error_digests, with_other_errors
from vidcnn.predictions.ledger import Ledger
from vidcnn.predictions.merging import Merged
from vidcnn.predictions.output_storage import open_storage
from vidcnn.predictions.table import Table
from vidcnn.reporting.live import LiveLine, ProgressDisplay
from vidcnn.reporting.progress import RunProgress, describe
from vidcnn.reporting.results import InferReport
from vidcnn.reporting.run_report import RunRecord
from vidcnn.sampling.segments import Sampling
from vidcnn.storage.uris import public_location

if TYPE_CHECKING:
    from vidcnn.inference.head import Head

EMBEDDINGS = "embeddings"
"""What the setting `scored_from` is of such a table."""

_PIECE_ROWS = 16 * 1024
"""Rows that are scored at once, which bounds the memory that their probabilities take."""
_OF_BACKBONE = ("model", "preprocessing", "clip_num_frames", "clip_stride", "clip_fps")


def run_rescoring(spec: InferSpec, *, show_progress: bool = True, record: RunRecord | None = None) -> InferReport:
    """Score a table again, in this process.

    Args:
        spec: The job; its `from_` is the table.
        show_progress: Show on stderr how far it is.
        record: Is kept up to date with the results of the run.

    Raises:
        SourceError: There is no such table, or it has no embeddings.
        ModelError: Its embeddings are not of this model's backbone.
        VidcnnError: The job cannot be done, or was interrupted.
    """
    began = time.monotonic()
    record = record or RunRecord()
    with ExitStack() as stack:
        line = stack.enter_context(LiveLine(enabled=show_progress))
        stack.enter_context(interruptible(CONTINUES))
        storage = open_storage(spec.out)
        stack.callback(storage.close)
        line.begin("starting: reading the table, and the model")
        assert spec.from_ is not None
        table = stack.enter_context(Table.open(spec.from_))
        bundle = resolve_model(spec.model, weights=spec.weights, labels=spec.labels, seed=spec.seed)
        job = InferenceJob(spec, bundle)
        record.settings = rescored_settings(table, job)
        from vidcnn.inference.head import Head, rescored_schema

        schema = rescored_schema(
            table.schema,
            num_classes_for_probabilities=len(job.bundle.labels) if spec.probabilities else None,
            keeps_embedding=spec.embedding,
        )
        output = stack.enter_context(DerivedOutput.in_storage(storage, schema=schema, run_id=record.run_id))
        output.use_settings(record.settings)
        changed = _changed(table, output)
        num_videos = sum(1 for _ in output.undone(table.entries(), changed))
        record.num_listed, record.num_waiting = table.num_videos, 0
        record.progress = progress = RunProgress(num_videos, num_videos)
        if num_videos:
            _run(table, output, Head(job.bundle), schema, spec, changed, progress, show_progress=show_progress)
        output.publish()
        record.summary = output.summary()
        return InferReport(
            summary=record.summary,
            num_videos=table.num_videos,
            num_videos_done=progress.num_videos_done,
            num_videos_waiting=0,
            undone=(),
            num_clips_done=progress.num_clips,
            elapsed_seconds=time.monotonic() - began,
            clips_per_second=progress.mean_clips_per_second,
            ignored={},
            empty_sources=(),
            unused_columns={},
            runtime=Runtime(record.settings["precision"], record.settings["compiled"]),
            in_process=True,
        )


def rescored_settings(table: Table, job: InferenceJob) -> dict[str, Any]:
    """Return the settings of a table that is scored again: those of its embeddings, with those of the new last layer.

    Args:
        table: The one with the embeddings.
        job: The model, with what the user wants of its rows.

    Raises:
        SourceError: The table has no embeddings, or it is not known of which backbone they are.
        ModelError: The embeddings are not of this model's backbone.
        UsageError: `from_model` is not the model of the table.
    """
    spec, was = job.spec, table.settings
    shown = public_location(spec.from_ or "")
    if table.embedding_size is None:
        raise SourceError(f"{shown} has no embeddings", "vidcnn infer writes them with --embedding")
    now = job.settings(Runtime(was["precision"], was["compiled"]))
    if _backbone(was, job.bundle, spec, shown) != job.backbone_sha256:
        named = differences(*({name: settings.get(name) for name in _OF_BACKBONE} for settings in (was, now)))
        raise ModelError(
            f"the embeddings of {shown} are not of the backbone of {public_location(spec.model)}: "
            + ("; ".join(named) or "other weights before the last layer, or other arguments"),
            "classify the videos with it; a last layer for these embeddings is trained with --freeze backbone",
        )
    own = ("weights_sha256", "weights", "labels", "top_k", "backbone_sha256")
    return {**was, **{name: now[name] for name in own}, "scored_from": EMBEDDINGS}


def _backbone(was: Mapping[str, Any], bundle: Bundle, spec: InferSpec, shown: str) -> str:
    """Return the hash of the backbone of a table's embeddings; for one that does not record it, by its model."""
    if was.get("backbone_sha256") is not None:
        return str(was["backbone_sha256"])
    if spec.from_model is not None:
        bundle = resolve_model(spec.from_model)
        is_same_model = bundle.weights_sha256 == was["weights_sha256"]
        if not (is_same_model and is_same(asdict(bundle.preprocessing), was["preprocessing"])):
            raise UsageError(
                f"--from-model {public_location(spec.from_model)} is not the model of {shown}",
                f"that is {was['model']} with weights of the SHA-256 {was['weights_sha256']}",
            )
    elif bundle.weights_sha256 != was["weights_sha256"]:
        raise SourceError(
            f"{shown} is of an earlier version, and does not name the backbone of its embeddings",
            "give the model that it was written with, with --from-model",
        )
    sampling = Sampling(was["clip_num_frames"], was.get("clip_stride"), was.get("clip_fps"))
    return backbone_sha256(replace(bundle, sampling=sampling))


def _changed(table: Table, output: DerivedOutput) -> set[str]:
    """Return the videos that have other errors than when they were scored: they were done again since."""
    if output.is_empty:
        return set()
    return with_other_errors(error_digests(output.read(ERROR_COLUMNS)), error_digests(table.read(ERROR_COLUMNS)))


def _run(
    table: Table,
    output: DerivedOutput,
    head: Head,
    schema: pa.Schema,
    spec: InferSpec,
    changed: set[str],
    progress: RunProgress,
    *,
    show_progress: bool,
) -> None:
    """Score all that is to do, and commit it."""
    from vidcnn.inference.head import rescored_rows

    with ProgressDisplay(partial(describe, progress), enabled=show_progress) as display:
        try:
            for ledger, rows in _with_ledgers(table, output.undone(table.entries(), changed)):
                pieces = [rows.slice(start, _PIECE_ROWS) for start in range(0, rows.num_rows, _PIECE_ROWS)]
                scored = pa.concat_tables([rescored_rows(piece, head, schema, spec.top_k) for piece in pieces])
                output.add_videos(ledger, scored)
                _count(progress, scored)
                if output.should_commit(time.monotonic()):
                    output.commit()
                display.update()
        except BaseException:
            output.commit()  # what is finished stays, whatever ended the run
            raise


def _with_ledgers(table: Table, entries: Iterable[Merged]) -> Iterator[tuple[Ledger, pa.Table]]:
    """Yield the rows of videos in pieces, each with what is known of its videos."""
    waiting: Ledger = {}

    def noted() -> Iterator[Merged]:
        for merged in entries:
            waiting[merged.video] = merged.entry._replace(files=())
            yield merged

    for rows in table.rows(noted()):
        yield {video: waiting.pop(video) for video in rows["video"].unique().to_pylist()}, rows


def _count(progress: RunProgress, rows: pa.Table) -> None:
    """Count the rows of whole videos."""
    counts = rows.group_by("video", use_threads=False).aggregate([("clip", "count"), ("label", "count")])
    errors: dict[str, Counter[str]] = {}
    bad = rows.select(["video", "error_kind"]).filter(rows["error"].is_valid())
    for video, kind in zip(bad["video"].to_pylist(), bad["error_kind"].to_pylist(), strict=True):
        errors.setdefault(video, Counter())[kind] += 1
    columns = (counts[name].to_pylist() for name in ("video", "clip_count", "label_count"))
    for video, num_clips, num_predictions in zip(*columns, strict=True):
        progress.add_segment(
            video, 1, 1, num_clips=num_clips, num_predictions=num_predictions, errors=errors.get(video, {})
        )
