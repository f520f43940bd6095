"""A classifier in this process: videos or arrays in, rows out. No Ray, and nothing is written."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.api.runs import Location, source_texts
from vidcnn.choices import PrecisionOption, Switch
from vidcnn.config import InferSpec
from vidcnn.config.base import read_spec
from vidcnn.errors import StorageError, UsageError, VideoError
from vidcnn.inference.collector import SegmentCollector
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.scoring import News, Undone, score_rows, video_without_plan
from vidcnn.models.bundle import Bundle
from vidcnn.models.ranking import top_classes
from vidcnn.models.resolve import resolve_model
from vidcnn.predictions.rows import prediction_rows
from vidcnn.video.attempts import decode_in_cell, plan_in_cell
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlannedSegment, group_segments, video_key

if TYPE_CHECKING:
    from vidcnn.inference.classifier import Classifier

Item = TypeVar("Item")

_NOT_OF_ARRAYS = ("video", "start_seconds", "end_seconds", "error", "error_kind")
_WRITING = ("source", "out", "model", "weights", "labels", "seed", "precision", "device", "compile", "batch_size")


class _Reader:
    """The process in which a model's videos are read, which threads share in turns.

    Attributes:
        owner: The process that may use it.
        lock: Held by the thread that uses it.
        cell: The process that reads; it starts when it is used first.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.cell = Cell(yields=False)
        weakref.finalize(self, _close, self.cell, self.owner)


def _close(cell: Cell, owner: int) -> None:
    if os.getpid() == owner:
        cell.close()


