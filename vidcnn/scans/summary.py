"""What a scan comes to: counts of its rows, with an example of each thing that is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = [
    *("video", "readable", "size_bytes", "container", "video_codec", "width", "height", "is_hdr", "duration_seconds"),
    *("is_variable_rate", "num_gaps", "is_encrypted", "num_damaged", "black_seconds", "frozen_seconds"),
    *("duplicate_of", "near_duplicate_of", "error", "error_kind"),
]
"""What is read of each row."""


@dataclass
class Group:
    """Videos of which one thing is true.

    Attributes:
        num_videos: How many.
        size_bytes: Their size, all together.
        seconds: How long that is so, all together; 0 where it is true of whole videos.
        example: The first of them by name.
        detail: What is to be known about the example; empty where nothing is.
    """

    num_videos: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    example: str = ""
    detail: str = ""

    def take(self, rows: pa.Table, *, seconds: str | None = None, detail: str | None = None) -> None:
        """Count rows.

        Args:
            rows: Rows of which it is true.
            seconds: The column that says how long.
            detail: The column that says what is to be known.
        """
        if not rows.num_rows:
            return
        self.num_videos += rows.num_rows
        self.size_bytes += pc.sum(rows["size_bytes"]).as_py() or 0
        if seconds is not None:
            self.seconds += pc.sum(rows[seconds]).as_py() or 0.0
        first = rows.take(pc.select_k_unstable(rows, 1, [("video", "ascending")]))
        name = first["video"][0].as_py()
        if not self.example or name < self.example:
            self.example = name
            self.detail = str(first[detail][0].as_py()) if detail is not None else ""


@dataclass
class ScanSummary:
    """Counts of a scan.

    Attributes:
        num_videos, num_readable: Videos, and those of which any frame can be had.
        size_bytes: Their size, all together.
        seconds: Their length, as far as it is known.
        codecs, containers, sizes: How many videos there are of each; sizes are ``1920x1080``.
        errors: Videos with an error, by its kind.
        damaged: Videos with frames that are missing or damaged.
        same, near: Videos with the content of another, and those that look like another.
        variable_rate, gaps, black, frozen, encrypted, hdr: Videos of which that is true.
    """

    num_videos: int = 0
    num_readable: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    codecs: Counter[str] = field(default_factory=Counter)
    containers: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    errors: dict[str, Group] = field(default_factory=dict)
    damaged: Group = field(default_factory=Group)
    same: Group = field(default_factory=Group)
    near: Group = field(default_factory=Group)
    variable_rate: Group = field(default_factory=Group)
    gaps: Group = field(default_factory=Group)
    black: Group = field(default_factory=Group)
    frozen: Group = field(default_factory=Group)
    encrypted: Group = field(default_factory=Group)
    hdr: Group = field(default_factory=Group)

    @property
    def num_bad_videos(self) -> int:
        """Videos with an error."""
        return sum(group.num_videos for group in self.errors.values())


def summarize_scan(tables: Iterable[pa.Table]) -> ScanSummary:
    """Count the rows of a scan that come in pieces.

    Args:
        tables: Pieces with `COLUMNS`, in any order.
    """
    found = ScanSummary()
    seconds = []
    for rows in tables:
        if not rows.num_rows:
            continue
        found.num_videos += rows.num_rows
        found.num_readable += pc.sum(rows["readable"]).as_py() or 0
        found.size_bytes += pc.sum(rows["size_bytes"]).as_py() or 0
        seconds.append(pc.sum(rows["duration_seconds"]).as_py() or 0.0)
        for counts, columns in (
            (found.codecs, ["video_codec"]),
            (found.containers, ["container"]),
            (found.sizes, ["width", "height"]),
        ):
            groups = rows.select(columns).drop_null().group_by(columns).aggregate([(columns[0], "count")])
            for *values, number in zip(*(column.to_pylist() for column in groups.columns), strict=True):
                counts["x".join(map(str, values))] += number
        for kind in pc.unique(rows["error_kind"].drop_null()).to_pylist():
            group = found.errors.setdefault(kind, Group())
            group.take(rows.filter(pc.equal(rows["error_kind"], kind)), detail="error")
        found.damaged.take(rows.filter(pc.greater(rows["num_damaged"], 0)), detail="num_damaged")
        found.same.take(rows.filter(pc.is_valid(rows["duplicate_of"])), detail="duplicate_of")
        found.near.take(rows.filter(pc.is_valid(rows["near_duplicate_of"])), detail="near_duplicate_of")
        found.variable_rate.take(rows.filter(rows["is_variable_rate"]))
        found.gaps.take(rows.filter(pc.greater(rows["num_gaps"], 0)))
        found.black.take(rows.filter(pc.greater(rows["black_seconds"], 0)), seconds="black_seconds")
        found.frozen.take(rows.filter(pc.greater(rows["frozen_seconds"], 0)), seconds="frozen_seconds")
        found.encrypted.take(rows.filter(rows["is_encrypted"]))
        found.hdr.take(rows.filter(rows["is_hdr"]))
    found.seconds = math.fsum(seconds)
    found.errors = dict(sorted(found.errors.items()))
    return found
