"""Lists of PySlowFast and MMAction2: lines that end in the indexes of classes.

The fields of a line are separated by blanks, tabs or commas; a path may contain blanks::

    clips/a b.mp4 3          a video and its class
    clips/a b.mp4 1 4 7      a video and its classes (multi-label)
    frames/a 163 3           a folder of images, the number of them, and the class
    frames/a 3               a folder of images and its class

Which of the last three a line is shows only at the location: the first of several numbers after a folder is
the number of its images, whereas all numbers after a file are classes. `class_fields` distinguishes them. A path
that ends in a blank and a number needs a tab or a comma after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from vidcnn.annotations.problems import NO_INDEX, Problems
from vidcnn.annotations.rows import ListFile, Row
from vidcnn.safe_text import BLANKS


def is_index_line(line: str) -> bool:
    """Return whether a line can be one of an index list."""
    return _split(line) is not None


def index_rows(lines: Iterable[tuple[int, str]], file: ListFile, problems: Problems) -> Iterator[Row]:
    """Read the lines of an index list.

    Args:
        lines: Their numbers in the file, from 1, and their text; blank ones are skipped.
        file: The file that they are from.
        problems: Collects lines without an index.
    """
    for number, line in lines:
        if not line.strip(BLANKS):
            continue
        place = f"{file.prefix}line {number}"
        fields = _split(line)
        if fields is None:
            problems.add(NO_INDEX, f"{place}: {line.strip(BLANKS)}")
            continue
        path, labels = fields
        yield Row(place, path, labels, is_indexed=True, split=file.split)


def class_fields(row: Row, *, is_folder: bool) -> tuple[str, ...]:
    """Return the numbers of a line that are classes, now that it is known what its path leads to."""
    return row.labels[1:] if is_folder and len(row.labels) > 1 else row.labels


def _split(line: str) -> tuple[str, tuple[str, ...]] | None:
    line = line.strip(BLANKS)
    for separator in "\t" if "\t" in line else ", ":
        end, numbers = _numbers_at_end(line, separator)
        if numbers:
            path = line[:end]
            if len(path) > 1 and path[0] == path[-1] == '"':
                path = path[1:-1].replace('""', '"')
            return path, tuple(numbers)
    return None


def _numbers_at_end(line: str, separator: str) -> tuple[int, list[str]]:
    """Return the numbers that a line ends in, each behind a separator, and where the text before them ends.

    It goes from the end to the beginning, once: a line may have a million blanks, or of numbers.
    """
    numbers: list[str] = []
    end = len(line)
    while True:
        start = _skip_back(line, end, str.isdecimal)
        before = _skip_back(line, start, " ".__eq__ if separator == " " else BLANKS.__contains__)
        if separator == ",":
            found = line[before - 1 : before] == ","
            before = _skip_back(line, before - 1, BLANKS.__contains__) if found else before
        else:
            found = separator in line[before:start]
        if start == end or not found or before <= 0:
            return end, numbers[::-1]
        numbers.append(line[start:end])
        end = before


def _skip_back(line: str, end: int, belongs: Callable[[str], bool]) -> int:
    while end > 0 and belongs(line[end - 1]):
        end -= 1
    return end
