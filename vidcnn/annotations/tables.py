"""Tables with a heading, and those of Kinetics: from cells to rows.

Tables have ``path`` (or ``video``) and ``label``, and may have ``split``, ``start_seconds``, ``end_seconds`` and
more. Those of Kinetics have ``label``, ``youtube_id``, ``time_start``, ``time_end`` and ``split``: their files are
cut already, and are named after the three in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vidcnn.annotations.labelled import SplitSettings
from vidcnn.annotations.problems import (
    BAD_INTERVAL,
    BAD_TIME,
    EXTRA_CELLS,
    NO_GROUP,
    NO_PATH,
    OTHER_SPLIT,
    UNKNOWN_SPLIT,
    Problems,
    printable,
)
from vidcnn.annotations.rows import ListFile, Row, split_named
from vidcnn.choices import Split
from vidcnn.errors import DataError
from vidcnn.safe_text import BLANKS
from vidcnn.sources.columns import column_name, meant_columns, renaming_hint
from vidcnn.sources.lists import COLUMNS
from vidcnn.sources.names import utf8_name

_KINETICS = ("youtube_id", "time_start", "time_end")
_NEEDED = (COLUMNS[0], "label")
_OPTIONAL = ("split", "start_seconds", "end_seconds")


@dataclass(frozen=True)
class Heading:
    """The columns of a table, by what they are for; -1 where there is none.

    Attributes:
        columns: All names, as `column_name` returns them.
        path: Column of the paths; of Kinetics, that of the identifiers.
        conditions: The columns that `SplitSettings.val_where` names, and the values that it admits.
    """

    columns: tuple[str, ...]
    is_kinetics: bool
    path: int
    label: int
    split: int
    start: int
    end: int
    group: int
    conditions: tuple[tuple[int, frozenset[str]], ...]

    @property
    def used(self) -> frozenset[int]:
        """The columns that rows are made from."""
        single = (self.path, self.label, self.split, self.start, self.end, self.group)
        return frozenset(single) | {column for column, _ in self.conditions}


def is_heading(cells: Sequence[str]) -> bool:
    """Return whether the cells of a first line are the names of a table's columns."""
    names = {column_name(cell) for cell in cells}
    return not names.isdisjoint((*COLUMNS, _KINETICS[0])) and not any(name.isdigit() for name in names)


def is_misspelt_heading(cells: Sequence[str]) -> bool:
    """Return whether a first line that is no heading looks like one, with other names of its columns."""
    names = [column_name(cell) for cell in cells]
    return {"path", "label"} <= set(meant_columns(names, ("path", "label")).values()) | set(names)


def understand(cells: Sequence[str], file: ListFile, settings: SplitSettings, problems: Problems) -> Heading:
    """Find the columns that are needed.

    Args:
        cells: The names of the columns.
        file: The file that they are from.
        settings: Names the columns that rows are grouped and divided by.
        problems: Collects columns that are not used.

    Raises:
        DataError: One is not there, is there twice, or has another name.
    """
    columns = tuple(map(column_name, cells))

    def column(name: str, *, need: str = "") -> int:
        wanted = column_name(name)
        if columns.count(wanted) > 1:
            raise DataError(f"'{file.shown}' has the column '{name}' twice", "take one of them out, or rename it")
        if wanted in columns:
            return columns.index(wanted)
        if not need:
            return -1
        have = printable(", ".join(name or "''" for name in columns))
        needed = [name for name in _NEEDED if name not in columns] if wanted in _NEEDED else [wanted]
        meant = meant_columns(columns, [*needed, *_OPTIONAL])
        hint = f"{renaming_hint(meant)}; its columns are {have}" if meant else f"its columns are {have}"
        raise DataError(f"'{file.shown}' has no column '{name}'{need}", hint)

    path = next((name for name in COLUMNS if name in columns), None)
    is_kinetics = path is None and _KINETICS[0] in columns
    names = _KINETICS if is_kinetics else (path or COLUMNS[0], "start_seconds", "end_seconds")
    need_times = ", as tables of Kinetics have" if is_kinetics else ""
    conditions = settings.conditions.items()
    heading = Heading(
        columns=columns,
        is_kinetics=is_kinetics,
        path=column(names[0], need=" of videos"),
        label=column("label", need=" of classes"),
        split=column("split"),
        start=column(names[1], need=need_times),
        end=column(names[2], need=need_times),
        group=-1 if settings.split_by is None else column(settings.split_by, need=" to split by"),
        conditions=tuple((column(name, need=" to choose validation by"), values) for name, values in conditions),
    )
    _check_unused(heading, file, problems)
    return heading


