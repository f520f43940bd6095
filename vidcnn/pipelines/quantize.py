"""Make the int8 form of a bundle: calibrate it on some clips, measure it on others, and write it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcnn.annotations import LabelledVideo, SplitSettings, read_annotations
from vidcnn.annotations.problems import printable
from vidcnn.choices import Sandbox
from vidcnn.errors import DataError, ModelError, UsageError, VideoError
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.golden import with_golden
from vidcnn.inference.quantizing import layers, measure, quantize
from vidcnn.interrupts import interruptible
from vidcnn.models.bundle import Bundle, bundle_target
from vidcnn.models.golden import Golden
from vidcnn.pipelines.measuring import confined
from vidcnn.reporting.live import LiveLine
from vidcnn.reporting.quantized import QuantizeReport
from vidcnn.reporting.summaries import count
from vidcnn.sampling.segments import ClipSpec
from vidcnn.sources import Listing
from vidcnn.storage.uris import is_remote, local_path, public_location
from vidcnn.training.cell_loading import load_views_in_cell
from vidcnn.training.views import ViewSettings
from vidcnn.video.cell import Cell
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.planning import PlanSettings
from vidcnn.video.stopwatch import Confined, weakest

_CALIBRATION_SHARE = 3
"""One video in so many is calibrated on; the others are measured on."""
_MOST_CLIPS_PER_VIDEO = 10
_FEW_CLIPS = 100
"""With fewer clips, a share of them says little."""


@dataclass(frozen=True)
class _Clips:
    """Clips of some videos.

    Attributes:
        pixels: uint8 ``(N, T, H, W, 3)``.
        videos: Number of each clip's video, among those that can be decoded.
        labels: Index of each clip's first class; -1 where there is none.
        confined: What confined the processes that decoded them.
    """

    pixels: UInt8Array
    videos: NDArray[np.int64]
    labels: NDArray[np.int64]
    confined: Confined


def quantize_bundle(
    model: str,
    data: str,
    out: str,
    *,
    num_clips: int,
    min_agreement: float,
    num_epochs: int = 0,
    seed: int = 0,
    follow_links: bool = False,
    sandbox: Sandbox = "auto",
    show_progress: bool = True,
) -> QuantizeReport:
    """Make the int8 form of a bundle.

    Args:
        model: The bundle.
        data: Videos like those that it will classify: labelled, as for training, or not, as for inference.
        out: Where the int8 form goes.
        num_clips: Clips that are taken of the videos: a third to calibrate on, the others to measure on.
        min_agreement: Share of the clips for which the class that comes first is to stay the same.
        num_epochs: How often the clips that it is calibrated on are seen in fine-tuning; 0 leaves the weights.
        seed: Which videos are taken.
        follow_links: Whether symbolic links in folders are followed out of the data.
        sandbox: How the process that decodes is confined.
        show_progress: Whether to show on stderr what is being done.

    Raises:
        ModelError: The network cannot run in int8, or is no faster or too different then.
        BundleError: The bundle is not whole, or `out` cannot be written.
        DataError: No clip can be decoded.
        SandboxError: The process that decodes cannot be confined as is required.
        SourceError: There are no videos.
        UsageError: `out` is the bundle itself.
    """
    target = bundle_target(out)
    if not is_remote(model) and Path(local_path(model)).resolve() == target.resolve():
        raise UsageError("--out is the bundle itself", "choose another folder")
    with interruptible("nothing was written"), LiveLine(enabled=show_progress) as line:
        line.begin("starting: reading the model and the data")
        bundle, recorded = _float_bundle(model)
        samples, is_labelled, notices = _samples(data, bundle, follow_links=follow_links)
        random.Random(seed).shuffle(samples)
        clips = _decode(samples, bundle, num_clips, sandbox, line.show)
        calibrating = clips.videos % _CALIBRATION_SHARE == 0
        measuring = ~calibrating
        if not measuring.any():
            measuring = calibrating
            notices.append("there is one video only: what was measured was measured on what it was calibrated on")
        elif measuring.sum() < _FEW_CLIPS:
            number = count(int(measuring.sum()), "clip")
            notices.append(f"it was measured on {number} only: with fewer than {_FEW_CLIPS}, shares say little")
        targets = clips.labels[measuring] if is_labelled else None
        tell: Callable[[str], None] = line.begin
        quantized = quantize(
            bundle, clips.pixels[calibrating], min_agreement=min_agreement, num_epochs=num_epochs, tell=tell
        )
        found = quantized.quantization
        assert found is not None
        is_tuned = quantized.weights_sha256 != bundle.weights_sha256
        if num_epochs and not is_tuned:
            notices.append("fine-tuning brought the scores no nearer, so the weights are as they were")
        measured = measure(bundle, quantized, clips.pixels[measuring], targets, tell)
        report = QuantizeReport(
            public_location(out),
            bundle.architecture,
            len(layers(bundle)),
            found.kept,
            found.observer,
            found.num_clips,
            measured,
            min_agreement,
            tuple(notices),
            is_tuned,
            dict(clips.confined),
        )
        _check(report)
        weights = bundle.provenance.weights or public_location(model)
        provenance = replace(bundle.provenance, weights=weights)
        if is_tuned:
            provenance = replace(provenance, weights=f"{weights}, fine-tuned for int8", metrics={})
        found = replace(found, data=public_location(data), measured=measured)
        golden = None if is_tuned else recorded
        made = replace(quantized, quantization=found, provenance=provenance, golden=golden)
        with_golden(made).save(out)
        return report


def _float_bundle(model: str) -> tuple[Bundle, Golden | None]:
    """Return the bundle without the record of its golden clips, which does not hold for what is tried; and the record.

    Raises:
        ModelError: The network does not compute here what it records.
    """
    bundle = replace(Bundle.load(model), quantization=None)
    Classifier(bundle, device="cpu", precision="fp32")
    return replace(bundle, golden=None), bundle.golden


def _check(report: QuantizeReport) -> None:
    if report.speedup <= 1:
        raise ModelError(
            f"{report.architecture} is no faster in int8 here: {report.speedup:.2f} times {report.float_precision}",
            f"keep the bundle as it is: {report.float_precision} is the fastest it has",
        )
    if report.measured["agreement"] < report.min_agreement:
        raise ModelError(
            f"in int8 {report.measured['agreement']:.2%} of {report.measured['clips']:,.0f} other clips keep their "
            f"first class, and {report.min_agreement:.2%} are wanted",
            "give more --clips to calibrate on, or lower --min-agreement",
        )


def _samples(data: str, bundle: Bundle, *, follow_links: bool) -> tuple[list[LabelledVideo], bool, list[str]]:
    """Return the videos, whether they are labelled with the bundle's classes, and notices."""
    try:
        annotations = read_annotations(data, splits=SplitSettings(0.0), for_training=False, follow_links=follow_links)
        known = {label: index for index, label in enumerate(bundle.labels)}
        indexes = [known[label] for label in annotations.labels]
    except (DataError, UsageError, KeyError):
        listed = list(Listing([data], follow_links=follow_links))
        videos = [LabelledVideo(video, ()) for video in listed if video.error is None]
        notices = ["the videos have no labels that the bundle knows, so its accuracy is not measured"]
        if bad := [video for video in listed if video.error is not None]:
            first = printable(f"{bad[0].name} {bad[0].error}")
            notices.append(f"{count(len(bad), 'video')} left out that cannot be read, such as {first}")
        return videos, False, notices
    samples = [
        replace(sample, labels=tuple(indexes[label] for label in sample.labels))
        for videos in annotations.splits.values()
        for sample in videos
    ]
    return samples, not annotations.multi_label, []


