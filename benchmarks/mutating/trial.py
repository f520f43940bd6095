"""What becomes of one file: planned, decoded and scored by the stages of a run, with what that costs.

The model is a stub, whose scores are a checksum of the pixels: rows are the same only if all pixels are.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from vidcnn.errors import ERROR_KINDS
from vidcnn.inference.collector import SegmentCollector
from vidcnn.inference.scoring import RowFormat, Undone
from vidcnn.pipelines.stages import (
    DecodeStage,
    PlanStage,
    ScoreStage,
    pack_video,
    unpack_news,
    unpack_plans,
    video_table,
)
from vidcnn.predictions import prediction_schema
from vidcnn.processes import cpu_seconds
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES, ClipSpec, Sampling
from vidcnn.sources import SourceVideo
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlanSettings

CLIPS = ClipSpec(Sampling(8, stride=4))
_PREPROCESSING = Preprocessing(resize=(64, 86), crop=(64, 64), mean=(0.45,) * 3, std=(0.225,) * 3)
MAX_PIXELS = 4096 * 4096
TIMEOUT_SECONDS = 60.0
PLAN = PlanSettings(CLIPS, image_fps=25, max_pixels=MAX_PIXELS, timeout_seconds=TIMEOUT_SECONDS)
DECODE = DecodeSettings(
    _PREPROCESSING, exact=False, batch_size=16, max_pixels=MAX_PIXELS, timeout_seconds=TIMEOUT_SECONDS
)
FORMAT = RowFormat(
    prediction_schema(num_classes_for_probabilities=None, embedding_size=None), tuple(map(str, range(256))), top_k=1
)

Row = tuple[int | None, float | None, float | None, str | None, float | None, str | None]
"""Clip, start, end, label, score, kind of the error."""


@dataclass
class Outcome:
    """What became of a file.

    Attributes:
        rows: All rows, in their order.
        faults: What is wrong with how vidcnn took it, in words; empty if nothing is.
        num_planned: Clips that were planned; None where the file cannot be planned.
        cpu_seconds: What its processes computed.
        peak_bytes: The largest of its processes.
        message: The text of the first error.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    num_planned: int | None = None
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    message: str = ""

    @property
    def kinds(self) -> set[str]:
        """Which kinds of rows there are."""
        return {row[-1] or "prediction" for row in self.rows}


@dataclass(frozen=True)
class _Scores:
    probabilities: npt.NDArray[np.float32]
    embeddings: None = None


class _Checksum:
    """A model whose class and score are a checksum of a clip's pixels."""

    def predict(self, clips: npt.NDArray[np.uint8]) -> Any:
        probabilities = np.zeros((len(clips), 256), np.float32)
        for row, clip in zip(probabilities, clips, strict=True):
            checksum = zlib.crc32(clip.tobytes())
            row[checksum % 256] = (checksum >> 8) / 2**25 + 0.5  # 24 bits, all of which a float32 keeps
        return _Scores(probabilities)


