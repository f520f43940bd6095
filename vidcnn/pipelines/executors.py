"""What runs the stages of an inference job: Ray Data, or this process alone. The rows are the same, to the last bit.

`vidcnn.pipelines.dataset` and `vidcnn.pipelines.in_process` are the two executors: modules with the same functions.
Ray takes some seconds to start, and as many to load torch into its processes; a few videos are done before that.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from vidcnn.choices import UNCOMPILED
from vidcnn.cluster import Machine, ResourcePlan
from vidcnn.config import InferSpec
from vidcnn.inference.scoring import News, RowFormat
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines.stages import PlanCounts
from vidcnn.reporting.bottleneck import Meter
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.planning import PlannedSegment, PlanSettings
from vidcnn.video.scanning import ScanSettings

MOST_VIDEOS = 64
"""More videos are for Ray, whatever their clips."""
_MOST_CLIPS = 512


@dataclass(frozen=True)
class StageSettings:
    """What the stages depend on.

    Attributes:
        plan: For planning.
        decode: For decoding.
        bundle: The model.
        classifier: Other arguments of the `Classifier`.
        row_format: How rows are made.
        max_unit_frames: Frames of a unit of work.
    """

    plan: PlanSettings
    decode: DecodeSettings
    bundle: Bundle
    classifier: dict[str, Any]
    row_format: RowFormat
    max_unit_frames: int


class Executor(Protocol):
    """What runs the stages."""

    def score_videos(
        self, videos: Iterable[pa.Table], settings: StageSettings, resources: ResourcePlan, meter: Meter | None = None
    ) -> Generator[list[News], None, None]:
        """Plan, decode and classify videos.

        Args:
            videos: Tables of `vidcnn.pipelines.stages.video_table`, each planned by one task; a `Spool` may still grow.
            settings: What the stages depend on.
            resources: How the stages share the processors and GPUs.
            meter: Takes what the stages measure of themselves.

        Yields:
            Some rows of some segments, and what cannot be done.

        Raises:
            VidcnnError: The model cannot be loaded or gives no numbers, or a stage failed through no fault of a video.
        """

    def scan_videos(
        self, videos: Iterable[pa.Table], settings: ScanSettings, resources: ResourcePlan, meter: Meter
    ) -> Generator[list[News], None, None]:
        """Scan videos, as many at once as there are decoders.

        Args:
            videos: As for `score_videos`.
            settings: What is found out.
            resources: As for `score_videos`.
            meter: Learns what confined the processes that read videos.

        Yields:
            The rows of some videos, and what cannot be done.

        Raises:
            VidcnnError: Scanning failed through no fault of a video.
        """

    def plan_videos(
        self, videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
    ) -> Iterator[tuple[list[PlannedSegment], list[News]]]:
        """Plan videos only.

        Yields:
            Planned segments, and the news of videos that have none.
        """

    def count_plans(
        self, videos: Iterable[pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
    ) -> Generator[PlanCounts, None, None]:
        """Plan videos, and count what they would give.

        Yields:
            Counts for a table of `videos`. There are none for a table whose process died.
        """


def fits_in_process(spec: InferSpec, machine: Machine, num_clips: int) -> bool:
    """Return whether one process does a few videos as fast as many would, or the user wants it so.

    Args:
        spec: The job.
        machine: This machine.
        num_clips: Clips that are left to do, as far as that is known.
    """
    if spec.in_process != "auto":
        return spec.in_process == "on"
    is_compiled = spec.compile == "on" and spec.precision not in UNCOMPILED
    if is_compiled and machine.num_gpus < 1 and machine.num_cpus >= 2:
        return False  # a compiled network holds the interpreter's lock: of several in a process, one computes at a time
    return num_clips <= _MOST_CLIPS and machine.num_gpus <= 1