class Model:
    """A network with its weights, labels, sampling and preprocessing, ready to run. `load` makes one.

    Attributes:
        labels: Names of the K classes.
        bundle: All that it consists of.
        classifier: What runs it.
    """

    def __init__(self, bundle: Bundle, classifier: Classifier) -> None:
        self.bundle = bundle
        self.classifier = classifier
        self.labels = bundle.labels
        self._reader = _Reader()

    def __repr__(self) -> str:
        """Return what it is and how it runs."""
        classifier = self.classifier
        return (
            f"<vidcnn.Model {self.bundle.architecture}: {len(self.labels)} classes, "
            f"{self.bundle.sampling.num_frames} frames, {classifier.precision} on {classifier.device}>"
        )

    def classify(self, videos: Location | Sequence[Location] | NDArray[np.uint8], **options: Any) -> pa.Table:
        """Classify videos, or clips that are in memory.

        All rows are kept in memory; for more videos than that is sensible for, use `vidcnn.infer`.

        Args:
            videos: Folders, files, globs, lists or URIs; or one clip, uint8 (T, H, W, 3) RGB, or several, (N, T, H, W,
                3), with T the frames of the model's clips, which are resized and cropped as the model wants it.
            **options: Options of ``vidcnn infer`` for which clips are taken and which columns there are:
                ``num_clips=10``, ``top_k=1``, ``probabilities=True``.

        Returns:
            A row for each clip and each bad video, with the columns that docs/predictions.md explains, by video and
            clip. An array has neither name nor times nor errors: these columns are left out.

        Raises:
            UsageError: An option is unknown, or its value impossible.
            SourceError: There is no such video.
            StorageError: A video cannot be read now, through no fault of its own.
            ValueError: The array has another type or shape.
        """
        if isinstance(videos, np.ndarray):
            return self._classify_array(videos, self._job((".",), options))
        return self._classify_videos(self._job(source_texts(videos), options))

    def embed(self, videos: Location | Sequence[Location] | NDArray[np.uint8], **options: Any) -> pa.Table:
        """Return the input of the network's last layer for each clip, as the column ``embedding`` of half floats (E,).

        Otherwise as `classify`, without the columns of classes.
        """
        table = self.classify(videos, **{**options, "embedding": True, "top_k": 1})
        return table.drop_columns(["label", "score", "top_labels", "top_scores"])

    def logits(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores of clips before softmax or sigmoid.

        Args:
            clips: uint8 (N, T, H, W, 3) RGB.

        Returns:
            float32 (N, K).

        Raises:
            ValueError: `clips` has another type or shape.
        """
        scores: NDArray[np.float32] = self.classifier.logits(clips).numpy()
        return scores

    def _job(self, source: tuple[str, ...], options: dict[str, Any]) -> InferenceJob:
        for name in options:
            if name in _WRITING:
                raise UsageError(f"classify takes no {name}", "give it to vidcnn.load, or use vidcnn.infer")
        job = InferenceJob(read_spec(InferSpec, {"source": source, "out": "none.parquet", **options}), self.bundle)
        if job.clips.sampling.num_frames != self.bundle.sampling.num_frames:
            raise UsageError("num_frames is the model's own here", "vidcnn.infer takes another")
        return job

    def _classify_array(self, clips: NDArray[np.uint8], job: InferenceJob) -> pa.Table:
        scores = self.classifier.predict(clips[None] if clips.ndim == 4 else clips)
        number, spec = len(scores.probabilities), job.spec
        top_indices, top_scores = top_classes(scores.probabilities, spec.top_k)
        rows = prediction_rows(
            job.schema,
            "",
            clips=np.arange(number),
            start_seconds=np.zeros(number),
            end_seconds=np.zeros(number),
            labels=self.labels,
            top_indices=top_indices,
            top_scores=top_scores,
            probabilities=scores.probabilities if spec.probabilities else None,
            embedding=scores.embeddings if spec.embedding else None,
        )
        return rows.drop_columns(list(_NOT_OF_ARRAYS))

    def _classify_videos(self, job: InferenceJob) -> pa.Table:
        collector = SegmentCollector()
        tables: list[pa.Table] = [job.schema.empty_table()]
        reader = self._own_reader()
        with reader.lock:
            for news in self._news(job, reader.cell):
                if isinstance(news, Undone):
                    raise StorageError(f"'{news.video.name}': {news.reason}")
                whole = collector.add(news)
                if whole is not None:
                    tables.append(whole)
        return pa.concat_tables(tables).sort_by([("video", "ascending"), ("clip", "ascending")])

    def _own_reader(self) -> _Reader:
        """Return what reads this model's videos; a process that was forked gets another."""
        if self._reader.owner != os.getpid():
            self._reader = _Reader()
        return self._reader

    def _news(self, job: InferenceJob, cell: Cell) -> Iterator[News]:
        videos = list(islice(job.listing, job.spec.limit))
        planned: list[PlannedSegment] = []
        for index, plan in plan_in_cell(videos, job.plan, cell):
            if isinstance(plan, VideoError | StorageError):
                yield video_without_plan(video_key(videos[index]), plan, job.schema)
            else:
                planned += plan
        classifier = self.classifier
        decode = job.decode_settings(exact=classifier.precision == "exact", batch_size=classifier.batch_size)
        units = group_segments(planned)
        for batch in _ahead(batch for unit in units for batch, _ in decode_in_cell(unit, decode, cell)):
            scores = classifier.predict(batch.pixels) if batch.clips else None
            yield from score_rows(batch, scores, job.row_format)


def load(
    model: Location,
    *,
    weights: str | None = None,
    labels: str | None = None,
    device: str = "auto",
    precision: PrecisionOption = "auto",
    compile: Switch = "off",
    batch_size: int | None = None,
    seed: int = 0,
) -> Model:
    """Load a model.

    Args:
        model: A name from ``vidcnn models``, or a bundle: a directory or a URI.
        weights: For a name: ``kinetics400``, a checkpoint, or ``random``; None is the model's own.
        labels: For a name: a file with a class on each line.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``exact`` is the reference; ``auto`` is ``int8`` for a bundle that was quantized and ``bf16`` for
            others, where the hardware is faster in it, else ``fp32``. Where the network computes wrongly in it here, as
            the golden clips of a bundle show, a warning says so, and names the precision that is taken instead.
        compile: ``on`` compiles the network first, which pays for many clips.
        batch_size: Clips that the network takes at once; None chooses it for the device. Where more are wanted than
            fit or are of use, a warning names how many it takes.
        seed: Of random weights.

    Raises:
        ModelError: There is no such model, device, or weights; or it does not give the scores that its bundle records.
        BundleError: The directory is not a whole bundle.
        UsageError: `weights` or `labels` were given with a bundle.
    """
    from vidcnn.inference.batch_sizes import smaller_batches
    from vidcnn.inference.runtime import load_safely

    bundle = resolve_model(os.fspath(model), weights=weights, labels=labels, seed=seed)
    classifier, notices = load_safely(
        bundle, device=device, precision=precision, compile=compile, batch_size=batch_size
    )
    smaller = smaller_batches(batch_size, classifier.batch_size)
    for text in (*notices, *([smaller] if smaller else [])):
        warnings.warn(text, stacklevel=2)
    return Model(bundle, classifier)


def _ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, and make the next one in a thread meanwhile."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield item
