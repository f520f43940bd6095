"""Cron expressions: from what a person writes to the minutes at which it fires.

The language is what all implementations agree on: five fields of ``*``, numbers, ranges ``a-b``, steps ``*/n`` and
``a-b/n``, lists of these, names of months and weekdays, 0 and 7 for Sunday, and ``@daily`` and the like. What some read
differently from others is refused, with a plain way to write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from vidcnn.errors import UsageError

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_MAX_DAYS = 366 * 9
"""A day of every month and weekday that there is comes within this; 29 February may be eight years away."""


class _Field(NamedTuple):
    """A field of an expression: its name, its lowest and highest number, and names for its numbers from the lowest."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)
_TERM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>[0-9]{1,4}))?")


@dataclass(frozen=True)
class Cron:
    """A cron expression.

    Attributes:
        text: The expression in numbers, as every cron and Kubernetes read it: weekdays are 0 to 6.
        minutes, hours: From 0, ascending, as in all fields.
        days, months: From 1.
        weekdays: From 0 for Sunday to 6.
        either_day: Whether days of the month and weekdays are both restricted: then a day of either fires. Otherwise a
            day must be in both, one of which has all.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after another, both by the clock on the wall; None if there is none."""
        start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for num_days in range(_MAX_DAYS):
            day = (start + timedelta(days=num_days)).replace(hour=0, minute=0)
            if not self._on(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    time = day.replace(hour=hour, minute=minute)
                    if time >= start:
                        return time
        return None

    def _on(self, day: datetime) -> bool:
        in_days, in_weekdays = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fires = in_days or in_weekdays if self.either_day else in_days and in_weekdays
        return fires and day.month in self.months


def parse_cron(text: str) -> Cron:
    """Read a cron expression.

    Args:
        text: Five fields, or a nickname such as ``@daily``.

    Raises:
        UsageError: It is none, some implementations read it differently from others, or it never fires.
    """
    fields = NICKNAMES.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise _refuse(
            text,
            "must be five fields or one of " + ", ".join(NICKNAMES),
            'minute, hour, day of the month, month and weekday: "0 2 * * *" is every night at two',
        )
    parsed = [_parse_field(text, field, written.lower()) for field, written in zip(_FIELDS, fields, strict=True)]
    (minutes, _), (hours, _), (days, day_text), (months, _), (weekdays, weekday_text) = parsed
    either_day = day_text != "*" and weekday_text != "*"
    if either_day and "*" in day_text + weekday_text:
        raise _refuse(
            text,
            "has a * in a day that it restricts too, which every cron reads in its own way",
            'write the days as a range: "1-31/2" or "1,3,5" for the days of the month, "0-6/2" for weekdays',
        )
    numbers = " ".join(numbers for _, numbers in parsed)
    cron = Cron(numbers, minutes, hours, days, months, weekdays, either_day)
    if cron.next_after(datetime(2001, 1, 1)) is None:
        raise _refuse(text, "never fires", "no such day is in any year")
    return cron


def _parse_field(text: str, field: _Field, written: str) -> tuple[tuple[int, ...], str]:
    """Return the numbers of a field, and the field in numbers."""
    values: set[int] = set()
    terms = []
    for term in written.split(","):
        found, numbers = _parse_term(text, field, term)
        values |= found
        terms.append(numbers)
    return tuple(sorted(values)), ",".join(terms)


def _parse_term(text: str, field: _Field, term: str) -> tuple[set[int], str]:
    match = _TERM.fullmatch(term)
    if match is None:
        what = f"it may be *, a number, a-b, */n, a-b/n{', a name' if field.names else ''}, or a list of these"
        raise _refuse(text, f"has '{term}' for the {field.name}", what)
    first, last, step = match["first"], match["last"], match["step"]
    highest = 6 if field.name == "weekday" else field.high
    if first == "*" and last is None:
        low, high = field.low, highest
    elif first == "*":
        raise _refuse(text, f"has '{term}' for the {field.name}", "* means all, and begins no range")
    else:
        low = _number(text, field, first)
        high = low if last is None else _number(text, field, last)
        if last == "sun" and low > high:
            high = 7  # a week ends with Sunday too: fri-sun
    if step is not None and first != "*" and last is None:
        hint = f"write {first}-{highest}/{step} for every {step} from {first}"
        raise _refuse(text, f"has '{term}' for the {field.name}, a step without a range", hint)
    if low > high:
        hint = f"write {low}-{field.high},{field.low}-{high}" if step is None else "write the numbers out"
        raise _refuse(text, f"has '{term}' for the {field.name}, which ends before it begins", hint)
    stride = int(step or 1)
    if not 1 <= stride <= highest - field.low + 1:
        raise _refuse(
            text,
            f"has a step of {stride} for the {field.name}, which must be in [1, {highest - field.low + 1}]",
            "a step counts within its field, and starts again in the next hour, day, month or year",
        )
    values = list(range(low, high + 1, stride))
    if field.name == "weekday":
        values = list(dict.fromkeys(value % 7 for value in values))
    return set(values), _numbers(term, values, stride, high if field.name == "weekday" else 0)


def _numbers(term: str, values: list[int], stride: int, last_weekday: int) -> str:
    """Return a term in numbers."""
    if term.startswith("*"):
        return f"*/{stride}" if stride > 1 else "*"
    if last_weekday == 7:  # not every implementation has a seventh day
        return ",".join(map(str, values))
    if len(values) < 3:
        return ",".join(map(str, values))
    return f"{values[0]}-{values[-1]}" + (f"/{stride}" if stride > 1 else "")


def _number(text: str, field: _Field, written: str) -> int:
    if written in field.names:
        return field.names.index(written) + field.low
    value = int(written) if re.fullmatch("[0-9]{1,4}", written) else None
    if value is None or not field.low <= value <= field.high:
        names = f" or one of {', '.join(field.names)}" if field.names else ""
        raise _refuse(text, f"has '{written}' for the {field.name}", f"it must be {field.low} to {field.high}{names}")
    return value


def _refuse(text: str, problem: str, hint: str) -> UsageError:
    return UsageError(f"--cron '{text}' {problem}", hint)
