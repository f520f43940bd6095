"""The specs of `vidcnn train` and `vidcnn evaluate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vidcnn.bounds import MAX_CHANNELS, MAX_FACTOR, MAX_SECONDS, MAX_SIDE
from vidcnn.choices import (
    Device,
    Downsample,
    InputMode,
    Interpolation,
    Optimizer,
    PrecisionOption,
    Sandbox,
    Schedule,
    ShortClips,
    Split,
    Switch,
    TrainingPrecisionOption,
)
from vidcnn.config.base import (
    FOLLOW_LINKS,
    BatchSize,
    Count,
    Fraction,
    FrameRate,
    Frames,
    Pixels,
    Processes,
    Seed,
    Spec,
    Stride,
    Written,
    as_text,
    exclusive,
    option,
    override_sampling,
)

if TYPE_CHECKING:
    from vidcnn.sampling.segments import Sampling


def parse_range(text: str) -> tuple[float, float]:
    """Read ``LEAST:MOST``, two numbers.

    Raises:
        ValueError: It is not, or the first is above the second.
    """
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high or low)
    except ValueError:
        raise ValueError("must be two numbers, LEAST:MOST") from None
    if bounds[0] > bounds[1]:
        raise ValueError("must be LEAST:MOST, the smaller number first")
    return bounds


def parse_list(text: str | None) -> tuple[str, ...]:
    """Read values separated by commas; None has none."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


