"""The results of the commands of inference: the numbers behind their summaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vidcnn.inference.runtime import Runtime
from vidcnn.predictions import Summary
from vidcnn.reporting.bottleneck import Bottleneck
from vidcnn.reporting.estimating import Range
from vidcnn.sandbox.confinement import Strength


@dataclass(frozen=True)
class InferReport:
    """How a run ended.

    Attributes:
        summary: Counts of the whole table.
        num_videos: Videos of the source.
        num_videos_done: Those that this run did.
        num_videos_waiting: Those that were written so lately that they wait for the next run.
        undone: Names of videos that this run left to the next one, since the storage or this machine failed, with the
            reason.
        num_clips_done: Rows for clips that this run committed.
        elapsed_seconds: Wall time, start-up included.
        clips_per_second: Clips of this run per second from its first rows to its last; None where that means nothing.
        ignored: Files that were left out of folders, by extension.
        empty_sources: Folders of the source, among several, that contain no video.
        unused_columns: Columns of lists of the source that are not used.
        runtime: How the model ran; None where nothing was left to do.
        bottleneck: What limited this run; None where that is not known.
        notices: What the user should know of how it ran, in plain words.
        num_short_clips: Those of `num_clips_done` that are longer than their video.
        in_process: Whether it ran in the command's own process, without Ray; None where nothing was left to do.
        batch_size: Clips that went through the model at once; None where nothing was left to do.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    summary: Summary
    num_videos: int
    num_videos_done: int
    num_videos_waiting: int
    undone: tuple[tuple[str, str], ...]
    num_clips_done: int
    elapsed_seconds: float
    clips_per_second: float | None
    ignored: dict[str, int]
    empty_sources: tuple[str, ...]
    unused_columns: dict[str, tuple[str, ...]]
    runtime: Runtime | None
    bottleneck: Bottleneck | None = None
    notices: tuple[str, ...] = ()
    num_short_clips: int = 0
    in_process: bool | None = None
    batch_size: int | None = None
    confinement: Mapping[str, Strength] = field(default_factory=dict)


@dataclass(frozen=True)
class SourcePlan:
    """What a run would do.

    Attributes:
        num_videos: Videos of the source.
        num_videos_done: Those that are committed already.
        num_videos_waiting: Those that were written so lately that they wait for the next run.
        num_videos_planned: Those that are left and can be read.
        num_clips: Clips of these.
        num_short_clips: Those that are longer than their video.
        seconds: Their length, as far as clips cover it.
        bad_videos: Names of those that cannot be read, with the reason.
        ignored: Files that were left out of folders, by extension.
        empty_sources: Folders of the source, among several, that contain no video.
        unused_columns: Columns of lists of the source that are not used.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    num_videos: int
    num_videos_done: int
    num_videos_waiting: int
    num_videos_planned: int
    num_clips: int
    num_short_clips: int
    seconds: float
    bad_videos: tuple[tuple[str, str], ...]
    ignored: dict[str, int]
    empty_sources: tuple[str, ...]
    unused_columns: dict[str, tuple[str, ...]]
    confinement: Mapping[str, Strength] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """What an inference job would take.

    Attributes:
        num_videos: Videos that are left to do.
        num_videos_done: Those that are committed already.
        num_sampled: Videos of the sample.
        num_bad: Those of the sample that cannot be read.
        num_clips_sampled: Clips that were classified.
        clips: Clips that are left to do.
        seconds: Wall time that it takes on this machine or cluster, start included.
        num_machines: Machines that this takes.
        clips_per_second: How fast the sample was classified; None where it was too small.
        bottleneck: What limits the run; None where that is not known.
        num_clips_planned: Clips of the videos of the sample.
        num_short_clips: Those of `num_clips_planned` that are longer than their video.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    num_videos: int
    num_videos_done: int
    num_sampled: int
    num_bad: int
    num_clips_sampled: int
    clips: Range
    seconds: Range
    num_machines: int
    clips_per_second: float | None
    bottleneck: Bottleneck | None
    num_clips_planned: int = 0
    num_short_clips: int = 0
    confinement: Mapping[str, Strength] = field(default_factory=dict)
