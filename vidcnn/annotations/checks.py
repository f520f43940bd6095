"""What samples must keep to: one label each, no leak from training to validation, no class without samples.

What is wrong with samples is added to `Problems`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vidcnn.annotations.labelled import SPLITS, LabelledVideo
from vidcnn.annotations.problems import (
    CONFLICT,
    FEW_CLASSES,
    GROUP_OVERLAP,
    LEAK,
    NO_TRAINING,
    NOT_TRAINED,
    STRADDLE,
    UNUSED_LABEL,
    Problems,
    printable,
)
from vidcnn.choices import Split


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample on its way to a split.

    Attributes:
        labelled: What it will be.
        file: The same for all samples of one file, by whatever name.
        split: Its split; None while it has none.
        place: Where it is written, for messages; empty where the name is enough.
    """

    labelled: LabelledVideo
    file: str
    split: Split | None
    place: str

    @property
    def start(self) -> float:
        """Begin of the interval, in seconds."""
        return self.labelled.start_seconds or 0.0

    @property
    def end(self) -> float:
        """End of the interval, in seconds; infinite where it is that of the video."""
        return math.inf if self.labelled.end_seconds is None else self.labelled.end_seconds

    @property
    def where(self) -> str:
        """Where it is written, or its name."""
        return self.place or self.labelled.video.name


def merge(samples: Sequence[Sample], problems: Problems) -> list[Sample]:
    """Merge samples that are the same, and note those that only differ in their labels.

    Samples of the same interval in two splits both stay: `check_leaks` reports them. Those that overlap without being
    the same all stay, with labels of their own: in a film people do several things at once.
    """
    first: dict[tuple[str, float, float], Sample] = {}
    merged: list[Sample] = []
    for sample in samples:
        earlier = first.setdefault((sample.file, sample.start, sample.end), sample)
        if earlier is sample or sample.start >= sample.end:
            merged.append(sample)
            continue
        if earlier.labelled.labels != sample.labelled.labels:
            problems.add(CONFLICT, _pair(earlier, sample, earlier.where, sample.where))
        if (earlier.split, earlier.labelled.group) != (sample.split, sample.labelled.group):
            merged.append(sample)
    num_merged = len(samples) - len(merged)
    if num_merged:
        what = ("sample is", "counts") if num_merged == 1 else ("samples are", "count")
        problems.note(f"{num_merged:,} {what[0]} there already, with the same label, and {what[1]} once")
    overlaps = [pair for pair in _overlaps(merged, lambda sample: repr(sample.labelled.labels)) if _is_no_pair(*pair)]
    if overlaps:
        one, other = overlaps[0]
        pair = _pair(one, other, one.where, other.where)
        which = "sample overlaps" if len(overlaps) == 1 else "samples overlap"
        problems.note(f"{len(overlaps):,} {which} in time with one of another label, and both count: {printable(pair)}")
    return merged


def _is_no_pair(one: Sample, other: Sample) -> bool:
    """Return whether two samples that overlap are of different times: those of the same are a conflict, or a leak."""
    return (one.start, one.end) != (other.start, other.end)


def check_leaks(samples: Sequence[Sample], problems: Problems) -> None:
    """Note samples that overlap with one of another split, and of groups in several splits."""
    for one, other in _overlaps(samples, lambda sample: sample.split):
        problems.add(LEAK, _pair(one, other, f"{one.split}, {one.where}", f"{other.split}, {other.where}"))
    splits: dict[str, set[Split]] = defaultdict(set)
    for sample in samples:
        if sample.labelled.group and sample.split:
            splits[sample.labelled.group].add(sample.split)
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            problems.add(STRADDLE, f"{group}: {', '.join(split for split in SPLITS if split in found)}")


def check_groups(samples: Sequence[Sample], problems: Problems) -> None:
    """Note samples that overlap with one of another group, which no way of making splits keeps apart."""
    for one, other in _overlaps(samples, lambda sample: sample.labelled.group):
        problems.add(GROUP_OVERLAP, _pair(one, other, f"{one.labelled.group}", f"{other.labelled.group}"))


def check_classes(samples: Sequence[Sample], labels: Sequence[str], *, is_given: bool, problems: Problems) -> None:
    """Note classes that there is nothing to learn from.

    Args:
        samples: The samples, with their splits.
        labels: Names of the classes.
        is_given: Whether they come from a labels file, all of whose names need samples.
        problems: Where to note them.
    """
    counts: dict[Split | None, Counter[int]] = {split: Counter() for split in SPLITS}
    for sample in samples:
        counts[sample.split or "train"].update(sample.labelled.labels)
    if not counts["train"]:
        problems.add(NO_TRAINING, "")
        return
    if len(labels) < 2:
        problems.add(FEW_CLASSES, ", ".join(labels))
    for index, label in enumerate(labels):
        if counts["train"][index]:
            continue
        held = [f"{split}: {counts[split][index]:,}" for split in ("val", "test") if counts[split][index]]
        if held:
            problems.add(NOT_TRAINED, f"{label} ({', '.join(held)})")
        elif is_given:
            problems.add(UNUSED_LABEL, label)


def _overlaps(samples: Sequence[Sample], side: Callable[[Sample], str | None]) -> Iterator[tuple[Sample, Sample]]:
    """Find samples that share a part of a file with a sample of another side: each such with one partner."""
    by_file: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.start < sample.end:
            by_file[sample.file].append(sample)
    for together in by_file.values():
        if len(together) < 2:
            continue
        # Of what began earlier, the one that reaches furthest, and the furthest of any other side.
        first: Sample | None = None
        second: Sample | None = None
        for sample in sorted(together, key=lambda sample: sample.start):
            rival = second if first is not None and side(first) == side(sample) else first
            if rival is not None and rival.end > sample.start:
                yield rival, sample
            if first is None or side(first) == side(sample):
                first = sample if first is None or sample.end > first.end else first
            elif sample.end > first.end:
                first, second = sample, first
            elif second is None or sample.end > second.end:
                second = sample


def _pair(one: Sample, other: Sample, of_one: str, of_other: str) -> str:
    return f"{one.labelled.video.name} ({of_one}) and {other.labelled.video.name} ({of_other})"
