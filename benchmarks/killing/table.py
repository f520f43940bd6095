"""Two tables of predictions held against each other, whatever the order of their rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Key = tuple[str, int | None]
Rows = dict[Key, list[dict[str, Any]]]


@dataclass(frozen=True)
class Difference:
    """What is wrong with a table.

    Attributes:
        lost: Rows that should be there and are not.
        double: Rows beyond the one that each clip should have, and rows of clips that there are not.
        changed: Rows with another value in any column.
    """

    lost: int = 0
    double: int = 0
    changed: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self.lost or self.double or self.changed)

    def plus(self, other: Difference) -> Difference:
        """Return the sum of two."""
        return Difference(self.lost + other.lost, self.double + other.double, self.changed + other.changed)

    def __str__(self) -> str:
        """Return it as a phrase."""
        return f"{self.lost} lost, {self.double} double, {self.changed} changed"


def by_clip(table: pa.Table) -> Rows:
    """Return rows by video and clip."""
    rows: Rows = {}
    for row in table.to_pylist():
        rows.setdefault((row["video"], row["clip"]), []).append(row)
    return rows


def compare(found: Rows, expected: Rows, *, is_whole: bool = True) -> Difference:
    """Hold a table against the one it should be.

    Args:
        found: The table.
        expected: What it should be, with one row to a clip.
        is_whole: Whether it should be all there; rows of a table that is being written may be missing.
    """
    counts = Counter({key: len(rows) for key, rows in found.items()})
    counts.subtract(dict.fromkeys(expected, 1))
    return Difference(
        lost=-sum(count for count in counts.values() if count < 0) if is_whole else 0,
        double=sum(count for count in counts.values() if count > 0),
        changed=sum(row != expected[key][0] for key, rows in found.items() if key in expected for row in rows),
    )
