from __future__ import annotations

import re
from datetime import datetime

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged_text, refusing
from tests.limits import within
from tests.schedule.expressions import expressions
from vidcnn.errors import UsageError
from vidcnn.schedule.cron import NICKNAMES, parse_cron

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1))


@given(expressions(), MOMENTS)
def test_an_expression_fires_when_another_implementation_says_so(text: str, moment: datetime) -> None:
    cron, reference = parse_cron(text), croniter(text, moment, ret_type=datetime)
    for _ in range(5):
        after = cron.next_after(moment)
        assert after == reference.get_next()
        assert after is not None
        moment = after


@given(expressions(), MOMENTS)
def test_its_text_in_numbers_means_the_same_and_has_no_seventh_weekday(text: str, moment: datetime) -> None:
    cron = parse_cron(text)
    again = parse_cron(cron.text)
    assert again == cron
    assert not set(cron.text) - set("0123456789*/,- ")
    assert not re.search(r"\b7\b", re.sub("/[0-9]+", "", cron.text.split()[4]))
    assert croniter(cron.text, moment).get_next() == croniter(text, moment).get_next()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0   2 * * mon-fri ", "0 2 * * 1-5"),
        ("0 2 * * 7", "0 2 * * 0"),
        ("0 2 * * 5-7", "0 2 * * 5,6,0"),
        ("0 2 * * FRI-SUN", "0 2 * * 5,6,0"),
        ("0 2 * * sun-tue", "0 2 * * 0-2"),
        ("0 2 * * 0-7", "0 2 * * 0,1,2,3,4,5,6"),
        ("*/15 0-6/2 1,15 Jan,JUL *", "*/15 0-6/2 1,15 1,7 *"),
        ("*/1 * * * *", "* * * * *"),
        ("0 2 * 4-4 *", "0 2 * 4 *"),
        ("@daily", "0 0 * * *"),
        ("@Weekly", "0 0 * * 0"),
    ],
)
def test_an_expression_is_written_in_numbers(text: str, numbers: str) -> None:
    assert parse_cron(text).text == numbers


@pytest.mark.parametrize("name", NICKNAMES)
def test_nicknames_are_those_of_cron(name: str) -> None:
    moment = datetime(2026, 11, 22, 13, 5)
    assert parse_cron(name).next_after(moment) == croniter(name, moment, ret_type=datetime).get_next()


def test_where_both_days_are_restricted_either_fires() -> None:
    cron = parse_cron("0 2 13 * 5")
    fired, moment = [], datetime(2026, 11, 1)
    for _ in range(5):
        moment = cron.next_after(moment) or moment
        fired.append((moment.day, moment.isoweekday()))
    assert fired == [(6, 5), (13, 5), (20, 5), (27, 5), (4, 5)]
    assert parse_cron("0 2 13 * 5").next_after(datetime(2026, 12, 12)) == datetime(2026, 12, 13, 2)


def test_a_leap_day_fires_after_a_century_without_one() -> None:
    assert parse_cron("0 0 29 2 *").next_after(datetime(2096, 3, 1)) == datetime(2104, 2, 29)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("0 2 * *", "must be five fields or one of @hourly", "is every night at two"),
        ("0 0 2 * * *", "must be five fields", ""),
        ("@reboot", "must be five fields", ""),
        ("60 2 * * *", "has '60' for the minute", "it must be 0 to 59"),
        ("0 24 * * *", "has '24' for the hour", "it must be 0 to 23"),
        ("0 2 0 * *", "has '0' for the day of the month", "it must be 1 to 31"),
        ("0 2 * 13 *", "has '13' for the month", "it must be 1 to 12 or one of jan, feb"),
        ("0 2 * * 8", "has '8' for the weekday", "it must be 0 to 7 or one of sun"),
        ("0 2 * * monday", "has 'monday' for the weekday", "one of sun, mon"),
        ("mon 2 * * *", "has 'mon' for the minute", ""),
        ("0 5-2 * * *", "which ends before it begins", "write 5-23,0-2"),
        ("0 2 * * sat-mon", "which ends before it begins", "write 6-7,0-1"),
        ("5/15 2 * * *", "a step without a range", "write 5-59/15"),
        ("0 2 * * 2/2", "a step without a range", "write 2-6/2"),
        ("*/0 2 * * *", "has a step of 0", ""),
        ("*/90 * * * *", "has a step of 90", "starts again in the next hour"),
        ("0 2 L * *", "has 'l' for the day", ""),
        ("0 2 ? * 1", "has '?' for the day", ""),
        ("0 2 * * 1#2", "has '1#2' for the weekday", ""),
        ("0 2 *-5 * *", "has '*-5' for the day", "begins no range"),
        ("0 2 1,, * *", "has '' for the day", ""),
        ("0 2 */2 * 1", "every cron reads in its own way", "1-31/2"),
        ("0 2 1 * */2", "every cron reads in its own way", "0-6/2"),
        ("0 2 30 2 *", "never fires", ""),
        ("0 2 31 4,6,9,11 *", "never fires", ""),
        ("0 2 ٣ * *", "has '٣' for the day", ""),
    ],
)
def test_what_is_no_expression_to_all_is_refused_with_another_way(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_cron(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_weekday_makes_a_day_that_never_is_harmless() -> None:
    assert parse_cron("0 2 30 2 1").next_after(datetime(2026, 1, 1)) == datetime(2026, 2, 2, 2)


def test_a_step_of_thousands_of_digits_is_refused_like_any_other() -> None:
    with pytest.raises(UsageError, match="for the minute"):
        parse_cron(f"*/{'9' * 5000} * * * *")


@pytest.mark.fuzz
@given(damaged_text("0 2 * * *", "*/5 1-3 1,15 jan-mar mon-fri", "@daily", "1-31/2 0 * * 7", "0 0 29 2 *"))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with within(20), refusing(UsageError):
        assert parse_cron(text).minutes