def _check_unused(heading: Heading, file: ListFile, problems: Problems) -> None:
    """Name the columns that are not used, and refuse those that seem to be meant.

    Raises:
        DataError: A column looks like a known one that is not there: it would be left out in silence.
    """
    unused = [name for index, name in enumerate(heading.columns) if index not in heading.used and name]
    absent = [name for name in _OPTIONAL if name not in heading.columns]
    if _KINETICS[0] in heading.columns:  # files that are cut already: their times are those of the film they are from
        absent = [name for name in absent if name == "split"]
    meant = meant_columns(unused, absent)
    if meant:
        shown = " and ".join(f"'{printable(name)}'" for name in meant)
        what = "a column" if len(meant) == 1 else "columns"
        raise DataError(
            f"'{file.shown}' has {what} {shown}, which would not be used",
            f"{renaming_hint(meant)}; or give {'it' if len(meant) == 1 else 'them'} a name that means something else",
        )
    if unused:
        problems.note(f"columns of '{file.shown}' that are not used: {printable(', '.join(dict.fromkeys(unused)))}")


def table_rows(
    heading: Heading, cells: Iterable[tuple[str, Sequence[Any]]], file: ListFile, problems: Problems
) -> Iterator[Row]:
    """Make rows of the cells of a table.

    Args:
        heading: Its columns.
        cells: Where each row is in the file, and its cells; those that are missing at its end are empty.
        file: The file that they are from.
        problems: Collects what is wrong with a row in itself.
    """
    for position, values in cells:
        place = f"{file.prefix}{position}"
        if len(values) > len(heading.columns):
            if any(map(_text, values[len(heading.columns) :])):
                problems.add(EXTRA_CELLS, place)
        elif len(values) < len(heading.columns):
            values = [*values, *[None] * (len(heading.columns) - len(values))]
        path = _text(values[heading.path])
        if not path:
            problems.add(NO_PATH, place)
            continue
        start: float | None = None
        end: float | None = None
        if heading.is_kinetics:
            name = _kinetics_name(path, values[heading.start], values[heading.end])
            if name is None:
                problems.add(BAD_TIME, f"{place}: {path}")
                continue
            path = name
        else:
            start, end = _interval(heading, values, f"{place}: {path}", problems)
        label = values[heading.label]
        labels = label if isinstance(label, list) else _text(label).split("|")
        group = None if heading.group < 0 else utf8_name(_text(values[heading.group]))
        if group == "":
            problems.add(NO_GROUP, f"{place}: {path}")
        yield Row(
            place=place,
            path=path,
            labels=tuple(dict.fromkeys(utf8_name(text) for text in map(_text, labels) if text)),
            is_stem=heading.is_kinetics,
            is_multi_label=isinstance(label, list) or len(labels) > 1,
            split=_split(heading, values, file, f"{place}: {path}", problems),
            start_seconds=start,
            end_seconds=end,
            group=group,
        )


def _split(heading: Heading, values: Sequence[Any], file: ListFile, where: str, problems: Problems) -> Split | None:
    written = "" if heading.split < 0 else _text(values[heading.split])
    split = split_named(written) or file.split
    if written and split_named(written) is None:
        problems.add(UNKNOWN_SPLIT, f"{where} ({written})")
        split = file.split or "train"
    elif file.split not in (None, split):
        problems.add(OTHER_SPLIT, f"{where} ({written})")
    if split == "test" or not heading.conditions:
        return split
    return "val" if all(_text(values[column]) in admitted for column, admitted in heading.conditions) else "train"


def _interval(
    heading: Heading, values: Sequence[Any], where: str, problems: Problems
) -> tuple[float | None, float | None]:
    texts = ["" if column < 0 else _text(values[column]) for column in (heading.start, heading.end)]
    if not any(texts):
        return None, None
    try:
        start, end = (float(text) if text else None for text in texts)
    except ValueError:
        start = end = math.nan
    if 0 <= (start or 0) < (math.inf if end is None else end) and math.inf not in (start, end):
        return start, end
    problems.add(BAD_INTERVAL, f"{where} [{texts[0] or '...'}, {texts[1] or '...'})")
    return 0, 0


def _kinetics_name(identifier: str, start: Any, end: Any) -> str | None:
    try:
        seconds = [float(_text(time)) for time in (start, end)]
        return f"{identifier}_{int(seconds[0]):06d}_{int(seconds[1]):06d}"
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """Return a cell as text: whole numbers without a point, since a column with gaps is of floats in many tables."""
    if isinstance(value, str):
        return value.strip(BLANKS)
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
