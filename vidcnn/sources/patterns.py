"""Matching paths against a glob, one folder at a time, so that no folder is entered in vain.

A pattern such as ``2024-*/**/cam?.mp4`` is a list of parts. While going down a tree, a walk keeps the set of
positions in that list at which the next name may match; it changes with every folder that is entered::

    parts       0: 2024-*    1: **    2: cam?.mp4    3: the end
    start       {0}
    2024-11     {1, 2}       ** also means no folder
    2024-11/x   {1, 2}       ** stays
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

States = frozenset[int]

_MAGIC = re.compile(r"[*?[]")


def has_magic(path: str) -> bool:
    """Return whether a path contains characters that mean something in a glob."""
    return bool(_MAGIC.search(path))


def split_glob(glob: str) -> tuple[str, list[str]]:
    """Split a glob into the folder that it starts from and the parts to match below that.

    A slash at the end asks for folders, as ``**`` does there.
    """
    parts = glob.split("/")
    first = next(index for index, part in enumerate(parts) if has_magic(part))
    base = "/".join(parts[:first]) or ("/" if first else ".")
    below = [part for part in parts[first:] if part]
    return base, [*below, "**"] if glob.endswith("/") else below


class Pattern:
    """A glob below some folder.

    ``*``, ``?`` and ``[...]`` stay within one name, and match a leading dot only where the part has one.
    ``**`` means any number of folders, without hidden folders and symbolic links; at the end of a
    pattern it matches folders only.

    Args:
        parts: The glob, cut at its slashes.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = list(parts)
        self._regexes = [re.compile(translate(part)) for part in parts]
        self._num_parts = len(self._parts)

    def start(self) -> States:
        """Return the positions at the folder that the pattern is relative to."""
        return self._past_stars({0})

    def enter(self, states: States, name: str, *, is_link: bool = False) -> States:
        """Return the positions inside a sub-folder; without any there is nothing to find in it."""
        inside: set[int] = set()
        for index in states - {self._num_parts}:
            if self._parts[index] != "**":
                if self._matches(index, name):
                    inside.add(index + 1)
            elif not name.startswith(".") and not is_link:
                inside.add(index)
        return self._past_stars(inside)

    def matches_folder(self, states: States) -> bool:
        """Return whether the pattern matches a folder that is reached with these positions."""
        return self._num_parts in states

    def matches_file(self, states: States, name: str) -> bool:
        """Return whether the pattern matches a file in a folder that is reached with these positions."""
        last = self._num_parts - 1
        return last in states and self._parts[last] != "**" and self._matches(last, name)

    def _matches(self, index: int, name: str) -> bool:
        if name.startswith(".") and not self._parts[index].startswith("."):
            return False
        return bool(self._regexes[index].match(name))

    def _past_stars(self, states: set[int]) -> States:
        reached = set(states)
        for index in range(self._num_parts):
            if index in reached and self._parts[index] == "**":
                reached.add(index + 1)
        return frozenset(reached)
