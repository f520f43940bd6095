"""The data and the place of a training job, as far as they can be read without loading torch."""

from __future__ import annotations

from vidcnn.annotations import Annotations, SplitSettings, read_annotations
from vidcnn.config.train import TrainSpec, parse_list
from vidcnn.errors import UsageError
from vidcnn.training.augment import FlipRule

_SIDES = ("left", "right")
_SIDE_SEPARATORS = str.maketrans("_-./", "    ")


def read_data(spec: TrainSpec) -> Annotations:
    """Read the labelled videos of a job.

    Raises:
        UsageError: The spec does not name them, or not the run directory.
        DataError: They cannot be trained on; the message lists all that is wrong.
        SourceError: They cannot be read.
    """
    if spec.data is None:
        raise UsageError("there is no --data to train on", "give --data DIR or --data clips.csv, or a job spec")
    if spec.out is None:
        raise UsageError("there is no --out for the run", "give --out RUN_DIR")
    splits = split_settings(spec.val_fraction, spec.split_by, spec.val_where, spec.seed)
    return read_annotations(
        spec.data,
        root=spec.root,
        labels=spec.labels,
        splits=splits,
        where=spec.where,
        follow_links=spec.follow_links,
    )


def split_settings(val_fraction: float, split_by: str | None, val_where: str | None, seed: int) -> SplitSettings:
    """Read how a user wants videos to be split.

    Raises:
        UsageError: It cannot be meant.
    """
    try:
        return SplitSettings(val_fraction, split_by, (val_where,) if val_where else (), seed)
    except ValueError as error:
        raise UsageError(str(error)) from error


def flip_rule(spec: TrainSpec, labels: tuple[str, ...]) -> FlipRule:
    """Read what a mirror does to the classes.

    Raises:
        UsageError: The setting cannot be meant, or names of classes distinguish left from right and no option is about
            that.
    """
    try:
        rule = FlipRule.parse(spec.flip, parse_list(spec.flip_pairs), labels)
    except ValueError as error:
        raise UsageError(str(error)) from error
    sided = [label for label in labels if set(label.lower().translate(_SIDE_SEPARATORS).split()) & set(_SIDES)]
    if rule.is_on and sided and spec.flip_pairs is None:
        shown = ", ".join(sided[:4]) + (", ..." if len(sided) > 4 else "")
        raise UsageError(
            f"clips would be mirrored, and the names of classes distinguish left from right ({shown})",
            "give --flip off, or which classes are each other's mirror image: --flip-pairs left=right",
        )
    return rule