def _decode(
    samples: Sequence[LabelledVideo], bundle: Bundle, num_clips: int, sandbox: Sandbox, tell: Callable[[str], None]
) -> _Clips:
    """Decode clips spread over videos, a few of each, until there are enough."""
    per_video = min(_MOST_CLIPS_PER_VIDEO, max(1, ceil(num_clips / max(1, len(samples)))))
    views = ViewSettings(
        PlanSettings(ClipSpec(bundle.sampling, num_clips=per_video), 25.0, MAX_PIXELS, sandbox=sandbox),
        bundle.preprocessing,
        num_crops=1,
        exact=False,
    )
    pixels: list[UInt8Array] = []
    videos: list[int] = []
    labels: list[int] = []
    num_videos = 0
    used: Confined = ()
    with Cell() as cell:
        for sample in samples:
            found = load_views_in_cell(sample, views, cell).clips
            used = weakest(used, confined(cell))
            good = [view[0] for view in found if not isinstance(view, VideoError)][: num_clips - len(pixels)]
            pixels += good
            videos += [num_videos] * len(good)
            labels += [sample.labels[0] if sample.labels else -1] * len(good)
            num_videos += bool(good)
            tell(f"decoding clips: {len(pixels):,} of {num_clips:,}")
            if len(pixels) == num_clips:
                break
    if not pixels:
        raise DataError(
            f"none of the {len(samples):,} videos can be decoded", "look at them with vidcnn infer --dry-run"
        )
    return _Clips(np.stack(pixels), np.array(videos), np.array(labels), used)
