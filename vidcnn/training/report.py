"""What training and evaluation print at their end, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vidcnn.choices import ShortClips
from vidcnn.errors import VidcnnError
from vidcnn.reporting.confined import confinement_json, confinement_lines
from vidcnn.reporting.progress import duration_text
from vidcnn.reporting.summaries import count, short_clips_lines, table_text
from vidcnn.safe_text import json_text, one_line
from vidcnn.sandbox.confinement import Strength
from vidcnn.sources.names import left_out_text, shown_name
from vidcnn.training.metrics import Metrics
from vidcnn.training.plan import TrainingPlan
from vidcnn.training.state import RunState
from vidcnn.training.validation import Validation, validation_numbers

_NUM_CLASSES_SHOWN = 20
_NUM_BAD_SHOWN = 5
_NUM_KINDS_SHOWN = 5

_NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "mean_average_precision": "mAP",
}


@dataclass(frozen=True)
class TrainReport:
    """How a training run ended.

    Attributes:
        plan: The job.
        directory: The run directory, as messages name it.
        best_step: Step of the weights that are in it.
        validation: What they reached, by name; empty where nothing was validated.
        num_steps_done: Steps that this command did.
        seconds: Time that this command took.
        state: How far the run was when it was last heard of.
        failure: Why there is no bundle of the trained weights, which their checkpoint still has; None if there is one.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    plan: TrainingPlan
    directory: str
    best_step: int
    validation: dict[str, Any]
    num_steps_done: int
    seconds: float
    state: RunState | None
    failure: VidcnnError | None = None
    confinement: Mapping[str, Strength] = field(default_factory=dict)

    @property
    def bundle(self) -> str:
        """Where the model bundle is."""
        return f"{self.directory}/bundle"


