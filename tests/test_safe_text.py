"""Texts that others wrote, as they are shown."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.safe_text import (
    cell_text,
    cell_value,
    is_one_line,
    json_text,
    log_text,
    message_text,
    one_line,
    screen_text,
)

ANY = st.text(st.characters() | st.sampled_from("\x1b\x9b\x07\r\n\t\x7f\u202e\u2066\u200b\udc9b\\[]"))
OBEYED = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of Unicode: controls, halves of pairs, ends of lines and of paragraphs."""
TURNING = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def is_harmless(text: str, *, apart_from: str = "") -> bool:
    return all(
        letter in apart_from or (unicodedata.category(letter) not in OBEYED and letter not in TURNING)
        for letter in text
    )


@given(ANY)
def test_one_line_is_one_line_that_no_terminal_obeys(text: str) -> None:
    shown = one_line(text)
    assert is_harmless(shown)
    assert len(shown.splitlines()) <= 1
    assert one_line(shown) == shown
    shown.encode()


@given(ANY)
def test_a_text_for_a_screen_has_only_its_own_lines(text: str) -> None:
    shown = screen_text(text)
    assert is_harmless(shown, apart_from="\n")
    assert shown.count("\n") == text.count("\n")


@given(ANY)
def test_a_message_has_no_line_that_could_be_taken_for_another_message(text: str) -> None:
    lines = message_text(text).split("\n")
    assert all(line.startswith("  ") for line in lines[1:])
    assert is_harmless("".join(lines))


@given(st.recursive(ANY, lambda values: st.lists(values) | st.dictionaries(ANY, values), max_leaves=5))
def test_json_means_the_same_and_does_nothing(value: object) -> None:
    assert json.loads(json_text(value)) == value
    assert is_harmless(json_text(value, indent=2), apart_from="\n")
    assert json.loads(screen_text(json.dumps(value))) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]8;;http://x\x1b\\a\x1b[31m", r"\x1b]8;;http://x\x1b\a\x1b[31m"),
        ("\x9b31m\x07", r"\x9b31m\x07"),
        ("a\nb\r\tc\x7f", r"a\x0ab\x0d\x09c\u007f"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud83d", r"\ud83d"),
        ("a\U000e0041", r"a\U000e0041"),
        ("[red]x[/] %s ${HOME} `id` *?[a]", "[red]x[/] %s ${HOME} `id` *?[a]"),
        ("👩‍👩‍👧 ❤️ é العربية हिन्दी می‌خواهم", "👩‍👩‍👧 ❤️ é العربية हिन्दी می‌خواهم"),
        ("a" + "\u0301" * 100, "a" + "\u0301" * 8),
    ],
)
def test_what_is_seen_of_a_text(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert is_one_line(text) == (text == shown)


def test_lines_that_a_message_means_stay() -> None:
    assert message_text("2 problems\n  a\n    b") == "2 problems\n  a\n    b"
    assert message_text("'a\nvidcnn: done' is no video") == r"'a\nvidcnn: done' is no video"


def test_colours_of_a_log_are_left_out() -> None:
    assert log_text("\x1b[36m(pid=1)\x1b[0m a\x1b]0;title\x07") == r"(pid=1) a\x1b]0;title\x07"


@given(st.text(st.characters(exclude_categories=["C", "Z", "M"])))
def test_letters_stay_letters(text: str) -> None:
    assert re.sub(r"[\u115f\u1160\u3164\uffa0]", "", text) != text or one_line(text) == text


@given(st.text(st.characters() | st.sampled_from("=+-@\t\r'")))
def test_a_cell_is_no_formula_and_means_the_same(text: str) -> None:
    cell = cell_text(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell_value(cell) == text
