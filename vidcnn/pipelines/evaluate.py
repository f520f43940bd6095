"""Measure a bundle on labelled videos: views are loaded in Ray tasks and scored by a pool of model actors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from vidcnn.annotations import Annotations, LabelledVideo, read_annotations
from vidcnn.choices import Precision, Split
from vidcnn.cluster import open_ray
from vidcnn.config import EvaluateSpec
from vidcnn.errors import DataError, OutputError, PrecisionError, VideoError
from vidcnn.inference.runtime import Runtime, instead
from vidcnn.interrupts import interruptible
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.pipelines.hardware import ask_there, uses_gpus
from vidcnn.pipelines.scoring import Scored, score_videos
from vidcnn.reporting.live import LiveLine, ProgressDisplay
from vidcnn.sampling.segments import ClipSpec
from vidcnn.storage.uris import public_location
from vidcnn.training.data import split_settings
from vidcnn.training.report import EvaluateReport
from vidcnn.training.validation import summarise_scores
from vidcnn.training.views import ViewSettings
from vidcnn.video.planning import PlanSettings
from vidcnn.video.stopwatch import Confined, weakest

_NUM_SHOWN = 5


def run_evaluation(
    spec: EvaluateSpec,
    *,
    show_progress: bool = True,
    announce: Callable[[tuple[str, ...]], None] = lambda notices: None,
) -> EvaluateReport:
    """Evaluate a bundle on a Ray of its own, or on that of the cluster whose job this is.

    Args:
        spec: The job.
        show_progress: Whether to show on stderr how far it is.
        announce: Takes what the user should know of the data and the job, if there is anything.

    Raises:
        VidcnnError: It cannot be done.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(interruptible("nothing is kept of an evaluation"))
        stack.enter_context(LiveLine(enabled=show_progress)).begin("starting: reading the data and the model")
        _check_writable(spec.out)
        bundle = Bundle.load(spec.model)
        split, samples, notices = _samples(spec, bundle)
        if notices:
            announce(notices)
        views = _view_settings(spec, bundle)
        progress = _Progress(len(samples))
        machine = stack.enter_context(open_ray(use_gpus=spec.device != "cpu", has_begun=lambda: progress.num_done > 0))
        device = "cuda" if uses_gpus(spec.device, machine) else "cpu"
        precision, batch_size = ask_there(_choose_runtime, spec, bundle, device, device=device)
        if text := _smaller_batches(spec.batch_size, batch_size):
            notices = (*notices, text)
            announce((text,))
        spec = spec.model_copy(update={"precision": precision, "batch_size": batch_size})
        display = stack.enter_context(ProgressDisplay(progress.describe, enabled=show_progress))
        found: _Found | None = None
        while found is None:
            try:
                found = _Found.of(score_videos(samples, bundle, views, spec, machine, device), progress, display)
            except PrecisionError as error:  # what other actors have done is not kept: scores are all of one kind
                runtime = Runtime(precision, compiled=False).safer()
                precision = runtime.precision
                notices = (*notices, instead(error, runtime))
                announce(notices[-1:])
                spec = spec.model_copy(update={"precision": precision})
                views = replace(views, exact=precision == "exact")
        bad = [(samples[video].video.name, error.message) for video, error in found.bad]
        if not found.scores:
            raise DataError(f"none of the {len(samples)} videos can be scored: {bad[0][0]}: {bad[0][1]}", "check them")
        numbers, scores = found.numbers, found.scores
        reached = summarise_scores(numbers, scores, samples, bundle.labels, multi_label=bundle.multi_label)
        return EvaluateReport(
            model=public_location(spec.model),
            split=split,
            labels=bundle.labels,
            reached=reached,
            num_clips=spec.clips,
            num_crops=views.num_crops,
            device=device,
            precision=precision,
            batch_size=batch_size,
            bad_videos=tuple(sorted(bad)),
            notices=notices,
            seconds=time.monotonic() - began,
            short_clips=spec.short_clips,
            num_short_clips=found.num_short_clips,
            confinement=dict(progress.confined),
        )


@dataclass
class _Progress:
    """How far it is, and what confined the processes that read videos."""

    num_videos: int
    num_done: int = 0
    confined: Confined = ()

    def describe(self) -> tuple[float, str]:
        return self.num_done / self.num_videos, f"{self.num_done:,}/{self.num_videos:,} videos"


