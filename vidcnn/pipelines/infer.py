"""Classify the videos of a source, and commit their rows.

The driver lists the source, leaves out what is done, lets Ray Data stream the rest through planning, decoding and the
model, and is the only writer of the output. What a run lost on its way, because a process died again and again, is seen
from what is not committed: it is done once more, each segment apart, and what is lost then too becomes error rows.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import ray

from vidcnn.batching import DecodeSettings
from vidcnn.bundle import Bundle
from vidcnn.clips import MAX_SEGMENT_FRAMES, ClipSpec
from vidcnn.cluster import Machine, Shares, local_ray, share_resources
from vidcnn.config import InferSpec, parse_pool
from vidcnn.errors import RunInterruptedError, UsageError, VidcnnError, VideoError
from vidcnn.ledger import VideoKey
from vidcnn.models.registry import architecture
from vidcnn.models.resolve import resolve_model
from vidcnn.output import Output
from vidcnn.pipelines.dataset import StageSettings, decodable_segments, plan_videos, score_videos
from vidcnn.pipelines.stages import count_clips, pack_video, unpack_videos, video_table
from vidcnn.planning import PlanSettings, video_key
from vidcnn.predictions import Summary, prediction_schema
from vidcnn.progress import ProgressDisplay, RunProgress
from vidcnn.runtime import Runtime, choose_runtime
from vidcnn.scoring import Piece, RowFormat, SegmentCollector, failed_segment, unreadable_video
from vidcnn.sources import Listing, SourceVideo

_MAX_BLOCK_VIDEOS = 256
"""Videos planned by one task, at most."""
_NUM_BLOCKS = 64
"""Tasks among which the planning of a small source is divided."""


@dataclass(frozen=True)
class InferReport:
    """How a run ended.

    Attributes:
        summary: Counts of the whole table.
        num_videos: Videos of the source.
        num_videos_done: Those that this run did.
        num_clips_done: Rows for clips that this run committed.
        elapsed_seconds: Wall time, start-up included.
        clips_per_second: Clips of this run per second from its first rows to its last; None where that says nothing.
        ignored: Files that were left out of folders, by extension.
        runtime: How the model ran; None where nothing was left to do.
    """

    summary: Summary
    num_videos: int
    num_videos_done: int
    num_clips_done: int
    elapsed_seconds: float
    clips_per_second: float | None
    ignored: dict[str, int]
    runtime: Runtime | None


@dataclass(frozen=True)
class SourcePlan:
    """What a run would do.

    Attributes:
        num_videos: Videos of the source.
        num_videos_done: Those that are committed already.
        num_videos_planned: Those that are left and can be read.
        num_clips: Clips of these.
        seconds: Their length, as far as clips cover it.
        bad_videos: Names of those that cannot be read, with the reason.
        ignored: Files that were left out of folders, by extension.
    """

    num_videos: int
    num_videos_done: int
    num_videos_planned: int
    num_clips: int
    seconds: float
    bad_videos: tuple[tuple[str, str], ...]
    ignored: dict[str, int]


@dataclass(frozen=True)
class _Todo:
    """What is left to do of a source."""

    videos: tuple[pa.Table, ...]
    num_listed: int
    num_videos: int
    size_bytes: int
    sample: tuple[SourceVideo, ...]


class _Job:
    """A spec with what it stands for: the model, the clips, the source, the columns."""

    def __init__(self, spec: InferSpec) -> None:
        self.spec = spec
        self.listing = Listing(spec.source)
        bundle = resolve_model(spec.model, weights=spec.weights, labels=spec.labels, seed=spec.seed)
        self.clips = _clip_spec(spec, bundle)
        self.bundle = replace(bundle, sampling=self.clips.sampling)
        self.plan = PlanSettings(self.clips, spec.image_fps, spec.max_pixels)
        self.schema = prediction_schema(
            num_classes_for_probabilities=len(self.bundle.labels) if spec.probabilities else None,
            embedding_size=self.bundle.embedding_size if spec.embedding else None,
        )

    def settings(self, runtime: Runtime) -> dict[str, Any]:
        """Return all that the rows depend on, for the output's metadata."""
        return {
            "model": self.bundle.architecture,
            "weights_sha256": self.bundle.weights_sha256,
            "weights": self.bundle.provenance.weights,
            **{f"clip_{name}": value for name, value in asdict(self.clips.sampling).items()},
            "step": self.clips.step,
            "num_clips": self.clips.num_clips,
            "short_clips": self.clips.short_clips,
            "image_fps": self.spec.image_fps,
            "max_pixels": self.spec.max_pixels,
            "preprocessing": asdict(self.bundle.preprocessing),
            "top_k": self.spec.top_k,
            "precision": runtime.precision,
            "compiled": runtime.compiled,
        }

    def open_output(self) -> Output:
        return Output.open(self.spec.out, schema=self.schema)

    def recorded_runtime(self, output: Output) -> Runtime | None:
        """Return how the model ran when the output was written, so that rows do not depend on an interruption."""
        recorded = output.recorded_settings
        if recorded is None:
            return None
        runtime = Runtime.from_settings(recorded, self.spec)
        output.use_settings(self.settings(runtime))
        return runtime