@dataclass(frozen=True)
class EvaluateReport:
    """What an evaluation found.

    Attributes:
        model: The bundle's directory.
        split: Which videos: ``train``, ``val``, ``test`` or ``all``.
        labels: Names of the K classes.
        reached: What the model reached.
        num_clips: Clips of each video, at most.
        num_crops: Crops of each clip.
        device: What the model ran on: ``cpu`` or ``cuda``.
        precision: How it computed: ``bf16``, ``fp32`` or ``exact``.
        batch_size: Clips that it took at once.
        bad_videos: Names of videos without any view that could be scored, and why.
        notices: What the user should know of the data.
        seconds: Time that the command took.
        short_clips: What becomes of a clip that is longer than its video.
        num_short_clips: How many such clips were scored.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    model: str
    split: str
    labels: tuple[str, ...]
    reached: Validation
    num_clips: int
    num_crops: int
    device: str
    precision: str
    batch_size: int
    bad_videos: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    seconds: float
    short_clips: ShortClips = "repeat_last"
    num_short_clips: int = 0
    confinement: Mapping[str, Strength] = field(default_factory=dict)


def plan_text(plan: TrainingPlan) -> str:
    """Return what is going to be trained, on what."""
    data, recipe = plan.data, plan.recipe
    counts = ", ".join(
        f"{one_line(label)} {number}"
        for label, number in list(zip(data.labels, plan.annotations.counts("train"), strict=True))[:_NUM_CLASSES_SHOWN]
    )
    more = f", and {len(data.labels) - _NUM_CLASSES_SHOWN} more" if len(data.labels) > _NUM_CLASSES_SHOWN else ""
    lines = [
        f"{count(len(data.train), 'video')} to train on ({counts}{more})",
        f"{count(len(data.val), 'video')} to validate on" + ("" if data.val else ": the last weights will be taken"),
        f"{plan.bundle.architecture} from {plan.bundle.provenance.weights}, {recipe.precision}, "
        f"{count(recipe.num_steps, 'step')} of {count(recipe.batch_size, 'clip')}",
        *notice_lines(plan.annotations.notices),
    ]
    if plan.annotations.ignored:
        lines.append(f"left out of the folders: {left_out_text(plan.annotations.ignored, _NUM_KINDS_SHOWN)}")
    return "\n".join(lines)


def notice_lines(notices: Sequence[str]) -> list[str]:
    """Return what a user should know of the data, a line each."""
    return [f"note: {one_line(notice)}" for notice in notices]


def train_text(report: TrainReport) -> str:
    """Return the final summary of a training run."""
    plan = report.plan
    if report.num_steps_done:
        lines = [f"trained {count(report.num_steps_done, 'step')} in {duration_text(report.seconds)}"]
    else:
        lines = [f"nothing to do: all {count(plan.recipe.num_steps, 'step')} are done"]
    if report.state is not None:
        lines[0] += f", {report.state.waiting:.0%} of it waiting for clips"
        if report.state.num_bad:
            lines.append(
                f"{count(report.state.num_bad, 'sample')} could not be decoded (see bad_samples in metrics.jsonl)"
            )
        lines += short_clips_lines(plan.spec.short_clips, report.state.num_short, report.state.num_good)
    reached = ", ".join(_reached(report.validation))
    epoch = report.best_step / plan.steps_per_epoch
    if reached:
        lines.append(f"best after epoch {epoch:.1f}: {reached} (validation, over videos)")
    lines += confinement_lines(report.confinement)
    lines.append("no bundle is written" if report.failure else f"bundle: {one_line(report.bundle)}")
    lines.append(f"curves: tensorboard --logdir {one_line(report.directory)}/tensorboard")
    return "\n".join(lines)


def train_line(report: TrainReport) -> str:
    """Return the final summary of a training run in one line."""
    where = one_line(report.directory if report.failure else report.bundle)
    return "; ".join([f"{where}: {train_text(report).splitlines()[0]}", *_reached(report.validation)])


def train_json(report: TrainReport) -> dict[str, Any]:
    """Return the final summary of a training run as JSON values."""
    return {
        "bundle": None if report.failure else report.bundle,
        "precision": report.plan.recipe.precision,
        "compiled": report.plan.recipe.compile,
        "steps": report.plan.recipe.num_steps,
        "steps_done": report.num_steps_done,
        "best_step": report.best_step,
        "validation": report.validation,
        "elapsed_seconds": round(report.seconds, 3),
        "waiting": None if report.state is None else round(report.state.waiting, 4),
        "bad_samples": 0 if report.state is None else report.state.num_bad,
        "short_samples": 0 if report.state is None else report.state.num_short,
        "confinement": confinement_json(report.confinement),
        "notices": list(report.plan.annotations.notices),
    }


def evaluate_text(report: EvaluateReport) -> str:
    """Return what an evaluation found."""
    videos, clips = report.reached.videos, report.reached.clips
    views = f"{count(report.num_clips, 'clip')} x {count(report.num_crops, 'crop')}"
    lines = [f"{one_line(report.model)} on {count(videos.num_samples, 'video')} ({report.split}), {views} of each"]
    rows = []
    for figure, name in _NAMES.items():
        values = getattr(videos, figure), getattr(clips, figure)
        if values[0] is not None:
            rows.append((name, *(f"{value:.1%}" for value in values)))
    lines += ["", table_text(("", "videos", "clips"), rows, right=("videos", "clips"))]
    lines += ["", _classes_text(videos)]
    short = short_clips_lines(report.short_clips, report.num_short_clips, clips.num_samples, has_fixed_length=True)
    lines += ["", *short] if short else []
    if report.bad_videos:
        lines += ["", f"{count(len(report.bad_videos), 'video')} could not be scored, and are in no figure"]
        lines += [f"  {shown_name(name)}: {one_line(reason)}" for name, reason in report.bad_videos[:_NUM_BAD_SHOWN]]
        if len(report.bad_videos) > _NUM_BAD_SHOWN:
            lines.append(f"  and {len(report.bad_videos) - _NUM_BAD_SHOWN:,} more")
    if weak := confinement_lines(report.confinement):
        lines += ["", *weak]
    return "\n".join(lines)


def evaluate_line(report: EvaluateReport) -> str:
    """Return what an evaluation found over videos in one line."""
    videos = report.reached.videos
    parts = [f"{one_line(report.model)} on {count(videos.num_samples, 'video')} ({report.split})"]
    values = {field: getattr(videos, field) for field in _NAMES}
    parts += _reached({field: value for field, value in values.items() if value is not None})
    if report.bad_videos:
        parts.append(f"{count(len(report.bad_videos), 'video')} could not be scored")
    return "; ".join(parts)


def evaluate_json(report: EvaluateReport) -> dict[str, Any]:
    """Return what an evaluation found as JSON values."""
    return {
        "model": report.model,
        "split": report.split,
        "clips_per_video": report.num_clips,
        "crops_per_clip": report.num_crops,
        "device": report.device,
        "precision": report.precision,
        "batch_size": report.batch_size,
        **validation_numbers(report.reached),
        "videos": asdict(report.reached.videos),
        "clips": asdict(report.reached.clips),
        "short_clips": report.num_short_clips,
        "bad_videos": [{"video": name, "error": reason} for name, reason in report.bad_videos],
        "confinement": confinement_json(report.confinement),
        "notices": list(report.notices),
        "elapsed_seconds": round(report.seconds, 3),
    }


def write_json(path: str, report: EvaluateReport) -> None:
    """Write what an evaluation found to a file.

    Raises:
        OSError: It cannot be written.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(json_text(evaluate_json(report), indent=2) + "\n")


def _reached(figures: Mapping[str, float]) -> list[str]:
    return [f"{_NAMES[name]} {value:.1%}" for name, value in figures.items() if name in _NAMES]


def _classes_text(metrics: Metrics) -> str:
    """Return a row for each class; of many, the ones that are found least."""
    shown = sorted(metrics.classes, key=lambda found: (found.recall is None, found.recall))[:_NUM_CLASSES_SHOWN]
    if len(metrics.classes) <= _NUM_CLASSES_SHOWN:
        shown = list(metrics.classes)
    rows = [(found.label, str(found.num_samples), _share(found.precision), _share(found.recall)) for found in shown]
    text = table_text(("class", "videos", "precision", "recall"), rows, right=("videos", "precision", "recall"))
    left = len(metrics.classes) - len(shown)
    return text + (f"\nand {left} more classes of higher recall" if left else "")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
