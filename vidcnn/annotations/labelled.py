"""The data types of annotations: the videos of a training run, and how splits are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from vidcnn.choices import Split
from vidcnn.sources import SourceVideo

SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """A sample: a video, or an interval of one, and its classes.

    Attributes:
        video: Where it is; its name is relative to the folder of the annotations, or to their root.
        labels: Indexes of its classes, increasing; exactly one unless the data is multi-label.
        start_seconds: Begin of the interval ``[start, end)``; None: the begin of the video.
        end_seconds: End of the interval; None: the end of the video.
        group: Value of the column that no split may straddle (`SplitSettings.split_by`); None without one.
    """

    video: SourceVideo
    labels: tuple[int, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Annotations:
    """What `read_annotations` found.

    Attributes:
        labels: Names of the K classes, in the order of their indexes.
        multi_label: Whether a sample may have several classes.
        splits: The samples of each of `SPLITS`, by name and start; a split that there is not is empty.
        ignored: Files of class folders that are not used, by lower-case extension: what is neither video nor
            image, and images beside videos.
        notices: What a user should know, although it may be as it is meant; a line each.
    """

    labels: tuple[str, ...]
    multi_label: bool
    splits: Mapping[Split, tuple[LabelledVideo, ...]]
    ignored: Mapping[str, int]
    notices: tuple[str, ...] = ()

    def counts(self, split: Split) -> tuple[int, ...]:
        """Count the samples of each class, K numbers; a sample of several classes counts in each."""
        counts = [0] * len(self.labels)
        for sample in self.splits[split]:
            for label in sample.labels:
                counts[label] += 1
        return tuple(counts)


@dataclass(frozen=True)
class SplitSettings:
    """How splits are made where the data does not give them.

    Attributes:
        val_fraction: Share of the training samples that become validation samples, in [0, 1).
        split_by: Column of the table whose value keeps samples together; without it, samples of one file are.
        val_where: Conditions such as ``fold=0`` or ``fold=0,1``. The rows that meet all of them are for
            validation and all others for training, but for those that the data gives as ``test``.
        seed: Which of the possible splits.

    Raises:
        ValueError: `val_fraction` is out of its range, or a condition is not ``column=value``.
    """

    val_fraction: float = 0.2
    split_by: str | None = None
    val_where: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"val_fraction ({self.val_fraction:g}) must be at least 0 and less than 1")
        for condition in self.val_where:
            column, _, values = condition.partition("=")
            if not column.strip() or not all(value.strip() for value in values.split(",")):
                raise ValueError(f"val_where ('{condition}') must be column=value or column=value,value")

    @property
    def conditions(self) -> dict[str, frozenset[str]]:
        """The values that `val_where` admits, by column; a column named twice admits the values of both."""
        admitted: dict[str, frozenset[str]] = {}
        for condition in self.val_where:
            column, _, text = condition.partition("=")
            values = frozenset(value.strip() for value in text.split(","))
            admitted[column.strip()] = admitted.get(column.strip(), values) & values
        return admitted