def run_inference(spec: InferSpec, *, show_progress: bool = True) -> InferReport:
    """Run an inference job on an embedded Ray.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted; single bad videos are rows instead.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        job = _Job(spec)
        output = stack.enter_context(job.open_output())
        runtime = job.recorded_runtime(output)
        todo = _list_todo(job.listing, output, spec.limit)
        progress = RunProgress(todo.num_videos, todo.size_bytes)
        if todo.num_videos:
            machine = stack.enter_context(local_ray(num_gpus=0 if spec.device == "cpu" else None))
            device = "cuda" if _uses_gpus(spec, machine) else "cpu"
            if runtime is None:
                runtime = choose_runtime(job.bundle, spec, device, _estimate_clips(todo, job.plan))
                output.use_settings(job.settings(runtime))
            display = stack.enter_context(ProgressDisplay(progress, enabled=show_progress))
            _run(job, output, runtime, machine, device, todo, progress, display)
        output.publish()
        return InferReport(
            summary=output.summary(),
            num_videos=todo.num_listed,
            num_videos_done=progress.num_videos_done,
            num_clips_done=progress.num_clips,
            elapsed_seconds=time.monotonic() - began,
            clips_per_second=progress.mean_clips_per_second,
            ignored=dict(job.listing.ignored),
            runtime=runtime,
        )


def plan_source(spec: InferSpec) -> SourcePlan:
    """Tell what an inference job would do, without doing it.

    Raises:
        VidcnnError: The job could not be done.
    """
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        job = _Job(spec)
        output = stack.enter_context(job.open_output())
        job.recorded_runtime(output)
        todo = _list_todo(job.listing, output, spec.limit)
        videos: set[str] = set()
        num_clips, seconds = 0, 0.0
        bad: list[tuple[str, str]] = []
        if todo.num_videos:
            machine = stack.enter_context(local_ray(num_gpus=0))
            shares = share_resources(machine, use_gpus=False)
            for unit, pieces in plan_videos(todo.videos, job.plan, job.schema, shares, MAX_SEGMENT_FRAMES):
                for planned in unit:
                    videos.add(planned.video.name)
                    num_clips += planned.segment.num_clips
                    seconds += float((planned.segment.end_seconds - planned.segment.start_seconds).sum())
                bad += [(piece.segment.video.name, piece.rows["error"][0].as_py()) for piece in pieces]
        return SourcePlan(
            num_videos=todo.num_listed,
            num_videos_done=todo.num_listed - todo.num_videos,
            num_videos_planned=len(videos),
            num_clips=num_clips,
            seconds=seconds,
            bad_videos=tuple(sorted(bad)),
            ignored=dict(job.listing.ignored),
        )


def _run(
    job: _Job,
    output: Output,
    runtime: Runtime,
    machine: Machine,
    device: str,
    todo: _Todo,
    progress: RunProgress,
    display: ProgressDisplay,
) -> None:
    spec = job.spec
    from vidcnn.inference import default_batch_size

    shares = share_resources(
        machine,
        use_gpus=device == "cuda",
        actors=parse_pool(spec.actors) if spec.actors else None,
        num_decoders=spec.decoders,
    )
    batch_size = spec.batch_size or default_batch_size(job.bundle, device)
    settings = StageSettings(
        plan=job.plan,
        decode=DecodeSettings(job.bundle.preprocessing, runtime.precision == "exact", batch_size, spec.max_pixels),
        classifier={
            "bundle": ray.put(job.bundle),
            "device": device,
            "precision": runtime.precision,
            "compile": "on" if runtime.compiled else "off",
            "batch_size": batch_size,
            "num_threads": shares.actor_threads,
        },
        row_format=RowFormat(job.schema, job.bundle.labels, spec.top_k),
        max_unit_frames=MAX_SEGMENT_FRAMES,
    )
    committer = _Committer(output, progress, display)
    try:
        committer.take(score_videos(todo.videos, settings, shares))
        _redo_lost(job, output, settings, shares, todo, committer)
    except BaseException:
        output.commit()  # what is finished stays, whatever ended the run
        raise


def _redo_lost(
    job: _Job, output: Output, settings: StageSettings, shares: Shares, todo: _Todo, committer: _Committer
) -> None:
    """Do again what was lost because its process died, each segment apart; then make rows of what dies again.

    Raises:
        VidcnnError: Segments that can be decoded are lost nevertheless: it is the model's process that dies.
    """
    apart = replace(settings, max_unit_frames=1)
    if lost := _not_done(todo, output):
        committer.take(score_videos(_tables_apart(lost, output), apart, shares))
    if not (lost := _not_done(todo, output)):
        return
    survivors = set(decodable_segments(_tables_apart(lost, output), apart, shares))
    if survivors:
        raise VidcnnError(
            f"the process that runs the model died {len(survivors)} times over clips of {next(iter(survivors)).video.name}",
            "it may be short of memory: lower --batch-size or --actors; what was committed stays",
        )
    crash = VideoError("decoder_crash", "the process that decodes it died, again and again")
    planned: set[str] = set()
    for unit, pieces in plan_videos(_tables_apart(lost, output), job.plan, job.schema, shares, 1):
        committer.take([[failed_segment(segment, crash, job.schema) for segment in unit], pieces])
        planned |= {segment.video.name for segment in unit} | {piece.segment.video.name for piece in pieces}
    unplanned = [video_key(video) for video in lost if video.name not in planned]
    committer.take([[unreadable_video(key, crash, job.schema) for key in unplanned]])


class _Committer:
    """Puts pieces together, and commits the segments that are whole."""

    def __init__(self, output: Output, progress: RunProgress, display: ProgressDisplay) -> None:
        self._output = output
        self._progress = progress
        self._display = display
        self._collector = SegmentCollector()
        self._num_segments: dict[VideoKey, int] = {}  # that this run does of each video

    def take(self, arriving: Iterable[list[Piece]]) -> None:
        """Take pieces as they arrive, until there are no more."""
        for pieces in arriving:
            for piece in pieces:
                self._take_piece(piece)
            if self._output.should_commit(time.monotonic()):
                self._output.commit()
            self._display.update()
        self._output.commit()

    def _take_piece(self, piece: Piece) -> None:
        rows = self._collector.add(piece)
        if rows is None:
            return
        key = piece.segment
        num_segments = self._num_segments.get(key.video)
        if num_segments is None:
            num_segments = key.count - len(self._output.done_segments(key.video, key.count))
            self._num_segments[key.video] = num_segments
        if self._output.add(key, rows):
            self._progress.add_segment(
                key.video.name,
                key.video.size_bytes,
                num_segments,
                num_clips=rows.num_rows - rows["clip"].null_count,
                num_errors=rows.num_rows - rows["error"].null_count,
            )


def _clip_spec(spec: InferSpec, bundle: Bundle) -> ClipSpec:
    try:
        clips = spec.clip_spec(bundle.sampling)
    except ValueError as error:
        raise UsageError(str(error)) from error
    architecture(bundle.architecture).check_input(clips.sampling, bundle.preprocessing)
    return clips


def _uses_gpus(spec: InferSpec, machine: Machine) -> bool:
    if spec.device == "cuda" and machine.num_gpus < 1:
        raise UsageError("--device cuda, but Ray finds no GPU", "use --device cpu, or check the driver")
    return machine.num_gpus >= 1


def _list_todo(listing: Listing, output: Output, limit: int | None) -> _Todo:
    """List the source, and leave out what is done."""
    left: list[bytes] = []
    sample: list[SourceVideo] = []
    num_listed = size_bytes = 0
    for video in islice(listing, limit):
        num_listed += 1
        key = video_key(video)
        if output.is_done(key):
            continue
        size_bytes += video.size_bytes
        left.append(pack_video(video, output.partly_done(key)))
        if len(left).bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...: some of everywhere, at no cost
            sample.append(video)
    block = max(1, min(_MAX_BLOCK_VIDEOS, len(left) // _NUM_BLOCKS))
    blocks = tuple(video_table(left[start : start + block]) for start in range(0, len(left), block))
    return _Todo(blocks, num_listed, len(left), size_bytes, tuple(sample))


def _estimate_clips(todo: _Todo, settings: PlanSettings) -> int:
    """Tell how many clips a source has from some of its videos and the size of all."""
    table = video_table(pack_video(video, None) for video in todo.sample)
    num_clips, size_bytes = ray.get(ray.remote(num_cpus=0)(count_clips).remote(table, settings))
    return int(num_clips * todo.size_bytes / size_bytes) if size_bytes else 0


def _not_done(todo: _Todo, output: Output) -> list[SourceVideo]:
    return [video for table in todo.videos for video in unpack_videos(table) if not output.is_done(video_key(video))]


def _tables_apart(videos: list[SourceVideo], output: Output) -> list[pa.Table]:
    return [video_table([pack_video(video, output.partly_done(video_key(video)))]) for video in videos]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: what is finished is committed."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterruptedError("interrupted", "what was committed stays; the same command continues") from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)
