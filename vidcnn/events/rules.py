"""The file of rules: when each class counts as happening, as JSON that `vidcnn events tune` writes and people change.

    {"threshold": 0.5, "labels": {"fight": {"threshold": 0.35, "gap_seconds": 2.0}}}

What a class does not say, it takes from the rest of the file; what the file does not say, from the options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vidcnn.errors import DataError, describe_reason
from vidcnn.events.intervals import Rules
from vidcnn.safe_text import json_text, one_line

NAMES = ("threshold", "end_threshold", "smooth_seconds", "gap_seconds", "min_seconds")
END_SHARE = 0.6
"""The threshold down to which an event lasts, as a share of the one that it must reach, where nobody says another."""
_MAX_BYTES = 2**24


class RuleSet:
    """The rules of all classes.

    Args:
        common: Of classes that have none of their own.
        by_label: Of those that do.
    """

    def __init__(self, common: Rules, by_label: Mapping[str, Rules] | None = None) -> None:
        self.common = common
        self.by_label = dict(by_label or {})

    def of(self, label: str) -> Rules:
        """Return the rules of a class."""
        return self.by_label.get(label, self.common)

    def text(self) -> str:
        """Return them as a file."""
        labels = {label: asdict(rules) for label, rules in sorted(self.by_label.items())}
        return json_text({**asdict(self.common), "labels": labels}, indent=2) + "\n"


def make_rules(values: Mapping[str, float], base: Rules | None = None) -> Rules:
    """Make rules of the numbers that are given.

    Args:
        values: By name; a threshold without an end has `END_SHARE` of it.
        base: Has all others; None for the usual ones.

    Raises:
        ValueError: A number cannot be.
    """
    given = dict(values)
    if "threshold" in given and "end_threshold" not in given:
        given["end_threshold"] = given["threshold"] * END_SHARE
    return replace(base or Rules(), **given)


def read_rules(path: Path, base: Rules) -> RuleSet:
    """Read a file of rules.

    Args:
        path: The file.
        base: Rules for what it does not say.

    Raises:
        DataError: It cannot be read, or says what cannot be.
    """
    shown = one_line(str(path))
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or not isinstance(content.get("labels", {}), dict):
            raise ValueError("it is no object of rules")
        labels = content.pop("labels", {})
        common = make_rules(_numbers(content, "the file"), base)
        return RuleSet(common, {label: make_rules(_numbers(own, label), common) for label, own in labels.items()})
    except OSError as error:
        raise DataError(f"'{shown}' cannot be read: {describe_reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"'{shown}' has no rules of events: {one_line(str(error))}",
            'it takes {"threshold": 0.5, "labels": {"NAME": {"threshold": 0.35}}}',
        ) from error


def _numbers(values: Any, of: str) -> dict[str, float]:
    if not isinstance(values, dict):
        raise ValueError(f"what it says of {of} is no object")
    unknown = [name for name in values if name not in NAMES]
    if unknown:
        raise ValueError(f"{of} has '{unknown[0]}', and what there may be is {', '.join(NAMES)}")
    wrong = [name for name, value in values.items() if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"{wrong[0]} of {of} is no number")
    return {name: float(value) for name, value in values.items()}
