"""The spec of `vidcnn infer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from vidcnn.bounds import MAX_PROCESSES, MAX_SECONDS
from vidcnn.choices import AutoSwitch, Device, PrecisionOption, Sandbox, ShortClips
from vidcnn.config.base import (
    FOLLOW_LINKS,
    SANDBOX,
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
    exclusive,
    option,
    option_name,
    override_sampling,
)
from vidcnn.config.tables import RedoErrors, TablePath, kinds_of

if TYPE_CHECKING:
    from vidcnn.sampling.segments import ClipSpec, Sampling


_OF_RESCORING = frozenset(
    {
        *("from_", "from_model", "out", "model", "weights", "labels", "seed"),
        *("num_frames", "stride", "fps", "top_k", "probabilities", "embedding", "report", "max_error_fraction"),
    }
)
"""Options that mean something where clips are scored from a table, without their videos."""


class InferSpec(Spec):
    """Classify videos clip by clip."""

    source: tuple[str, ...] = Field(
        description="Directories (recursive), files, globs, lists (.txt, .csv, .parquet), or s3:// and gs:// URIs; "
        "on the command line, - for a list on standard input.",
        json_schema_extra={"unless": "from_", "minItems": 1},
    )
    out: TablePath = option(
        "preds.parquet",
        "Where predictions are written: one file if it ends in .parquet, else a directory that later runs add to.",
        panel="Main",
        metavar="PATH",
    )
    model: str = option(
        "r3d_18",
        "Name from `vidcnn models`, or the directory of a model bundle.",
        panel="Main",
        metavar="NAME|BUNDLE",
    )
    weights: str | None = option(
        None,
        "Weights for a model's name: kinetics400, a checkpoint (.pth, .safetensors), or random for trials.  "
        "\\[default: those of the model]",
        panel="Main",
        metavar="NAME|FILE",
    )
    labels: str | None = option(
        None, "Class names for --weights FILE: one per line, or JSON.", panel="Main", metavar="FILE"
    )

    from_: str | None = option(
        None,
        "Instead of a source: a table with embeddings. Its clips are scored with the last layer of another model, and "
        "no video is read.",
        panel="Main",
        metavar="TABLE",
    )
    from_model: str | None = option(
        None,
        "The model of the table of --from, where that is of an earlier version and does not name its backbone.",
        panel="Main",
        metavar="NAME|BUNDLE",
    )
    where: str | None = option(
        None,
        "Which rows of a source in Parquet are meant, such as the table of `vidcnn scan`: a condition on its columns, "
        "such as 'duration_seconds > 5 and not is_encrypted'.",
        panel="Main",
        metavar="CONDITION",
    )

    num_frames: Frames | None = option(None, "Frames in a clip.  \\[default: the model's]", panel="Clips")
    stride: Stride | None = option(
        None, "Step between a clip's frames, in frames of the video.  \\[default: the model's]", panel="Clips"
    )
    fps: FrameRate | None = option(
        None, "Frames taken per second of presentation time, instead of --stride.", panel="Clips"
    )
    step: Count | None = option(
        None,
        "Distance between the starts of clips, in frames (in ticks of --fps where that applies).  "
        "\\[default: clips back to back]",
        panel="Clips",
    )
    num_clips: Count | None = option(
        None, "This many clips spread over each video, instead of covering all of it.", panel="Clips"
    )
    short_clips: ShortClips = option(
        "repeat_last", "What becomes of a clip that reaches past the end of its video.", panel="Clips"
    )
    image_fps: FrameRate = option(25.0, "Frames per second of a folder of numbered images.", panel="Clips")

    top_k: Count = option(5, "Classes kept for each clip, best first.", panel="Predictions")
    probabilities: bool = option(False, "Add a column with the probability of every class.", panel="Predictions")
    embedding: bool = option(False, "Add a column with the features before the last layer.", panel="Predictions")

    limit: Count | None = option(None, "Only the first so many videos of the source.", panel="Run")
    follow_links: bool = option(False, FOLLOW_LINKS, panel="Run")
    settle: float = option(
        0.0,
        "Leave local videos that were written within the last so many seconds to the next run.",
        panel="Run",
        metavar="SECONDS",
        ge=0,
        le=MAX_SECONDS,
    )
    report: bool = option(
        False,
        "Write a JSON report of each run beside the output, in NAME.runs/, however it ends.",
        panel="Run",
    )
    redo_errors: RedoErrors = option(
        None,
        "Do again what has error rows: of these kinds, such as timeout changed, or of all. Old rows stay until the new "
        "ones are there.",
        panel="Run",
        metavar="[KIND...]",
    )
    max_error_fraction: Fraction = option(
        1.0, "End with exit code 3 if a larger share of the videos is bad.", panel="Run"
    )
    max_pixels: Pixels = option(8192 * 8192, "Largest frame that is decoded, in pixels.", panel="Run")
    decode_timeout: float = option(
        60.0,
        "How long reading or decoding may make no headway, besides what a video's length allows.",
        panel="Run",
        metavar="SECONDS",
        gt=0,
        le=MAX_SECONDS,
    )

    sandbox: Sandbox = option("auto", SANDBOX, panel="Run")

    precision: PrecisionOption = option(
        "auto",
        "bf16, fp32, int8 for a bundle of `vidcnn quantize`, or exact: fp32 and torchvision's own resizing. auto takes "
        "the fastest that the model and the hardware have.",
        panel="Speed",
    )
    compile: AutoSwitch = option(
        "auto", "Compile the model. auto compiles it where the run is long enough to gain from it.", panel="Speed"
    )
    device: Device = option("auto", "Where the model runs.", panel="Speed")
    actors: Written[str] | None = option(
        None,
        "Copies of the model that run at once.  \\[default: one for each GPU, or for each CPU]",
        panel="Speed",
        metavar="N|MIN:MAX",
    )
    decoders: Processes | None = option(None, "Videos decoded at once.  \\[default: one for each CPU]", panel="Speed")
    batch_size: BatchSize | None = option(None, "Clips the model takes at once.  \\[default: by device]", panel="Speed")
    in_process: AutoSwitch = option(
        "auto",
        "Run in the command's own process, without Ray, which takes seconds to start. auto does it for a few videos; "
        "the rows are the same.",
        panel="Speed",
    )
    seed: Seed = option(0, "Seed of --weights random.", panel="Speed")

    @model_validator(mode="before")
    @classmethod
    def _no_source(cls, values: Any) -> Any:
        needs_none = isinstance(values, dict) and values.get("from_", values.get("from")) is not None
        return {"source": (), **values} if needs_none else values

    @field_validator("actors")
    @classmethod
    def _pool(cls, value: str | None) -> str | None:
        if value is not None:
            parse_pool(value)
        return value

    @model_validator(mode="after")
    def _exclusive(self) -> InferSpec:
        exclusive(self, "stride", "fps")
        exclusive(self, "step", "num_clips")
        if self.from_ is not None:
            self._check_rescoring()
        elif not self.source:
            raise ValueError("there is no SOURCE: name videos, or a table of predictions with --from")
        elif self.from_model is not None:
            raise ValueError("--from-model is for --from")
        return self

    def _check_rescoring(self) -> None:
        if self.source:
            raise ValueError("SOURCE and --from exclude each other: with --from, no video is read")
        if self.from_ == self.out:
            raise ValueError("--from and --out are one table: choose another --out")
        given = [name for name in self.model_fields_set if getattr(self, name) != type(self).model_fields[name].default]
        if useless := sorted(set(given) - {"source"} - _OF_RESCORING):
            names = ", ".join(map(option_name, useless))
            raise ValueError(f"{names} would change nothing: with --from, no video is read")

    @property
    def redo_kinds(self) -> frozenset[str] | None:
        """The kinds that `redo_errors` means; None for all."""
        return kinds_of(self.redo_errors)

    def clip_spec(self, sampling: Sampling) -> ClipSpec:
        """Return how clips are placed on videos.

        Args:
            sampling: The model's own sampling, which the spec may override.

        Raises:
            ValueError: The values do not fit together.
        """
        from vidcnn.sampling.segments import ClipSpec

        return ClipSpec(
            override_sampling(sampling, self.num_frames, self.stride, self.fps),
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
    if bounds[1] > MAX_PROCESSES:
        raise ValueError(f"must be <= {MAX_PROCESSES:,}")
    return bounds
