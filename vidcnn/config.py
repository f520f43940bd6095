"""Job specs: every option of every command, its default and its meaning, defined once.

A spec is what `vidcnn run` reads from a YAML file and what the command line fills from options; `vidcnn.options` makes
the options from the fields here. A spec is frozen, forbids unknown keys, and holds the user's wishes: None means that
the model, the machine or the source decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from vidcnn.clips import ClipSpec, Sampling

Precision = Literal["auto", "bf16", "fp32", "exact"]
Switch = Literal["auto", "on", "off"]
ShortClips = Literal["repeat_last", "loop", "drop"]


def _option(default: Any, description: str, *, panel: str, metavar: str | None = None) -> Any:
    """Define a field that is also an option, shown under the heading `panel`."""
    return Field(default, description=description, json_schema_extra={"panel": panel, "metavar": metavar})


class Spec(BaseModel):
    """Base of all job specs."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InferSpec(Spec):
    """Classify videos clip by clip."""

    source: tuple[str, ...] = Field(
        min_length=1,
        description="Directories (recursive), files, globs, lists (.txt, .csv, .parquet), or s3:// and gs:// URIs.",
    )
    out: str = _option(
        "preds.parquet",
        "Where predictions go: one file if it ends in .parquet, else a directory that later runs add to.",
        panel="Main",
        metavar="PATH",
    )
    model: str = _option(
        "r3d_18",
        "Name from `vidcnn models`, or the directory of a model bundle.",
        panel="Main",
        metavar="NAME|BUNDLE",
    )
    weights: str | None = _option(
        None,
        "Weights for a model's name: kinetics400, a checkpoint (.pth, .safetensors), or random for trials.  "
        "\\[default: those of the model]",
        panel="Main",
        metavar="NAME|FILE",
    )
    labels: str | None = _option(
        None, "Class names for --weights FILE: one per line, or JSON.", panel="Main", metavar="FILE"
    )

    num_frames: int | None = _option(None, "Frames in a clip.  \\[default: the model's]", panel="Clips")
    stride: int | None = _option(
        None, "Step between a clip's frames, in frames of the video.  \\[default: the model's]", panel="Clips"
    )
    fps: float | None = _option(
        None, "Frames taken per second of presentation time, instead of --stride.", panel="Clips"
    )
    step: int | None = _option(
        None,
        "Distance between the starts of clips, in frames (in ticks of --fps where that applies).  "
        "\\[default: clips back to back]",
        panel="Clips",
    )
    num_clips: int | None = _option(
        None, "This many clips spread over each video, instead of covering all of it.", panel="Clips"
    )
    short_clips: ShortClips = _option(
        "repeat_last", "What becomes of a clip that reaches past the end of its video.", panel="Clips"
    )
    image_fps: float = _option(25.0, "Frames per second of a folder of numbered images.", panel="Clips")

    top_k: int = _option(5, "Classes kept for each clip, best first.", panel="Predictions")
    probabilities: bool = _option(False, "Add a column with the probability of every class.", panel="Predictions")
    embedding: bool = _option(False, "Add a column with the features before the last layer.", panel="Predictions")

    limit: int | None = _option(None, "Only the first so many videos of the source.", panel="Run")
    max_error_fraction: float = _option(
        1.0, "End with exit code 3 if a larger share of the videos is bad.", panel="Run"
    )
    max_pixels: int = _option(8192 * 8192, "Largest frame that is decoded, in pixels.", panel="Run")

    precision: Precision = _option(
        "auto",
        "bf16, fp32, or exact: fp32 and torchvision's own resizing. auto takes bf16 where the hardware has it.",
        panel="Speed",
    )
    compile: Switch = _option(
        "auto", "Compile the model. auto does it where the run is long enough to win by it.", panel="Speed"
    )
    device: Literal["auto", "cpu", "cuda"] = _option("auto", "Where the model runs.", panel="Speed")
    actors: str | None = _option(
        None,
        "Copies of the model that run at once.  \\[default: one for each GPU, or for each CPU]",
        panel="Speed",
        metavar="N|MIN:MAX",
    )
    decoders: int | None = _option(None, "Videos decoded at once.  \\[default: one for each CPU]", panel="Speed")
    batch_size: int | None = _option(None, "Clips the model takes at once.  \\[default: by device]", panel="Speed")
    seed: int = _option(0, "Seed of --weights random.", panel="Speed")

    @field_validator(
        "num_frames", "stride", "step", "num_clips", "top_k", "limit", "decoders", "batch_size", "max_pixels"
    )
    @classmethod
    def _positive(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError("must be > 0")
        return value

    @field_validator("fps", "image_fps")
    @classmethod
    def _rate(cls, value: float | None) -> float | None:
        if value is not None and not 0.001 <= value <= 1000:
            raise ValueError("must be in [0.001, 1000]")
        return value

    @field_validator("max_error_fraction")
    @classmethod
    def _fraction(cls, value: float) -> float:
        if not 0 <= value <= 1:
            raise ValueError("must be in [0, 1]")
        return value

    @field_validator("actors")
    @classmethod
    def _pool(cls, value: str | None) -> str | None:
        if value is not None:
            parse_pool(value)
        return value

    @model_validator(mode="after")
    def _exclusive(self) -> InferSpec:
        for first, second in (("stride", "fps"), ("step", "num_clips")):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise ValueError(f"{option_name(first)} and {option_name(second)} exclude each other")
        return self

    def clip_spec(self, sampling: Sampling) -> ClipSpec:
        """Return how clips are laid over videos.

        Args:
            sampling: The model's own sampling, which the spec may override.

        Raises:
            ValueError: The values do not fit together.
        """
        from vidcnn.clips import ClipSpec, Sampling

        stride, fps = sampling.stride, sampling.fps
        if self.stride is not None:
            stride, fps = self.stride, None
        elif self.fps is not None:
            stride, fps = None, self.fps
        return ClipSpec(
            Sampling(self.num_frames or sampling.num_frames, stride=stride, fps=fps),
            step=self.step,
            num_clips=self.num_clips,
            short_clips=self.short_clips,
        )


def parse_pool(text: str) -> tuple[int, int]:
    """Read ``N`` or ``MIN:MAX``.

    Returns:
        The smallest and the largest number of actors.

    Raises:
        ValueError: It is neither, or not ``1 <= MIN <= MAX``.
    """
    low, _, high = text.partition(":")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        raise ValueError("must be a number of actors, or MIN:MAX with 1 <= MIN <= MAX")
    return bounds


def option_name(field: str) -> str:
    """Return the command-line option of a field."""
    return "--" + field.replace("_", "-")
