"""Making data sets of empty files, and saying what was read of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidcnn.annotations import Annotations, SplitSettings, read_annotations
from vidcnn.errors import DataError

NO_VAL = SplitSettings(val_fraction=0)


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def written(annotations: Annotations) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Return the names and labels of each split that is not empty."""
    return {
        split: [(sample.video.name, tuple(annotations.labels[label] for label in sample.labels)) for sample in samples]
        for split, samples in annotations.splits.items()
        if samples
    }


def problems_of(data: object, splits: SplitSettings = NO_VAL, **options: str) -> list[str]:
    """Return the lines of the error, without their indents."""
    with pytest.raises(DataError) as caught:
        read_annotations(str(data), splits=splits, **options)
    return [line.strip() for line in caught.value.message.splitlines()]


def each(names: Iterable[str], label: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, (label,)) for name in names]


def parquet(file: Path, /, **columns: list[Any]) -> str:
    """Write a table, and return its path."""
    pq.write_table(pa.table(columns), file)
    return str(file)