class TrainSpec(Spec):
    """Train a network on labelled videos."""

    data: str | None = option(
        None,
        "Labelled videos: a folder of class folders, the table of a scan of it, or a table or list with labels (.csv, "
        ".tsv, .parquet, .txt).",
        panel="Main",
        metavar="DIR|FILE",
    )
    out: str | None = option(
        None, "The run directory, for checkpoints, metrics and the bundle.", panel="Main", metavar="RUN_DIR"
    )
    model: str = option(
        "r3d_18",
        "Name from `vidcnn models`, or the directory of a bundle to continue from.",
        panel="Main",
        metavar="NAME|BUNDLE",
    )
    weights: str | None = option(
        None,
        "Weights to begin with, for a model's name: kinetics400, a checkpoint (.pth, .safetensors), or random.  "
        "\\[default: those of the model]",
        panel="Main",
        metavar="NAME|FILE",
    )
    width: float | None = option(
        None,
        "Factor on the channels of simple3d.  \\[default: 1]",
        panel="Main",
        metavar="FACTOR",
        gt=0,
        le=MAX_CHANNELS,
    )
    dropout: float | None = option(
        None, "Share of the features that simple3d drops.  \\[default: 0.5]", panel="Main", metavar="SHARE", ge=0, lt=1
    )
    batch_norm: bool = option(False, "Give simple3d batch normalisation.", panel="Main")
    downsample: Downsample | None = option(
        None,
        "How simple3d halves time, height and width; strided is several times faster.  \\[default: max]",
        panel="Main",
    )
    input_mode: InputMode | None = option(
        None,
        "What simple3d takes: the frames, what changes from frame to frame, or both.  \\[default: frames]",
        panel="Main",
        formerly="sees",
    )

    root: str | None = option(
        None, "Folder that paths in a table are relative to.  \\[default: the table's]", panel="Data", metavar="DIR"
    )
    where: str | None = option(
        None,
        "Which rows of a scan are meant, such as 'readable and duplicate_of is null'.",
        panel="Data",
        metavar="CONDITION",
    )
    labels: str | None = option(
        None, "Class names in the order of their indexes: one per line, or JSON.", panel="Data", metavar="FILE"
    )
    val_fraction: Fraction = option(
        0.2, "Share of the videos to validate on, where the data has no splits.", panel="Data"
    )
    split_by: str | None = option(
        None, "Column whose values are never split between training and validation.", panel="Data", metavar="COLUMN"
    )
    val_where: str | None = option(
        None, "Validate on the rows with these values.", panel="Data", metavar="COLUMN=VALUE[,VALUE]"
    )
    follow_links: bool = option(False, FOLLOW_LINKS, panel="Data")
    balanced: bool = option(False, "Take all classes equally often.", panel="Data")

    num_frames: Frames | None = option(None, "Frames in a clip.  \\[default: the model's]", panel="Clips")
    stride: Stride | None = option(
        None, "Step between a clip's frames, in frames of the video.  \\[default: the model's]", panel="Clips"
    )
    fps: FrameRate | None = option(
        None, "Frames taken per second of presentation time, instead of --stride.", panel="Clips"
    )
    resize: Written[str] | None = option(
        None, "Size of frames before cropping.  \\[default: the model's]", panel="Clips", metavar="SHORTER|HxW"
    )
    crop: Written[str] | None = option(
        None, "Size of frames for the network.  \\[default: the model's]", panel="Clips", metavar="SIDE|HxW"
    )
    interpolation: Interpolation | None = option(
        None,
        "How frames are resized; area is without flicker where they become much smaller.  \\[default: the model's]",
        panel="Clips",
    )
    short_clips: ShortClips = option(
        "repeat_last", "What becomes of a clip that reaches past the end of its video.", panel="Clips"
    )
    image_fps: FrameRate = option(25.0, "Frames per second of a folder of numbered images.", panel="Clips")
    max_pixels: Pixels = option(8192 * 8192, "Largest frame that is decoded, in pixels.", panel="Clips")
    sandbox: Sandbox = option("auto", "As in `vidcnn infer`.", panel="Clips")

    crop_scale: Written[str] | None = option(
        None,
        "Cut a random part of this share of the frame, and resize it to --crop.  \\[default: a random crop]",
        panel="Augmentation",
        metavar="LEAST:MOST",
    )
    flip: Switch = option("on", "Mirror half of the clips.", panel="Augmentation")
    flip_pairs: Written[str] | None = option(
        None,
        "Classes that mirroring turns into each other.",
        panel="Augmentation",
        metavar="LEFT=RIGHT[,...]",
    )
    colour_jitter: float = option(
        0.0, "Strength of changes of brightness, contrast and saturation.", panel="Augmentation", ge=0, le=MAX_FACTOR
    )
    rand_augment: int = option(0, "Magnitude of RandAugment, 0 to 30; 0 is off.", panel="Augmentation", ge=0, le=30)
    erasing: Fraction = option(0.0, "Probability of erasing a rectangle.", panel="Augmentation")
    mixup: float = option(0.0, "Alpha of mixup; 0 is off.", panel="Augmentation", ge=0, le=MAX_FACTOR)
    cutmix: float = option(0.0, "Alpha of cutmix; 0 is off.", panel="Augmentation", ge=0, le=MAX_FACTOR)
    repeats: Count = option(1, "Clips taken of a video each time it comes up.", panel="Augmentation")

    epochs: Count = option(20, "How often every video is seen.", panel="Learning")
    batch_size: BatchSize = option(16, "Clips in a step, all workers together.", panel="Learning")
    accumulation_steps: Count = option(
        1, "Parts in which a worker computes a step, to save memory.", panel="Learning", formerly="chunks"
    )
    optimizer: Optimizer = option("adamw", "How weights are moved.", panel="Learning")
    lr: float = option(3e-4, "Highest learning rate.", panel="Learning", gt=0, le=MAX_FACTOR)
    backbone_lr: float = option(
        1.0, "Factor on the learning rate of all layers but the last.", panel="Learning", ge=0, le=MAX_FACTOR
    )
    freeze: Written[str] | None = option(
        None, "Parts of the network that stay as they are, or backbone.", panel="Learning", metavar="PART[,PART]"
    )
    momentum: float = option(0.9, "Momentum of sgd.", panel="Learning", ge=0, lt=1)
    weight_decay: float = option(0.05, "Weight decay.", panel="Learning", ge=0, le=MAX_FACTOR)
    schedule: Schedule = option("cosine", "How the learning rate falls.", panel="Learning")
    warmup_epochs: float = option(
        1.0, "Epochs in which the learning rate rises.", panel="Learning", ge=0, le=MAX_FACTOR
    )
    milestones: Written[str] | None = option(
        None, "Epochs after which multistep lowers the learning rate.", panel="Learning", metavar="EPOCH[,EPOCH]"
    )
    gamma: float = option(0.1, "Factor by which multistep lowers it.", panel="Learning", gt=0, le=1)
    label_smoothing: Fraction = option(0.0, "Share of a target that all classes share.", panel="Learning")
    clip_norm: float | None = option(None, "Largest norm of the gradient.", panel="Learning", gt=0, le=MAX_FACTOR)
    ema: float | None = option(
        None, "Decay of a moving average of the weights, which is then what counts.", panel="Learning", gt=0, lt=1
    )
    sync_bn: bool = option(False, "Take batch statistics over all GPUs.", panel="Learning")
    seed: Seed = option(0, "Seed of everything that is random.", panel="Learning")

    val_clips: Count = option(1, "Clips of each video in validation.", panel="Run")
    val_epochs: float = option(1.0, "Epochs between validations.", panel="Run", gt=0, le=MAX_FACTOR)
    checkpoint_seconds: float = option(60.0, "Time between checkpoints.", panel="Run", gt=0, le=MAX_SECONDS)
    keep_best: Count = option(1, "Checkpoints kept for their validation, besides the newest.", panel="Run")

    workers: Processes | None = option(
        None, "Processes that train together.  \\[default: one for each GPU, or one]", panel="Speed"
    )
    decoders: Processes | None = option(None, "Videos decoded at once.  \\[default: one for each CPU]", panel="Speed")
    precision: TrainingPrecisionOption = option("auto", "auto takes bf16 where it is faster.", panel="Speed")
    compile: Switch = option("off", "Compile the network.", panel="Speed")
    device: Device = option("auto", "Where the network is trained.", panel="Speed")
    cache_gb: float = option(
        8.0, "Disk for decoded frames, on each machine that decodes; 0 keeps none.", panel="Speed", ge=0, le=MAX_FACTOR
    )
    cache_dir: str | None = option(
        None, "Where decoded frames are kept.  \\[default: ~/.cache/vidcnn/frames]", panel="Speed", metavar="DIR"
    )

    @field_validator("crop_scale")
    @classmethod
    def _scale(cls, value: str | None) -> str | None:
        if value is not None:
            low, high = parse_range(value)
            if not 0 < low <= high <= 1:
                raise ValueError("must be in (0, 1]")
        return value

    @field_validator("resize", "crop")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None:
            parse_size(value)
        return value

    @field_validator("milestones")
    @classmethod
    def _epochs(cls, value: str | None) -> str | None:
        if not all(_is_number(epoch) for epoch in parse_list(value)):
            raise ValueError("must be numbers of epochs, separated by commas")
        return value

    @model_validator(mode="after")
    def _fitting(self) -> TrainSpec:
        exclusive(self, "stride", "fps")
        if self.schedule == "multistep" and not parse_list(self.milestones):
            raise ValueError("--schedule multistep needs --milestones, the epochs after which the rate falls")
        if self.schedule != "multistep" and self.milestones is not None:
            raise ValueError(f"--milestones belong to --schedule multistep, not {self.schedule}")
        return self

    def clip_sampling(self, sampling: Sampling) -> Sampling:
        """Return how the frames of a clip are taken.

        Args:
            sampling: The model's own sampling, which the spec may override.
        """
        return override_sampling(sampling, self.num_frames, self.stride, self.fps)


