"""How the model computes: what the machine can do, what pays, and what the user asked for.

The choice is a part of what rows depend on, so it is recorded with the output, and a run that continues takes what the
first one chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidcnn.choices import UNCOMPILED, Precision
from vidcnn.config import InferSpec
from vidcnn.errors import UsageError
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.sampling.segments import ClipSpec


@dataclass(frozen=True)
class Runtime:
    """How the model computes.

    Attributes:
        precision: ``int8``, ``bf16``, ``fp32`` (these with the fast way of resizing), or ``exact``.
        compiled: Whether the model is compiled.
    """

    precision: Precision
    compiled: bool

    @classmethod
    def from_settings(cls, recorded: Mapping[str, Any], spec: InferSpec) -> Runtime:
        """Take what an output was written with, save for what the user asks for expressly."""
        precision = recorded["precision"] if spec.precision == "auto" else spec.precision
        compiled = recorded["compiled"] if spec.compile == "auto" else spec.compile == "on"
        return cls(precision, bool(compiled) and precision not in UNCOMPILED)


def choose_clips(bundle: Bundle, spec: InferSpec) -> ClipSpec:
    """Return how clips are placed on videos: as the model's own sampling, changed by the user's options.

    Raises:
        UsageError: The options do not fit together.
        ModelError: The model cannot take such clips.
    """
    try:
        clips = spec.clip_spec(bundle.sampling)
    except ValueError as error:
        raise UsageError(str(error)) from error
    architecture(bundle.architecture).check_input(clips.sampling, bundle.preprocessing)
    return clips


def choose_runtime(bundle: Bundle, spec: InferSpec, device: str, num_clips: int) -> Runtime:
    """Choose how the model computes in a run that starts afresh.

    Args:
        bundle: The model.
        spec: What the user asks for.
        device: ``cpu`` or ``cuda``.
        num_clips: Clips of the whole run, as far as it is known.
    """
    from vidcnn.inference.classifier import compiling_pays
    from vidcnn.inference.devices import resolve_device
    from vidcnn.inference.network import best_precision

    precision: Precision = (
        best_precision(bundle, resolve_device(device)) if spec.precision == "auto" else spec.precision
    )
    may_compile = precision not in UNCOMPILED
    compiled = spec.compile == "on" or (
        spec.compile == "auto" and may_compile and compiling_pays(bundle, device, num_clips)
    )
    return Runtime(precision, compiled and may_compile)
