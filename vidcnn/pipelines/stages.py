"""The stages of the inference pipeline as Ray Data sees them: tables in, tables out.

Each is a thin shell around a plain function. What travels between the stages are rows of bytes, one row to a unit of
work, so that a row is a task::

    videos            name, location, ...        one row per video
    planned           unit, news, times          one row per unit of segments
    decoded           pixels, batch, news, times one row per batch of clips
    scored            news, times                one row per batch

News are what the driver needs to know: rows, and what cannot be done. Whatever goes wrong travels along as a value, for
Ray Data would retry an exception, wrap it or drop it. Pickle is used between the command's own processes only.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from vidcnn.errors import InternalError, ModelError, StorageError, VidcnnError, VideoError, first_line
from vidcnn.inference.scoring import Model, News, RowFormat, score_rows, video_without_plan
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines.measuring import PlanWatch, confined
from vidcnn.processes import lower_priority
from vidcnn.reporting.bottleneck import Meter
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import video_text
from vidcnn.storage.machine_limits import machine_limit
from vidcnn.video.attempts import DecodeWork, PlanWork, decode_in_cell, plan_in_cell
from vidcnn.video.batching import ClipBatch, DecodeSettings, timed_batches
from vidcnn.video.cell import Cell, this_cell
from vidcnn.video.planning import PlannedSegment, PlanSettings, group_segments, plan_each, video_key
from vidcnn.video.stopwatch import Confined, StageTimes

Done = tuple[int, frozenset[int]] | None
"""What is committed of a video: the number of segments of its plan, and the indexes of those done."""
_Planned = PlannedSegment | tuple[SourceVideo, VideoError | StorageError]
"""A segment, or a video that cannot be planned."""


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


def count_clips(videos: pa.Table, settings: PlanSettings, work: PlanWork = plan_each) -> tuple[int, int]:
    """Count the clips of some videos.

    Returns:
        Clips of those that can be read, and the size in bytes of all.

    Raises:
        VidcnnError: Something went wrong that is no fault of a video.
    """
    listed = list(unpack_videos(videos))
    try:
        plans = [plan for _, plan in plan_in_cell(listed, settings, this_cell(yields=False), work=work)]
    except Exception as error:
        raise _as_value(error, "planning") from error
    num_clips = sum(planned.segment.num_clips for plan in plans if isinstance(plan, tuple) for planned in plan)
    return num_clips, sum(video.size_bytes for video in listed)


class PlanStage:
    """Videos to units of work.

    Args:
        settings: What plans depend on.
        schema: Columns of the predictions table.
        max_unit_frames: Frames of a unit of work.
        cell: Where videos are read; by default that of the process.
    """

    work: ClassVar[PlanWork] = staticmethod(plan_each)

    def __init__(
        self, settings: PlanSettings, schema: pa.Schema, *, max_unit_frames: int, cell: Cell | None = None
    ) -> None:
        self._settings = settings
        self._schema = schema
        self._max_unit_frames = max_unit_frames
        self._given_cell = cell

    @property
    def _cell(self) -> Cell:
        return self._given_cell or this_cell(yields=False)

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Plan the videos of a block."""
        news: list[News | VidcnnError] = []
        watch = PlanWatch(self._cell)
        for unit in group_segments(self._segments(videos, news), max_frames=self._max_unit_frames):
            yield _planned_row(pickle.dumps(unit), None, watch.read())
            watch = PlanWatch(self._cell)
        if news:
            yield _planned_row(None, pickle.dumps(news), watch.read())

    def _segments(self, videos: pa.Table, news: list[News | VidcnnError]) -> Iterator[PlannedSegment]:
        """Yield what is left to do, and note of what there is nothing."""
        try:
            for item in self._plan_all(videos):
                if isinstance(item, PlannedSegment):
                    yield item
                else:
                    news.append(video_without_plan(video_key(item[0]), item[1], self._schema))
        except Exception as error:
            news.append(_as_value(error, "planning"))

    def _plan_all(self, videos: pa.Table) -> Iterator[_Planned]:
        rows = list(unpack_rows(row.as_py() for row in videos["video"]))
        listed = [video for video, _ in rows]
        for index, plan in plan_in_cell(listed, self._settings, self._cell, work=self.work):
            video, done = rows[index]
            if not isinstance(plan, tuple):
                yield video, plan
            elif done is None or plan[0].segment.count != done[0]:
                yield from plan
            else:
                yield from (planned for planned in plan if planned.segment.index not in done[1])