class Trial:
    """The stages of a run, with their two processes, for one file after the other."""

    def __init__(self) -> None:
        self._plan_cell, self._decode_cell = Cell(), Cell()
        schema = FORMAT.schema
        self._plan = PlanStage(PLAN, schema, max_unit_frames=MAX_SEGMENT_FRAMES, cell=self._plan_cell)
        self._decode = DecodeStage(DECODE, low_priority=False, cell=self._decode_cell)
        self._score = ScoreStage(lambda: _Checksum(), FORMAT)

    def close(self) -> None:
        """End the processes."""
        self._plan_cell.close()
        self._decode_cell.close()

    def run(self, path: Path) -> Outcome:
        """Take a file through all stages."""
        outcome = Outcome()
        with _Watch() as watch:
            try:
                self._go(path, outcome)
            except Exception as error:  # whatever it is, it would have ended the run
                outcome.faults.append(f"the run ends: {type(error).__name__}: {error}")
        outcome.cpu_seconds, outcome.peak_bytes = watch.cpu_seconds, watch.peak_bytes
        if not outcome.faults:
            outcome.faults += _faults_of(outcome)
        return outcome

    def _go(self, path: Path, outcome: Outcome) -> None:
        status = path.stat()
        video = SourceVideo(path.name, str(path), False, status.st_size, status.st_mtime_ns, None, None)
        planned_tables = list(self._plan(video_table([pack_video(video, None)])))
        collector = SegmentCollector()
        for planned in planned_tables:
            for segments, _ in unpack_plans(planned):
                outcome.num_planned = (outcome.num_planned or 0) + sum(each.segment.num_clips for each in segments)
        for planned in planned_tables:
            for decoded in self._decode(planned):
                for news in unpack_news(self._score(decoded), None):
                    for one in news:
                        self._take(one, collector, outcome)
        outcome.num_planned = outcome.num_planned or None

    def _take(self, one: Any, collector: SegmentCollector, outcome: Outcome) -> None:
        if isinstance(one, Undone):
            outcome.faults.append(f"left to the next run, and so to each: {one.reason}")
        elif (rows := collector.add(one)) is not None:
            found = rows.to_pylist()
            outcome.message = outcome.message or next((row["error"] for row in found if row["error"]), "")
            names = ("clip", "start_seconds", "end_seconds", "label", "score", "error_kind")
            outcome.rows += [tuple(row[name] for name in names) for row in found]


def _faults_of(outcome: Outcome) -> Iterator[str]:
    """Yield what is wrong with the rows of a file."""
    rows = sorted(outcome.rows, key=lambda row: -1 if row[0] is None else row[0])
    expected = [None] if outcome.num_planned is None else list(range(outcome.num_planned))
    if [row[0] for row in rows] != expected:
        yield f"{len(rows)} rows, of clips {[row[0] for row in rows[:5]]}..., for {outcome.num_planned} planned clips"
    for clip, start, end, label, score, kind in rows:
        if kind is None and (label is None or score is None or clip is None):
            yield f"the row of clip {clip} has neither a label nor an error"
        if kind is not None and (kind not in ERROR_KINDS or label is not None):
            yield f"the row of clip {clip} has the kind {kind} and the label {label}"
        if clip is not None and not (start is not None and end is not None and start < end < float("inf")):
            yield f"clip {clip} covers [{start}, {end})"


class _Watch:
    """What the processes that are children of this one compute, and how large they become, meanwhile."""

    _LOOK_SECONDS = 0.02

    def __enter__(self) -> _Watch:
        self._me = psutil.Process()
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._is_over = threading.Event()
        self.peak_bytes = 0
        for child in self._me.children():
            self._first[child.pid] = cpu_seconds(child.pid)
            with suppress(OSError):
                Path(f"/proc/{child.pid}/clear_refs").write_text("5")  # forget the peak so far, proc(5)
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._look()

    @property
    def cpu_seconds(self) -> float:
        """What they computed."""
        return sum(last - self._first.get(pid, 0.0) for pid, last in self._last.items())

    def _look_on(self) -> None:
        wait = self._LOOK_SECONDS
        while not self._is_over.wait(wait):
            began = time.monotonic()
            self._look()
            wait = max(self._LOOK_SECONDS, 10 * (time.monotonic() - began))

    def _look(self) -> None:
        for child in self._me.children():
            if seconds := cpu_seconds(child.pid):
                self._last[child.pid] = seconds
            self.peak_bytes = max(self.peak_bytes, _peak_bytes(child.pid))


def _peak_bytes(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    return 0


def leftovers() -> dict[str, int]:
    """Return how many descriptors, children, threads and pieces of shared memory this process has."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(psutil.Process().children(recursive=True)),
        "threads": threading.active_count(),
        "shared memory": sum("/memfd:" in line or "/dev/shm/" in line for line in open("/proc/self/maps")),
    }
