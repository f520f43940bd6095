"""Options whose values may be left out, which Typer does not know: their values are put into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vidcnn.errors import ALL_KINDS, ERROR_KINDS

_VALUES: dict[str, tuple[str, ...]] = {"--redo-errors": (ALL_KINDS, *ERROR_KINDS)}


def complete(arguments: Sequence[str]) -> list[str]:
    """Join the values that follow such an option with commas; where there are none, put ``all``.

    ``--redo-errors timeout changed DIR`` becomes ``--redo-errors timeout,changed DIR``.
    """
    return list(_complete(list(arguments)))


def _complete(left: list[str]) -> Iterator[str]:
    while left:
        argument = left.pop(0)
        yield argument
        if argument == "--":
            yield from left
            return
        if argument in _VALUES:
            given = []
            while left and all(value in _VALUES[argument] for value in left[0].split(",")):
                given.append(left.pop(0))
            yield ",".join(given) or ALL_KINDS