@dataclass(frozen=True)
class PlanCounts:
    """What some videos would give.

    Attributes:
        first_name: Name of the first video, by which the table is recognised.
        num_videos: Those that can be read and have something left to do.
        num_clips: Clips of these that are left to do.
        num_short_clips: Those that are longer than their video.
        seconds: Their length, as far as these clips cover it.
        bad_videos: Names of those that cannot be read, with the reason.
        confined: What confined the process that read them.
    """

    first_name: str
    num_videos: int
    num_clips: int
    num_short_clips: int
    seconds: float
    bad_videos: tuple[tuple[str, str], ...]
    confined: Confined = ()


class CountStage(PlanStage):
    """Videos to counts: all that a dry run asks for, while the plans of a million videos take minutes to send."""

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Plan the videos of a block, and count."""
        try:
            counts: PlanCounts | VidcnnError = self._count(videos)
        except Exception as error:
            counts = _as_value(error, "planning")
        yield pa.table({"counts": [pickle.dumps(counts)]})

    def _count(self, videos: pa.Table) -> PlanCounts:
        readable: set[str] = set()
        bad: list[tuple[str, str]] = []
        num_clips, num_short_clips, seconds = 0, 0, 0.0
        for item in self._plan_all(videos):
            if isinstance(item, PlannedSegment):
                readable.add(item.video.name)
                num_clips += item.segment.num_clips
                num_short_clips += item.segment.num_clips if item.segment.is_short else 0
                seconds += float((item.segment.end_seconds - item.segment.start_seconds).sum())
            else:
                bad.append((video_text(item[0].name), item[1].message))
        first_name = next(unpack_videos(videos)).name
        confinement = confined(self._cell)
        return PlanCounts(first_name, len(readable), num_clips, num_short_clips, seconds, tuple(bad), confinement)


class DecodeStage:
    """Units of work to batches of clips."""

    work: ClassVar[DecodeWork] = staticmethod(timed_batches)

    def __init__(self, settings: DecodeSettings, *, low_priority: bool, cell: Cell | None = None) -> None:
        self._settings = settings
        self._low_priority = low_priority
        self._cell = cell

    def __call__(self, units: pa.Table) -> Iterator[pa.Table]:
        """Decode the units of a block."""
        if self._low_priority:
            lower_priority()
        for unit, news, measured in zip(units["unit"], units["news"], units["times"], strict=True):
            planned = pickle.loads(measured.as_py())
            if not unit.is_valid:
                yield _decoded_row(None, news.as_py(), planned)
                continue
            try:
                cell = self._cell or this_cell(yields=self._low_priority)
                for batch, times in decode_in_cell(pickle.loads(unit.as_py()), self._settings, cell, work=self.work):
                    times = times._replace(confined=confined(cell))
                    yield _decoded_row(batch, None, times.plus(planned))
                    planned = StageTimes()  # it is told once
            except Exception as error:
                yield _decoded_row(None, pickle.dumps([_as_value(error, "decoding")]), planned)


class ScoreStage:
    """Batches of clips to rows of the predictions table: the model actor.

    What goes wrong with the model is a value, not an exception, which Ray Data would retry and wrap.

    Args:
        load: Loads the model.
        row_format: How rows are made of its scores.
    """

    def __init__(self, load: Callable[[], Model], row_format: RowFormat) -> None:
        self._row_format = row_format
        self._failure: VidcnnError | None = None
        try:
            self._classifier = load()
        except Exception as error:
            self._failure = _model_failure(error)
        self._ready = time.perf_counter()
        self._last_end: float | None = None
        self._model_seconds = 0.0

    def __call__(self, batches: pa.Table) -> pa.Table:
        """Classify the batches of a block."""
        began = time.perf_counter()
        self._model_seconds = 0.0
        rows = zip(batches["pixels"], batches["batch"], batches["news"], strict=True)
        scored = [
            news.as_py() if news.is_valid else pickle.dumps(self._score(_load_batch(pixels, header)))
            for pixels, header, news in rows
        ]
        times = StageTimes()
        for measured in batches["times"]:
            times = times.plus(pickle.loads(measured.as_py()))
        if self._last_end is None:  # before that, there was nothing to wait for: the run was starting
            waited = min(began - self._ready, times.plan_seconds + times.decode_seconds)
        else:
            waited = began - self._last_end
        self._last_end = time.perf_counter()
        waited += self._last_end - began - self._model_seconds
        times = times.plus(StageTimes(model_seconds=self._model_seconds, model_wait_seconds=waited))
        return pa.table(
            {
                "news": pa.array(scored, pa.large_binary()),
                "times": pa.array([pickle.dumps(times), *[None] * (len(scored) - 1)], pa.binary()),
            }
        )

    def _score(self, batch: ClipBatch) -> list[News | VidcnnError]:
        if self._failure is not None:
            return [self._failure]
        began = time.perf_counter()
        try:
            scores = self._classifier.predict(batch.pixels) if batch.clips else None
            self._model_seconds += time.perf_counter() - began
        except Exception as error:
            return [_model_failure(error)]
        try:
            return list(score_rows(batch, scores, self._row_format))
        except Exception as error:
            return [_as_value(error, "making rows")]


def load_classifier(bundle: Bundle, **arguments: Any) -> Model:
    """Load a model, with the arguments of `Classifier`."""
    from vidcnn.inference.classifier import Classifier

    return Classifier(bundle, **arguments)


def unpack_news(scored: pa.Table, meter: Meter | None) -> Iterator[list[News]]:
    """Yield the news of a table of `ScoreStage`.

    Args:
        scored: The table.
        meter: Takes what the stages measured of themselves.

    Raises:
        VidcnnError: A stage failed through no fault of a video.
    """
    for packed, times in zip(scored["news"], scored["times"], strict=True):
        if meter is not None and times.is_valid:
            meter.add(pickle.loads(times.as_py()))
        yield _unpack(packed)


def unpack_plans(planned: pa.Table) -> Iterator[tuple[list[PlannedSegment], list[News]]]:
    """Yield the segments and the news of a table of `PlanStage`; otherwise as `unpack_news`."""
    for unit, news in zip(planned["unit"], planned["news"], strict=True):
        yield pickle.loads(unit.as_py()) if unit.is_valid else [], _unpack(news) if news.is_valid else []


def unpack_counts(counted: pa.Table) -> Iterator[PlanCounts]:
    """Yield the counts of a table of `CountStage`; otherwise as `unpack_news`."""
    for packed in counted["counts"]:
        counts = pickle.loads(packed.as_py())
        if isinstance(counts, Exception):
            raise counts
        yield counts


def _unpack(packed: Any) -> list[News]:
    """Return news; a failure among them is raised."""
    news: list[News] = pickle.loads(packed.as_py())
    for one in news:
        if isinstance(one, Exception):
            raise one
    return news


def _model_failure(error: Exception) -> VidcnnError:
    if isinstance(error, VidcnnError):
        return error
    text = f"the model failed: {type(error).__name__}: {first_line(error)}"
    failure = ModelError(text, "try --precision fp32 --compile off")
    failure.add_note("".join(traceback.format_exception(error)).rstrip())
    return failure


def _as_value(error: Exception, doing: str) -> VidcnnError:
    """Return an exception as a value that the driver raises."""
    if isinstance(error, VidcnnError):
        return error
    return machine_limit(error, doing) or InternalError.of(error, doing)


def _planned_row(unit: bytes | None, news: bytes | None, times: StageTimes) -> pa.Table:
    columns = {"unit": unit, "news": news, "times": pickle.dumps(times)}
    return pa.table({name: pa.array([value], pa.binary()) for name, value in columns.items()})


def _decoded_row(batch: ClipBatch | None, news: bytes | None, times: StageTimes) -> pa.Table:
    pixels, header = b"", None
    if batch is not None:
        pixels = pa.py_buffer(np.ascontiguousarray(batch.pixels))
        empty = np.empty((0, *batch.pixels.shape[1:]), np.uint8)
        header = pickle.dumps((batch.pixels.shape, replace(batch, pixels=empty)))
    return pa.table(
        {
            "pixels": _one_binary(pixels),
            "batch": pa.array([header], pa.binary()),
            "news": pa.array([news], pa.binary()),
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
