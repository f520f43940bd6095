"""The zoo as a table: the size and the cost of each architecture. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from vidcnn.models.registry import ARCHITECTURES, Architecture


@dataclass(frozen=True)
class ModelRow:
    """One architecture in figures.

    Args:
        name: Name in the registry.
        num_parameters: Learned values, at 400 classes.
        gflops: Thousand million multiply-adds for one clip, each counted once, as the field's tables do.
        input: Frames, height, width and rate of its default clips, such as ``16x112x112 at 15 fps``.
        weights: Names of published weights, the default first.
    """

    name: str
    num_parameters: int
    gflops: float
    input: str
    weights: tuple[str, ...]


def model_rows() -> list[ModelRow]:
    """Return the table's rows in the registry's order."""
    return [_row(entry) for entry in ARCHITECTURES.values()]


def _row(entry: Architecture) -> ModelRow:
    sampling, crop = entry.sampling, entry.preprocessing.crop
    rate = f"{sampling.fps:g} fps" if sampling.fps else f"stride {sampling.stride}"
    return ModelRow(
        name=entry.name,
        num_parameters=entry.num_parameters,
        gflops=entry.multiply_adds / 1e9,
        input=f"{sampling.num_frames}x{crop[0]}x{crop[1]} at {rate}",
        weights=entry.weights,
    )
