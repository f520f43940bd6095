"""From labels as they are written to indexes of classes.

From rows to the names of the classes and, for each row, the indexes of its classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from vidcnn.annotations.problems import INDEX_BEYOND, NO_LABEL, NO_TEXT, UNKNOWN_LABEL, Problems
from vidcnn.annotations.rows import Row
from vidcnn.errors import DataError
from vidcnn.safe_text import is_utf8


def read_class_names(path: str) -> tuple[str, ...]:
    """Read a labels file, which gives the classes and their order (see `vidcnn.models.checkpoints.read_labels`).

    Raises:
        ModelError: It cannot be read or understood.
        DataError: It names a class twice.
    """
    from vidcnn.models.checkpoints import read_labels

    names = read_labels(path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the labels '{path}' have '{twice}' twice", "give each class one name of its own")
    return names


def assign_classes(
    rows: Sequence[Row], names: tuple[str, ...] | None, problems: Problems
) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """Number the classes, and each row's labels.

    Without given names they are those that occur, sorted: as numbers if all are, else as text. With names a label
    is one of them; where none of them is a number, it may also be an index into them, which the labels of index
    lists always are.

    Args:
        rows: All rows of the data, whose `labels` are still text.
        names: Names of the labels file, or None.
        problems: Collects rows without a label, and of labels that the labels file has not.

    Returns:
        The names of the K classes; and of each row its indexes, increasing, none where there is a problem.
    """
    is_given = names is not None
    if names is None:
        names = _sorted(frozenset(label for row in rows for label in row.labels))
    may_be_index = is_given and not any(map(_is_index, names))
    index_of = {name: index for index, name in enumerate(names)}
    known: dict[tuple[bool, tuple[str, ...]], tuple[int, ...]] = {}  # rows share what is equal
    indexes: list[tuple[int, ...]] = []
    for row in rows:
        by_name = not (row.is_indexed and is_given)
        by_index = may_be_index or not by_name
        key = by_name, row.labels
        if key not in known:
            found = [_index_of(label, index_of, by_name=by_name, by_index=by_index) for label in row.labels]
            known[key] = () if None in found else tuple(sorted({index for index in found if index is not None}))
        if not all(map(is_utf8, row.labels)):
            problems.add(NO_TEXT, f"{row.where} ({'|'.join(row.labels)})")
        elif not row.labels:
            problems.add(NO_LABEL, row.where)
        elif not known[key]:
            is_beyond = by_index and all(map(_is_index, row.labels))
            problems.add(INDEX_BEYOND if is_beyond else UNKNOWN_LABEL, f"{row.where} ({'|'.join(row.labels)})")
        indexes.append(known[key])
    return names, indexes


def _index_of(label: str, index_of: dict[str, int], *, by_name: bool, by_index: bool) -> int | None:
    if by_name and label in index_of:
        return index_of[label]
    return int(label) if by_index and _is_index(label) and int(label) < len(index_of) else None


def _is_index(label: str) -> bool:
    return label.isascii() and label.isdecimal() and len(label) < 10


def _sorted(labels: frozenset[str]) -> tuple[str, ...]:
    if all(map(_is_index, labels)):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))
