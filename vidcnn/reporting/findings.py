"""What `vidcnn doctor` found on a machine, and how it is printed: one screen, in words alone.

No colour carries a meaning, and nothing is wider than the terminal, so a pipe and a log show the same as a terminal.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from vidcnn.logins import hide_logins
from vidcnn.reporting.summaries import count
from vidcnn.safe_text import one_line

Level = Literal["good", "note", "warning", "failure"]
"""``note``: a thing that is not there, and need not be. ``warning``: runs work, but are slower, or may fail at times.
``failure``: something will fail."""

MARKS: Mapping[Level, str] = {"good": "ok", "note": "-", "warning": "WARN", "failure": "FAIL"}

_LISTS = ("software", "codecs")
"""Topics of many short things, which are printed side by side."""
_TOPIC_WIDTH, _MARK_WIDTH = 9, 4
_USUAL_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 80, 40, 100
_FACTS = ("processors", "memory", "GPUs", "cuda:0", "int8", "speed")
"""Names of the findings that the line of a node of a cluster shows."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it belongs to, in a word; findings of a topic are printed together.
        name: What was looked at.
        value: What it is, in a few words.
        level: Whether that is good.
        problem: What is wrong, in one line, where it is a warning or a failure.
        remedy: How to mend that, in one line.
        facts: The same as JSON values, for programs.
        short: The value for the line of a node; empty to take `value`.
    """

    topic: str
    name: str
    value: str
    level: Level = "good"
    problem: str = ""
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    short: str = ""


@dataclass(frozen=True)
class Examination:
    """A machine that was looked at.

    Attributes:
        machine: Its name.
        system: Its system and the version of vidcnn, in one line.
        findings: What was found, in the order of printing.
    """

    machine: str
    system: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[Finding]:
        """What is wrong, the worst first."""
        return [one for level in ("failure", "warning") for one in self.findings if one.level == level]

    @property
    def num_failures(self) -> int:
        """How many things will fail."""
        return sum(one.level == "failure" for one in self.findings)

    @property
    def level(self) -> Level:
        """The worst of its findings; a note is good."""
        return next((one.level for one in self.problems), "good")

    def find(self, name: str) -> Finding | None:
        """Return the finding of a name, if there is one."""
        return next((one for one in self.findings if one.name == name), None)


def screen_width() -> int:
    """Return how many columns a screen has; in a pipe, where nobody knows, 80."""
    return min(max(shutil.get_terminal_size((_USUAL_WIDTH, 24)).columns, _LEAST_WIDTH), _MOST_WIDTH)


def examination_text(examination: Examination, width: int = _USUAL_WIDTH) -> str:
    """Return what was found on a machine as one screen.

    Args:
        examination: What was found.
        width: Columns of the screen.
    """
    lines = textwrap.wrap(f"{examination.machine}: {examination.system}", width, subsequent_indent="  ")
    shown = ""
    for topic, mark, text in _rows(examination.findings):
        first = f"{topic if topic != shown else '':<{_TOPIC_WIDTH}}  {mark:<{_MARK_WIDTH}}  "
        lines += _wrapped(text, width, first)
        shown = topic
    return "\n".join([*lines, "", *_verdict(examination, width)])


def nodes_text(examinations: Mapping[str, Examination], lost: Mapping[str, str], width: int = _USUAL_WIDTH) -> str:
    """Return what was found on the nodes of a cluster: a line for each, and its problems.

    Args:
        examinations: By the addresses of nodes.
        lost: Nodes that could not be looked at, and why.
        width: Columns of the screen.
    """
    lines: list[str] = []
    for address, one in examinations.items():
        facts = [found.short or found.value for name in _FACTS if (found := one.find(name)) is not None]
        lines += _wrapped(", ".join(facts), width, f"{address:<15}  {MARKS[one.level]:<{_MARK_WIDTH}}  ")
        for problem in one.problems:
            lines += _problem_lines(problem, width, indent=2)
    for address, reason in lost.items():
        lines += _wrapped(reason, width, f"{address:<15}  {MARKS['failure']:<{_MARK_WIDTH}}  ")
    num_bad = num_unfit(examinations, lost)
    num_nodes = len(examinations) + len(lost)
    fit = f"{num_bad:,} of {count(num_nodes, 'node')} will fail" if num_bad else f"{count(num_nodes, 'node')}, all fit"
    return "\n".join([*lines, "", fit])


def examination_json(examination: Examination) -> dict[str, Any]:
    """Return what was found on a machine as JSON values."""
    return {
        "machine": examination.machine,
        "system": examination.system,
        "fit": not examination.num_failures,
        "findings": [
            {
                "topic": one.topic,
                "name": one.name,
                "value": one.value,
                "level": one.level,
                "problem": one.problem or None,
                "remedy": one.remedy or None,
                "facts": dict(one.facts),
            }
            for one in examination.findings
        ],
    }


def num_unfit(examinations: Mapping[str, Examination], lost: Mapping[str, str]) -> int:
    """Return how many nodes are not fit, or could not be looked at."""
    return sum(one.num_failures > 0 for one in examinations.values()) + len(lost)


def nodes_json(examinations: Mapping[str, Examination], lost: Mapping[str, str]) -> dict[str, Any]:
    """Return what was found on the nodes of a cluster as JSON values."""
    return {
        "fit": not num_unfit(examinations, lost),
        "nodes": [{"address": address, **examination_json(one)} for address, one in examinations.items()],
        "lost": dict(lost),
    }


def plain(text: str) -> str:
    """Return a text of another program on one line, without logins and without what a terminal would obey."""
    return one_line(" ".join(hide_logins(text).split()))


def _rows(findings: Sequence[Finding]) -> Iterable[tuple[str, str, str]]:
    """Yield the topic, the mark and the text of each row."""
    for (topic, level), group in groupby(findings, key=lambda one: (one.topic, one.level)):
        members = list(group)
        if topic in _LISTS:
            yield topic, MARKS[level], ", ".join(f"{one.name} {one.value}".rstrip() for one in members)
            continue
        for value, same in groupby(members, key=lambda one: one.value):
            names = list(dict.fromkeys(one.name for one in same))
            name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
            yield topic, MARKS[level], f"{name}: {value}"


def _verdict(examination: Examination, width: int) -> list[str]:
    problems = examination.problems
    if not problems:
        return ["all is well"]
    num_warnings = len(problems) - examination.num_failures
    failures = [f"{count(examination.num_failures, 'thing')} will fail"] if examination.num_failures else []
    warnings = [count(num_warnings, "warning")] if num_warnings else []
    lines = [f"{', '.join([*failures, *warnings])}:"]
    for problem in problems:
        lines += _problem_lines(problem, width)
    return lines


def _problem_lines(problem: Finding, width: int, indent: int = 0) -> list[str]:
    first = f"{' ' * indent}{MARKS[problem.level]}  "
    lines = _wrapped(problem.problem, width, first)
    return lines + (_wrapped(problem.remedy, width, " " * len(first) + "-> ") if problem.remedy else [])


def _wrapped(text: str, width: int, first: str) -> list[str]:
    """Return a text in lines of no more than `width` columns, the first of which begins with `first`."""
    return textwrap.wrap(
        text or "-", width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