@dataclass
class _Found:
    """What came of the videos.

    Attributes:
        numbers: Index of the video of each clip, by video.
        scores: Scores of its clips, (n, K).
        bad: Videos that have none, and why.
        num_short_clips: Clips that are longer than their video.
    """

    numbers: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    bad: list[tuple[int, VideoError]] = field(default_factory=list)
    num_short_clips: int = 0

    @classmethod
    def of(cls, scored: Iterator[tuple[int, Scored]], progress: _Progress, display: ProgressDisplay) -> _Found:
        """Take what `_score` yields."""
        all_found = cls()
        progress.num_done = 0
        for video, (found, its_confinement) in scored:
            progress.confined = weakest(progress.confined, its_confinement)
            if isinstance(found, VideoError):
                all_found.bad.append((video, found))
            else:
                all_found.scores.append(found.scores)
                all_found.numbers.append(np.full(len(found.scores), video))
                all_found.num_short_clips += len(found.scores) if found.is_short else 0
            progress.num_done += 1
            display.update()
        return all_found


def _check_writable(out: str | None) -> None:
    """Refuse a place for the figures that they could not go to, before they are worked out."""
    if out is None:
        return
    if not os.access(os.path.dirname(os.path.abspath(out)), os.W_OK | os.X_OK) or os.path.isdir(out):
        raise OutputError(f"cannot write to '{public_location(out)}'", "choose another --out")


def _samples(spec: EvaluateSpec, bundle: Bundle) -> tuple[str, tuple[LabelledVideo, ...], tuple[str, ...]]:
    """Return the split and its videos, with labels as indexes of the bundle's, and notices about the data."""
    # Whatever the data does not split stays together, unless the user asks for a part of it.
    fraction = spec.val_fraction if spec.split in ("train", "val") else 0.0
    splits = split_settings(fraction, spec.split_by, spec.val_where, spec.split_seed)
    annotations = read_annotations(
        spec.data,
        root=spec.root,
        splits=splits,
        for_training=False,
        where=spec.where,
        follow_links=spec.follow_links,
    )
    split, found = _choose(annotations, spec.split)
    shown = public_location(spec.data)
    if not found:
        there = ", ".join(name for name, videos in annotations.splits.items() if videos)
        raise DataError(f"'{shown}' has no videos in the split {split}", f"--split may be {there}, or all")
    indexes = _label_indexes(annotations.labels, bundle.labels, shown)
    samples = tuple(replace(sample, labels=tuple(sorted(indexes[n] for n in sample.labels))) for sample in found)
    return split, samples, annotations.notices


def _choose(annotations: Annotations, wanted: str) -> tuple[str, tuple[LabelledVideo, ...]]:
    if wanted == "all":
        return "all", tuple(sample for videos in annotations.splits.values() for sample in videos)
    if wanted == "auto":
        name: Split = "test" if annotations.splits["test"] else "val" if annotations.splits["val"] else "train"
        return ("all" if name == "train" else name), annotations.splits[name]
    return wanted, annotations.splits[cast(Split, wanted)]


def _label_indexes(names: tuple[str, ...], labels: tuple[str, ...], data: str) -> list[int]:
    """Return the index in the bundle's labels of each of the data's, which may be numbers instead of names."""
    known = {label: index for index, label in enumerate(labels)}
    if not set(names) <= known.keys() and all(name.isdecimal() and int(name) < len(labels) for name in names):
        return [int(name) for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(unknown[:_NUM_SHOWN]) + (", ..." if len(unknown) > _NUM_SHOWN else "")
        raise DataError(
            f"'{data}' has labels that the bundle does not know: {shown}",
            f"its labels are {', '.join(labels[:_NUM_SHOWN])}{', ...' if len(labels) > _NUM_SHOWN else ''}",
        )
    return [known[name] for name in names]


def _view_settings(spec: EvaluateSpec, bundle: Bundle) -> ViewSettings:
    architecture(bundle.architecture).check_input(bundle.sampling, bundle.preprocessing)
    return ViewSettings(
        plan=PlanSettings(
            ClipSpec(bundle.sampling, num_clips=spec.clips, short_clips=spec.short_clips),
            spec.image_fps,
            spec.max_pixels,
            sandbox=spec.sandbox,
        ),
        preprocessing=bundle.preprocessing,
        num_crops=3 if spec.crops == "3" else 1,
        exact=spec.precision == "exact",
    )


def _choose_runtime(spec: EvaluateSpec, bundle: Bundle, device: str) -> tuple[Precision, int]:
    """Return the precision and the batch of every actor, so that not each of them chooses for itself."""
    from vidcnn.inference.batch_sizes import choose_batch_size
    from vidcnn.inference.devices import resolve_device
    from vidcnn.inference.network import best_precision

    precision = spec.precision if spec.precision != "auto" else best_precision(bundle, resolve_device(device))
    return precision, choose_batch_size(bundle, device, spec.batch_size)


def _smaller_batches(wanted: int | None, taken: int) -> str | None:
    from vidcnn.inference.batch_sizes import smaller_batches

    return smaller_batches(wanted, taken)
