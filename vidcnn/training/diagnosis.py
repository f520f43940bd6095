"""Why a step gave no numbers: what was tried out, and what follows from it.

The step is done again in float32, eagerly and in the plain layout, with the weights as they are and with those that
training began with. The result shows whether the arithmetic, the rate, the weights to begin with or the data are at
fault::

    as they are     to begin with    at fault
    numbers         -                the arithmetic of the step itself
    no numbers      numbers          the rate: the weights have grown too large
    no numbers      no numbers       the data, or the weights to begin with if these are no numbers
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vidcnn.errors import DataError, ModelError, VidcnnError

_NUM_SHOWN = 5


@dataclass(frozen=True)
class Findings:
    """What one worker found on its share of a step.

    Attributes:
        bad_losses: Rows of the share whose loss was no number in the step itself.
        bad_gradients: Names of the weights whose gradient was none.
        is_finite: Whether loss and gradient are numbers, plainly computed with the weights as they are.
        began_finite: Whether they are, with the weights that training began with.
        bad_plain_losses: Rows whose loss is none with those either.
        largest_weight: Of the weights as they are; NaN or infinite if one of them is.
        begins_finite: Whether all weights that training began with are numbers.
    """

    bad_losses: tuple[int, ...]
    bad_gradients: tuple[str, ...]
    is_finite: bool
    began_finite: bool
    bad_plain_losses: tuple[int, ...]
    largest_weight: float
    begins_finite: bool


def explain(
    seen: Sequence[Findings],
    names: Sequence[Sequence[str]],
    *,
    step: int,
    precision: str,
    is_compiled: bool,
    advise: Callable[[str], str] = lambda change: change,
) -> VidcnnError:
    """Return why a step gave no numbers.

    Args:
        seen: What each worker found.
        names: Names of the videos of each worker's share.
        step: Steps done before.
        precision: How the step computed.
        is_compiled: Whether the network is compiled.
        advise: Returns how to train with a change that it is given, such as ``lower --lr``.
    """
    of_losses = _shown(name for found, part in zip(seen, names, strict=True) for name in _of(part, found.bad_losses))
    of_gradients = _shown(name for found in seen for name in found.bad_gradients)
    what = f"the loss of {of_losses}" if of_losses else f"the gradient of {of_gradients or 'all weights together'}"
    failed = f"in step {step} {what} is not a number"
    if all(found.is_finite for found in seen):
        how = f"{precision}, compiled," if is_compiled else precision
        slower = "--precision fp32" if precision == "bf16" else ""
        slower += f"{' and ' if slower else ''}--compile off" if is_compiled else ""
        report = "report it with the version of torch and the processor's name"
        return ModelError(
            f"{failed} in {how} but is one where the same clips and weights are computed plainly in float32: "
            "the arithmetic is at fault, not the videos and not the rate",
            advise(f"train with {slower}") if slower else report,
        )
    if not all(found.begins_finite for found in seen):
        return ModelError(f"{failed}: the weights that training began with are no numbers", "check --weights")
    if all(found.began_finite for found in seen):
        largest = max((found.largest_weight for found in seen), key=lambda value: (value != value, value))
        return DataError(
            f"{failed}: the weights have grown too large (the largest is {largest:.3g}); with those that training "
            "began with, the same clips give numbers",
            advise("lower --lr, or set --clip-norm 1"),
        )
    videos = _shown(
        name for found, part in zip(seen, names, strict=True) for name in _of(part, found.bad_plain_losses)
    ) or _shown(name for part in names for name in part)
    return DataError(
        f"{failed}, and with the weights that training began with it is none either",
        f"look at {videos} and their labels: " + advise("mend or leave them out"),
    )


def _of(names: Sequence[str], rows: Sequence[int]) -> list[str]:
    return [names[row] for row in rows]


def _shown(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    return ", ".join(known[:_NUM_SHOWN]) + (", ..." if len(known) > _NUM_SHOWN else "")
