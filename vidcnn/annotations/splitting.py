"""Choosing validation samples: pure arithmetic on groups and classes.

For each sample there is one decision, from its group and its classes. It depends on what there is and on the
seed, not on the order; a sample that is added later moves hardly any other, because groups are chosen in the
order of a hash of their names.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b


def choose_validation(
    groups: Sequence[str], labels: Sequence[tuple[int, ...]], *, fraction: float, seed: int
) -> list[bool]:
    """Choose whole groups for validation so that each class has its share there.

    Every class with a sample keeps one for training. Every class with two gets one for validation where the groups
    allow; classes that are in the fewest groups choose first.

    Args:
        groups: The group of each sample.
        labels: The classes of each sample.
        fraction: Share of each class to choose, in [0, 1); 0 chooses nothing.
        seed: Which of the possible choices.

    Returns:
        Whether each sample is for validation.
    """
    if fraction == 0:
        return [False] * len(groups)
    choice = _Choice(groups, labels, fraction)
    groups_of: dict[int, list[str]] = defaultdict(list)
    for group in sorted(choice.sizes, key=lambda group: (_hash(seed, group), group)):
        for label in choice.sizes[group]:
            groups_of[label].append(group)
    for label in sorted(groups_of, key=lambda label: (len(groups_of[label]), label)):
        for group in groups_of[label]:
            if choice.missing[label] <= 0:
                break
            if choice.may_take(group) and choice.gain(group) > 0:
                choice.take(group)
        if label not in choice.validated:
            allowed = [group for group in groups_of[label] if choice.may_take(group)]
            if allowed:
                choice.take(max(allowed, key=choice.gain))  # the first of equals
    return [group in choice.taken for group in groups]


class _Choice:
    """The groups taken so far.

    Attributes:
        sizes: Samples of each class in each group.
        left: Samples of each class that are left for training.
        missing: Samples of each class that are still to be chosen; negative where there are too many.
    """

    def __init__(self, groups: Sequence[str], labels: Sequence[tuple[int, ...]], fraction: float) -> None:
        self.sizes: dict[str, dict[int, int]] = {}
        self.left: dict[int, int] = defaultdict(int)
        for group, classes in zip(groups, labels, strict=True):
            sizes = self.sizes.setdefault(group, {})
            for label in classes:
                sizes[label] = sizes.get(label, 0) + 1
                self.left[label] += 1
        self.missing = {
            label: min(max(math.floor(fraction * count + 0.5), 1), count - 1) for label, count in self.left.items()
        }
        self.taken: set[str] = set()
        self.validated: set[int] = set()

    def may_take(self, group: str) -> bool:
        """Return whether a group is not taken yet and leaves each of its classes a training sample."""
        return group not in self.taken and all(self.left[label] > size for label, size in self.sizes[group].items())

    def gain(self, group: str) -> int:
        """Return by how many samples a group would bring its classes nearer to their shares."""
        return sum(
            abs(self.missing[label]) - abs(self.missing[label] - size) for label, size in self.sizes[group].items()
        )

    def take(self, group: str) -> None:
        self.taken.add(group)
        self.validated.update(self.sizes[group])
        for label, size in self.sizes[group].items():
            self.left[label] -= size
            self.missing[label] -= size


def _hash(seed: int, group: str) -> bytes:
    return blake2b(f"{seed}\0{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
