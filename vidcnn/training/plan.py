"""From a training job's spec to all that the workers need.

Everything that can be known to be wrong with a job is raised here, before any worker starts.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from vidcnn.annotations import Annotations, LabelledVideo
from vidcnn.choices import TrainingPrecision
from vidcnn.config.train import TrainSpec, parse_list, parse_range, parse_size
from vidcnn.errors import UsageError
from vidcnn.models.build import build_network
from vidcnn.models.bundle import Bundle, Provenance
from vidcnn.models.registry import architecture
from vidcnn.models.resolve import starting_bundle
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.storage.disks import cache_directory
from vidcnn.storage.private import make_private
from vidcnn.storage.uris import is_remote
from vidcnn.training.augment import Augmentation
from vidcnn.training.clips import ClipSettings
from vidcnn.training.data import flip_rule
from vidcnn.training.feed import CacheSettings, TrainingData
from vidcnn.training.mixing import Mixing
from vidcnn.training.optimizer import freeze
from vidcnn.training.recipe import Recipe
from vidcnn.training.samples import SampleOrder
from vidcnn.training.state import RunSettings

_NOTES_PER_EPOCH = 10
_MAX_NOTE_STEPS = 50

_NOT_RECORDED = frozenset(
    {
        # Their content is recorded, not their place.
        "data",
        "root",
        "where",
        "labels",
        "model",
        "weights",
        "out",
        "val_clips",
        "val_epochs",
        "checkpoint_seconds",
        "keep_best",
        "workers",
        "decoders",
        "sandbox",
        "precision",
        "device",
        "cache_gb",
        "cache_dir",
    }
)
"""Fields on which the samples and what is learnt from them do not depend."""


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A training job, ready to run.

    Attributes:
        spec: What the user asked for.
        annotations: The labelled videos.
        bundle: The network to begin with, with the labels, clips and preprocessing that it will have.
        recipe: How it is trained.
        data: The videos.
        run: How the run continues.
        record: What must be the same for a run to be continued.
    """

    spec: TrainSpec
    annotations: Annotations
    bundle: Bundle
    recipe: Recipe
    data: TrainingData
    run: RunSettings
    record: dict[str, Any]

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every video is seen once."""
        return self.data.order.epoch_size / self.recipe.batch_size


def plan_training(
    spec: TrainSpec,
    annotations: Annotations,
    directory: Path,
    *,
    num_workers: int,
    precision: TrainingPrecision,
) -> TrainingPlan:
    """Work out a training job.

    Args:
        spec: What the user asks for.
        annotations: The labelled videos, from `read_data`.
        directory: The run directory, or a copy of it.
        num_workers: Processes that train together.
        precision: How the network computes.

    Raises:
        UsageError: Settings that cannot work together, or with these videos.
        ModelError: The network is not available.
    """
    assert spec.out is not None
    train, val = annotations.splits["train"], annotations.splits["val"]
    _check_sizes(spec, len(train), num_workers)
    flips = flip_rule(spec, annotations.labels)
    bundle = _starting_bundle(spec, annotations, precision)
    _check_frozen(bundle, parse_list(spec.freeze))
    order = SampleOrder(len(train), spec.seed, spec.repeats, _classes(train) if spec.balanced else None)
    steps_per_epoch = order.epoch_size / spec.batch_size
    num_steps = max(1, round(spec.epochs * steps_per_epoch))
    record = {
        **{name: value for name, value in spec.model_dump().items() if name not in _NOT_RECORDED},
        "precision": precision,
        "model": bundle.architecture,
        "sampling": asdict(bundle.sampling),
        "preprocessing": asdict(bundle.preprocessing),
        "data_sha256": _fingerprint(annotations),
        "weights_sha256": bundle.weights_sha256,
    }
    return TrainingPlan(
        spec=spec,
        annotations=annotations,
        bundle=bundle,
        recipe=_recipe(spec, num_steps, steps_per_epoch, precision, multi_label=annotations.multi_label),
        data=TrainingData(
            labels=annotations.labels,
            train=train,
            val=val,
            order=order,
            augmentation=_augmentation(spec, bundle.preprocessing),
            flips=flips,
            clips=ClipSettings(
                bundle.sampling,
                bundle.preprocessing,
                spec.short_clips,
                spec.image_fps,
                spec.max_pixels,
                spec.sandbox,
            ),
            num_val_clips=spec.val_clips,
            num_epochs=spec.epochs,
            cache=_cache(spec),
        ),
        run=RunSettings(
            directory=directory,
            note_steps=max(1, min(_MAX_NOTE_STEPS, round(steps_per_epoch / _NOTES_PER_EPOCH))),
            validate_steps=max(1, round(spec.val_epochs * steps_per_epoch)),
            checkpoint_seconds=spec.checkpoint_seconds,
            num_best=spec.keep_best,
            mirror=spec.out if is_remote(spec.out) else None,
        ),
        record=record,
    )


def _starting_bundle(spec: TrainSpec, annotations: Annotations, precision: str) -> Bundle:
    options = {
        "width": spec.width,
        "dropout": spec.dropout,
        "batch_norm": spec.batch_norm or None,
        "downsample": spec.downsample,
        "input_mode": spec.input_mode,
    }
    given = {name: value for name, value in options.items() if value is not None}
    found = starting_bundle(spec.model, annotations.labels, weights=spec.weights, arguments=given, seed=spec.seed)
    try:
        sampling = spec.clip_sampling(found.sampling)
        preprocessing = _preprocessing(spec, found.preprocessing)
    except ValueError as error:
        raise UsageError(str(error)) from error
    architecture(found.architecture).check_input(sampling, preprocessing)
    return replace(
        found,
        sampling=sampling,
        preprocessing=preprocessing,
        multi_label=annotations.multi_label,
        quantization=None,  # it is for the weights that it was found for
        golden=None,
        provenance=Provenance(
            weights=found.provenance.weights,
            data=spec.data or "",
            settings=spec.model_dump() | {"precision": precision},
        ),
    )


def _preprocessing(spec: TrainSpec, own: Preprocessing) -> Preprocessing:
    """Return the model's own resizing and crop with the user's changes; a crop alone takes the resizing along."""
    crop, resize = own.crop, own.resize
    if spec.crop is not None:
        size = parse_size(spec.crop)
        crop = (size, size) if isinstance(size, int) else size
        scale = max(crop[0] / own.crop[0], crop[1] / own.crop[1])
        resize = (
            round(resize * scale) if isinstance(resize, int) else (round(resize[0] * scale), round(resize[1] * scale))
        )
    if spec.resize is not None:
        resize = parse_size(spec.resize)
    return replace(own, resize=resize, crop=crop, interpolation=spec.interpolation or own.interpolation)


def _check_sizes(spec: TrainSpec, num_videos: int, num_workers: int) -> None:
    parts = num_workers * spec.accumulation_steps
    if spec.batch_size % parts:
        raise UsageError(
            f"{num_workers} workers cannot share a batch of {spec.batch_size} clips in {spec.accumulation_steps} parts "
            "each",
            f"make --batch-size a multiple of {parts}",
        )
    if spec.batch_size > num_videos * spec.repeats:
        raise UsageError(
            f"a batch of {spec.batch_size} clips is more than an epoch: {spec.repeats} of each of {num_videos} videos",
            "lower --batch-size, or raise --repeats",
        )
    if (spec.mixup or spec.cutmix) and spec.batch_size % (2 * parts):
        raise UsageError(
            f"mixup and cutmix take clips in pairs, and a part has {spec.batch_size // parts} "
            f"({spec.batch_size} clips, workers {num_workers}, parts {spec.accumulation_steps})",
            f"make --batch-size a multiple of {2 * parts}",
        )


def _check_frozen(bundle: Bundle, frozen: tuple[str, ...]) -> None:
    entry = architecture(bundle.architecture)
    freeze(build_network(entry, len(bundle.labels), bundle.arguments), entry.head, frozen)


def _recipe(
    spec: TrainSpec, num_steps: int, steps_per_epoch: float, precision: TrainingPrecision, *, multi_label: bool
) -> Recipe:
    return Recipe(
        num_steps=num_steps,
        batch_size=spec.batch_size,
        accumulation_steps=spec.accumulation_steps,
        optimizer=spec.optimizer,
        learning_rate=spec.lr,
        backbone_rate=spec.backbone_lr,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        schedule=spec.schedule,
        warmup_steps=min(num_steps // 2, round(spec.warmup_epochs * steps_per_epoch)),
        milestones=tuple(round(float(epoch) * steps_per_epoch) for epoch in parse_list(spec.milestones)),
        gamma=spec.gamma,
        label_smoothing=spec.label_smoothing,
        clip_norm=spec.clip_norm,
        ema_decay=spec.ema,
        mixing=Mixing(spec.mixup, spec.cutmix),
        frozen=parse_list(spec.freeze),
        precision=precision,
        sync_batch_norm=spec.sync_bn,
        compile=spec.compile == "on",
        multi_label=multi_label,
        seed=spec.seed,
    )


def _augmentation(spec: TrainSpec, preprocessing: Preprocessing) -> Augmentation:
    return Augmentation(
        crop=preprocessing.crop,
        crop_scale=parse_range(spec.crop_scale) if spec.crop_scale else None,
        flip=spec.flip == "on",
        colour_jitter=spec.colour_jitter,
        rand_augment=spec.rand_augment,
        erasing=spec.erasing,
        interpolation=preprocessing.interpolation,
    )


def _classes(samples: tuple[LabelledVideo, ...]) -> list[int]:
    """Return one class of each sample, for balancing: of several the first."""
    return [sample.labels[0] if sample.labels else -1 for sample in samples]


def _cache(spec: TrainSpec) -> CacheSettings | None:
    if not spec.cache_gb:
        return None
    directory = Path(os.path.abspath(spec.cache_dir or cache_directory() / "frames"))
    try:
        if spec.cache_dir is None or not directory.exists():
            make_private(directory)  # one that the user names may be meant for others, too
    except OSError as error:
        raise UsageError(
            f"decoded frames cannot be kept in '{directory}': {error.strerror}",
            "give another --cache-dir, or --cache-gb 0",
        ) from error
    return CacheSettings(directory, int(spec.cache_gb * 1e9), time.time())


def _fingerprint(annotations: Annotations) -> str:
    """Return what changes when a video, a label or a split does."""
    digest = sha256(repr((annotations.labels, annotations.multi_label)).encode(errors="surrogateescape"))
    for split in ("train", "val"):
        for sample in annotations.splits[split]:
            video = sample.video
            known = (split, video.name, video.size_bytes, sample.labels, sample.start_seconds, sample.end_seconds)
            digest.update(repr(known).encode(errors="surrogateescape"))
    return digest.hexdigest()
