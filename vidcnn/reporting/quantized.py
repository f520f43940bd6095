"""What `vidcnn quantize` prints: what int8 costs, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vidcnn.reporting.confined import confinement_json, confinement_lines
from vidcnn.reporting.summaries import count
from vidcnn.safe_text import one_line
from vidcnn.sandbox.confinement import Strength


@dataclass(frozen=True)
class QuantizeReport:
    """A bundle that was quantized.

    Attributes:
        out: Where it is.
        architecture: Name of the model.
        num_convolutions: Convolutions of the network.
        kept: Those that stay in float32.
        observer: How ranges were taken.
        num_calibrated: Clips that it was calibrated on.
        measured: What `vidcnn.inference.quantizing.measure` returned.
        min_agreement: What was wanted.
        notices: What the user should know, a line each.
        is_tuned: Whether its weights were fine-tuned.
        confinement: This machine, with what confined the processes that read videos.
    """

    out: str
    architecture: str
    num_convolutions: int
    kept: tuple[str, ...]
    observer: str
    num_calibrated: int
    measured: Mapping[str, float]
    min_agreement: float
    notices: tuple[str, ...] = ()
    is_tuned: bool = False
    confinement: Mapping[str, Strength] = field(default_factory=dict)

    @property
    def float_precision(self) -> str:
        """The precision that int8 was compared with in speed."""
        return next(name for name in ("bf16", "fp32") if f"{name}_clips_per_second" in self.measured)

    @property
    def speedup(self) -> float:
        """How many times as fast int8 is as the fastest float precision here."""
        return self.measured["int8_clips_per_second"] / self.measured[f"{self.float_precision}_clips_per_second"]


def quantize_text(report: QuantizeReport) -> str:
    """Return the summary of a quantized bundle."""
    measured = report.measured
    num_bytes = report.num_convolutions - len(report.kept)
    lines = [
        f"{one_line(report.out)}: {report.architecture}, {num_bytes} of {count(report.num_convolutions, 'convolution')}"
        f" in int8 (ranges by {report.observer}, from {count(report.num_calibrated, 'clip')})",
        f"agreement: {measured['agreement']:.1%} of {measured['clips']:,.0f} other clips have the same class first as "
        f"in float32",
        f"drift: {measured['drift']:.2%} of the probability goes to other classes on average, "
        f"{measured['largest_drift']:.1%} at most",
    ]
    if "top1_int8" in measured:
        lines.append(
            f"accuracy: top-1 {measured['top1_int8']:.1%} of the clips, {measured['top1_float32']:.1%} in float32"
        )
    lines.append(
        f"speed: {measured['int8_clips_per_second']:.1f} clips/s on one thread, "
        f"{measured[f'{report.float_precision}_clips_per_second']:.1f} in {report.float_precision}: "
        f"{report.speedup:.1f} times"
    )
    if report.is_tuned:
        lines.append(
            "its weights were fine-tuned for int8: in float32, too, they are others, and "
            f"{measured['agreement_float32']:.1%} have the same class first"
        )
    if report.kept:
        lines.append(f"in float32 stay {', '.join(report.kept)}")
    return "\n".join([*lines, *confinement_lines(report.confinement), *report.notices])


def quantize_json(report: QuantizeReport) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "bundle": report.out,
        "model": report.architecture,
        "convolutions": report.num_convolutions,
        "kept": list(report.kept),
        "observer": report.observer,
        "clips_calibrated": report.num_calibrated,
        "fine_tuned": report.is_tuned,
        "measured": dict(report.measured),
        "speedup": round(report.speedup, 3),
        "confinement": confinement_json(report.confinement),
        "notices": list(report.notices),
    }
