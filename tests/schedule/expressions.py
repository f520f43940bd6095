"""Cron expressions for tests: made at random, and known to fire within a few years."""

from __future__ import annotations

from hypothesis import strategies as st

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@st.composite
def terms(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = (), *, stars: bool = True) -> str:
    """A term of a field: ``*``, a number or name, a range, or one of them with a step."""

    def written(value: int) -> str:
        name = names[value - low] if value - low < len(names) else ""
        return draw(st.sampled_from([name, name.upper(), name.title()])) if name and draw(st.booleans()) else str(value)

    kind = draw(st.sampled_from((["*", "*/n"] if stars else []) + ["a", "a-b", "a-b/n"]))
    # The reference of these tests takes 4-4 for all months, so a range has at least two numbers.
    first = draw(st.integers(low, high if kind == "a" else high - 1))
    last = draw(st.integers(min(first + 1, high), high))
    step = draw(st.integers(1, max(1, min(high - low, 7))))
    return {
        "*": "*",
        "*/n": f"*/{step}",
        "a": written(first),
        "a-b": f"{written(first)}-{written(last)}",
        "a-b/n": f"{written(first)}-{written(last)}/{step}",
    }[kind]


def fields(low: int, high: int, names: tuple[str, ...] = (), *, stars: bool = True) -> st.SearchStrategy[str]:
    return st.lists(terms(low, high, names, stars=stars), min_size=1, max_size=3).map(",".join)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """An expression that every cron reads alike."""
    restrict_days, restrict_weekdays = draw(st.booleans()), draw(st.booleans())
    both = restrict_days and restrict_weekdays
    every_month = draw(st.booleans())  # otherwise, a day that is not in every month may never be
    months = "*" if every_month else draw(fields(1, 12, MONTHS))
    days = draw(fields(1, 31 if every_month else 28, stars=not both)) if restrict_days else "*"
    weekdays = draw(fields(0, 7, WEEKDAYS, stars=not both)) if restrict_weekdays else "*"
    return " ".join([draw(fields(0, 59)), draw(fields(0, 23)), days, months, weekdays])
