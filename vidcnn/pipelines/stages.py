"""The stages of the inference pipeline as Ray Data sees them: tables in, tables out.

Each is a thin shell around a plain function. What travels between the stages are rows of bytes, one row to a unit of
work, so that a row is a task::

    videos            name, location, ...        one row per video
    planned           unit                       one row per unit of segments
    decoded           pixels, batch, times       one row per batch of clips
    scored            pieces, times              one row per batch

Errors of single videos travel along as rows, and so do the times that the stages measure of themselves. Pickle is used
between the command's own processes only.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa

from vidcnn.batching import ClipBatch, DecodeSettings, decode_unit
from vidcnn.errors import ModelError, VidcnnError, VideoError
from vidcnn.limits import StageTimes
from vidcnn.planning import PlannedSegment, PlanSettings, group_segments, plan_video, video_key
from vidcnn.predictions.ledger import video_text
from vidcnn.processes import lower_priority
from vidcnn.scoring import Piece, RowFormat, score_rows, unreadable_video
from vidcnn.sources import SourceVideo
from vidcnn.stopwatch import Stopwatch
from vidcnn.storage import is_remote

Done = tuple[int, frozenset[int]] | None
"""What is committed of a video: the number of segments of its plan, and the indexes of those done."""
_Planned = PlannedSegment | tuple[SourceVideo, VideoError]
"""A segment, or a video that cannot be read."""
_NUM_REMOTE_PLANS = 16
"""Videos in object storage that a planning task reads at once: each takes some round trips."""


def pack_video(video: SourceVideo, done: Done) -> bytes:
    """Put a video, with what is done of it already, into a row."""
    return pickle.dumps((video, done))


def video_table(rows: Iterable[bytes]) -> pa.Table:
    """Put rows of `pack_video` into a table."""
    return pa.table({"video": pa.array(rows, pa.binary())})


def unpack_rows(rows: Iterable[bytes]) -> Iterator[tuple[SourceVideo, Done]]:
    """Undo `pack_video`."""
    return map(pickle.loads, rows)


def unpack_videos(table: pa.Table) -> Iterator[SourceVideo]:
    """Yield the videos of a table."""
    for row in table["video"]:
        yield pickle.loads(row.as_py())[0]


def count_clips(videos: pa.Table, settings: PlanSettings) -> tuple[int, int]:
    """Count the clips of some videos.

    Returns:
        Clips of those that can be read, and the size in bytes of all.
    """
    num_clips = size_bytes = 0
    for video in unpack_videos(videos):
        size_bytes += video.size_bytes
        try:
            num_clips += sum(planned.segment.num_clips for planned in plan_video(video, settings))
        except VideoError:
            continue
    return num_clips, size_bytes


class PlanStage:
    """Videos to units of work."""

    def __init__(self, settings: PlanSettings, schema: pa.Schema, *, max_unit_frames: int) -> None:
        self._settings = settings
        self._schema = schema
        self._max_unit_frames = max_unit_frames

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Plan the videos of a block."""
        failed: list[Any] = []
        segments = self._plan_all(pickle.loads(row.as_py()) for row in videos["video"])
        for unit in group_segments(_split_failures(segments, failed, self._schema), max_frames=self._max_unit_frames):
            yield pa.table({"unit": [pickle.dumps(unit)], "pieces": pa.array([None], pa.binary())})
        if failed:
            yield pa.table({"unit": pa.array([None], pa.binary()), "pieces": [pickle.dumps(failed)]})

    def _plan_all(self, videos: Iterable[tuple[SourceVideo, Done]]) -> Iterator[_Planned]:
        rows = iter(videos)
        with ThreadPoolExecutor(_NUM_REMOTE_PLANS) as pool:
            while some := list(islice(rows, _NUM_REMOTE_PLANS)):
                is_slow = any(is_remote(video.location) for video, _ in some)
                yield from chain.from_iterable((pool.map if is_slow else map)(self._plan, some))

    def _plan(self, row: tuple[SourceVideo, Done]) -> list[_Planned]:
        video, done = row
        try:
            planned = plan_video(video, self._settings)
        except VideoError as error:
            return [(video, error)]
        if done is None or planned[0].segment.count != done[0]:
            return list(planned)
        return [one for one in planned if one.segment.index not in done[1]]


@dataclass(frozen=True)
class PlanCounts:
    """What some videos would give.

    Attributes:
        first_name: Name of the first of them.
        num_videos: Those that can be read and have something left to do.
        num_clips: Clips of these that are left to do.
        seconds: Their length, as far as these clips cover it.
        bad_videos: Names of those that cannot be read, with the reason.
    """

    first_name: str
    num_videos: int
    num_clips: int
    seconds: float
    bad_videos: tuple[tuple[str, str], ...]


class CountStage(PlanStage):
    """Videos to counts: all that a dry run asks for, while the plans of a million videos take minutes to send."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Plan the videos of a block, and count."""
        readable: set[str] = set()
        bad: list[tuple[str, str]] = []
        num_clips, seconds = 0, 0.0
        for item in self._plan_all(pickle.loads(row.as_py()) for row in videos["video"]):
            if isinstance(item, PlannedSegment):
                readable.add(item.video.name)
                num_clips += item.segment.num_clips
                seconds += float((item.segment.end_seconds - item.segment.start_seconds).sum())
            else:
                bad.append((video_text(item[0].name), item[1].message))
        counts = PlanCounts(next(unpack_videos(videos)).name, len(readable), num_clips, seconds, tuple(bad))
        yield pa.table({"counts": [pickle.dumps(counts)]})


