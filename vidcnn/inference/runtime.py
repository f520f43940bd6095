"""How the model computes: what the machine can do, what pays, and what the user asked for.

The choice is a part of what rows depend on, so it is recorded with the output, and a run that continues takes what the
first one chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vidcnn.choices import SAFER, UNCOMPILED, Precision, PrecisionOption
from vidcnn.config import InferSpec
from vidcnn.errors import CompileError, ModelError, PrecisionError, UsageError
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.sampling.segments import ClipSpec

if TYPE_CHECKING:
    from vidcnn.inference.classifier import Classifier


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

    def safer(self) -> Runtime:
        """Return what takes its place where the model cannot be compiled, or computes wrongly."""
        return replace(self, compiled=False) if self.compiled else replace(self, precision=SAFER[self.precision])


ModeError = CompileError, PrecisionError
"""What says that a model cannot run so on a machine; `Runtime.safer` is how it may."""


def instead(error: ModelError, runtime: Runtime) -> str:
    """Return the notice that a model runs otherwise than was meant.

    Args:
        error: Why: one of `ModeError`.
        runtime: How it runs.
    """
    if isinstance(error, CompileError):
        return f"the model runs uncompiled: {error}"
    return f"the model runs in {runtime.precision} precision: {error.message}"


def mixed(error: ModelError, runtime: Runtime, out: str) -> ModelError:
    """Return the error of a run that has rows already of a model that cannot run so everywhere.

    Args:
        error: Why: one of `ModeError`.
        runtime: How the model was to run.
        out: The output.
    """
    if isinstance(error, CompileError):
        made, fails = "a compiled model", "cannot be compiled"
        hint = error.hint or "mend that, and the same command continues; or choose another --out"
    else:
        made, fails = f"a model in {runtime.precision} precision", "does not compute rightly so"
        hint = "run it where it does, and the same command continues; or choose another --out"
    text = f"the rows of {out} are of {made}, and it {fails} everywhere: {error.message}"
    return type(error)(text, hint)


def load_safely(bundle: Bundle, *, precision: PrecisionOption, **options: Any) -> tuple[Classifier, tuple[str, ...]]:
    """Load a model in a precision, or in the next safer one in which it computes rightly here.

    Args:
        bundle: The model.
        precision: What is wanted.
        **options: Others of `vidcnn.inference.classifier.Classifier`.

    Returns:
        What runs it, and notices of why it runs otherwise than was wanted.

    Raises:
        VidcnnError: As `Classifier` does, save for `PrecisionError`.
    """
    from vidcnn.inference.classifier import Classifier
    from vidcnn.inference.devices import resolve_device
    from vidcnn.inference.network import best_precision

    if precision == "auto":
        precision = best_precision(bundle, resolve_device(options.get("device", "auto")))
    notices: list[str] = []
    while True:
        try:
            return Classifier(bundle, precision=precision, **options), tuple(notices)
        except PrecisionError as error:
            runtime = Runtime(precision, compiled=False).safer()
            precision = runtime.precision
            notices.append(instead(error, runtime))


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