class EvaluateSpec(Spec):
    """Measure a bundle on labelled videos."""

    data: str = Field(description="Labelled videos, as `vidcnn train --data` takes them.")
    model: str = option("bundle", "Directory of the model bundle.", panel="Main", metavar="BUNDLE")
    split: Literal["auto", Split, "all"] = option(
        "auto", "Which videos; auto takes test or else val where the data gives them, and otherwise all.", panel="Data"
    )
    root: str | None = option(
        None, "Folder that paths in a table are relative to.  \\[default: the table's]", panel="Data", metavar="DIR"
    )
    where: str | None = option(None, "As in `vidcnn train`.", panel="Data", metavar="CONDITION")
    val_fraction: Fraction = option(0.2, "As in `vidcnn train`.", panel="Data")
    split_by: str | None = option(None, "As in `vidcnn train`.", panel="Data", metavar="COLUMN")
    val_where: str | None = option(None, "As in `vidcnn train`.", panel="Data", metavar="COLUMN=VALUE[,VALUE]")
    follow_links: bool = option(False, FOLLOW_LINKS, panel="Data")
    split_seed: Seed = option(0, "The seed of the training run that made the splits.", panel="Data")
    clips: Count = option(10, "Clips of each video, spread over it.", panel="Views")
    crops: Annotated[Literal["1", "3"], BeforeValidator(as_text, json_schema_input_type=Literal["1", "3", 1, 3])] = (
        option("1", "Crops of each clip: the centre, or three along the longer side.", panel="Views")
    )
    short_clips: ShortClips = option(
        "repeat_last", "What becomes of a clip that reaches past the end of its video.", panel="Views"
    )
    image_fps: FrameRate = option(25.0, "Frames per second of a folder of numbered images.", panel="Views")
    max_pixels: Pixels = option(8192 * 8192, "Largest frame that is decoded, in pixels.", panel="Views")
    sandbox: Sandbox = option("auto", "As in `vidcnn infer`.", panel="Views")
    out: str | None = option(None, "Write all figures as JSON, with the confusion matrix.", panel="Run", metavar="FILE")
    precision: PrecisionOption = option("auto", "As in `vidcnn infer`.", panel="Speed")
    device: Device = option("auto", "Where the model runs.", panel="Speed")
    batch_size: BatchSize | None = option(None, "Clips the model takes at once.  \\[default: by device]", panel="Speed")
    decoders: Processes | None = option(None, "Videos decoded at once.  \\[default: one for each CPU]", panel="Speed")


def parse_size(text: str) -> tuple[int, int] | int:
    """Read ``HxW``, or one number.

    Raises:
        ValueError: It is neither, or not positive.
    """
    try:
        numbers = [int(part) for part in text.lower().split("x")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or min(numbers) < 1:
        raise ValueError("must be a number of pixels, or HEIGHTxWIDTH")
    if max(numbers) > MAX_SIDE:
        raise ValueError(f"must be <= {MAX_SIDE} pixels")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False