class DecodeStage:
    """Units of work to batches of clips."""

    def __init__(self, settings: DecodeSettings, *, low_priority: bool) -> None:
        self._settings = settings
        self._low_priority = low_priority

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        """Decode the units of a block."""
        if self._low_priority:
            lower_priority()
        for unit, pieces in zip(units["unit"], units["pieces"], strict=True):
            if not unit.is_valid:
                yield _decoded_row(None, pieces.as_py(), StageTimes())
                continue
            watch = Stopwatch()
            for batch in decode_unit(pickle.loads(unit.as_py()), self._settings):
                spent = watch.read()
                yield _decoded_row(
                    batch, None, StageTimes(spent.seconds, spent.cpu_seconds, decode_queue_seconds=spent.queue_seconds)
                )
                watch = Stopwatch()  # while the row was taken, nothing was decoded


class CheckStage(DecodeStage):
    """Units of work to the segments that were decoded, without their pixels."""

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        """Decode the units of a block, and name their segments."""
        for unit in units["unit"]:
            if unit.is_valid:
                planned = pickle.loads(unit.as_py())
                for _ in decode_unit(planned, self._settings):
                    pass
                yield pa.table({"segments": [pickle.dumps([segment.key for segment in planned])]})


class ScoreStage:
    """Batches of clips to rows of the predictions table: the model actor.

    What goes wrong with the model is a value, not an exception, which Ray Data would retry and wrap.
    """

    def __init__(self, classifier: dict[str, Any], row_format: RowFormat) -> None:
        self._row_format = row_format
        self._failure: VidcnnError | None = None
        try:
            self._classifier = _load_classifier(**classifier)
        except Exception as error:
            self._failure = _model_failure(error)
        self._last_end: float | None = None
        self._model_seconds = 0.0

    def __call__(self, batches: pa.Table) -> pa.Table:
        """Classify the batches of a block."""
        since = self._last_end or time.perf_counter()
        self._model_seconds = 0.0
        rows = zip(batches["pixels"], batches["batch"], batches["pieces"], strict=True)
        scored = [
            pieces.as_py() if pieces.is_valid else pickle.dumps(self._score(_load_batch(pixels, header)))
            for pixels, header, pieces in rows
        ]
        self._last_end = time.perf_counter()
        waited = self._last_end - since - self._model_seconds
        times = StageTimes(model_seconds=self._model_seconds, model_wait_seconds=waited)
        for measured in batches["times"]:
            times = times.plus(pickle.loads(measured.as_py()))
        return pa.table(
            {
                "pieces": pa.array(scored, pa.large_binary()),
                "times": pa.array([pickle.dumps(times), *[None] * (len(scored) - 1)], pa.binary()),
            }
        )

    def _score(self, batch: ClipBatch) -> list[Piece] | VidcnnError:
        if self._failure is not None:
            return self._failure
        began = time.perf_counter()
        try:
            scores = self._classifier.predict(batch.pixels) if batch.clips else None
            self._model_seconds += time.perf_counter() - began
        except Exception as error:
            return _model_failure(error)
        return list(score_rows(batch, scores, self._row_format))


def _load_classifier(bundle: Any, **arguments: Any) -> Any:
    import ray

    from vidcnn.inference import Classifier

    return Classifier(ray.get(bundle), **arguments)


def _model_failure(error: Exception) -> VidcnnError:
    if isinstance(error, VidcnnError):
        return error
    text = (str(error).splitlines() or [""])[0]
    return ModelError(f"the model failed: {type(error).__name__}: {text}", "try --precision fp32 --compile off")


def _split_failures(planned: Iterable[_Planned], failed: list[Any], schema: pa.Schema) -> Iterator[PlannedSegment]:
    for item in planned:
        if isinstance(item, PlannedSegment):
            yield item
        else:
            failed.append(unreadable_video(video_key(item[0]), item[1], schema))


def _decoded_row(batch: ClipBatch | None, pieces: bytes | None, times: StageTimes) -> pa.Table:
    pixels, header = b"", None
    if batch is not None:
        pixels = pa.py_buffer(np.ascontiguousarray(batch.pixels))
        empty = np.empty((0, *batch.pixels.shape[1:]), np.uint8)
        header = pickle.dumps((batch.pixels.shape, replace(batch, pixels=empty)))
    return pa.table(
        {
            "pixels": _one_binary(pixels),
            "batch": pa.array([header], pa.binary()),
            "pieces": pa.array([pieces], pa.binary()),
            "times": pa.array([pickle.dumps(times)], pa.binary()),
        }
    )


def _one_binary(data: Any) -> pa.Array:
    """Return an array of one value without copying its bytes."""
    buffer = pa.py_buffer(data)
    return pa.Array.from_buffers(
        pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, buffer.size], np.int64)), buffer]
    )


def _load_batch(pixels: Any, header: Any) -> ClipBatch:
    shape, batch = pickle.loads(header.as_py())
    data = np.frombuffer(pixels.as_buffer(), np.uint8).reshape(shape)
    loaded: ClipBatch = replace(batch, pixels=data)
    return loaded
