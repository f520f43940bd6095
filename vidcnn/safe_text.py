r"""Texts that others wrote, so that whatever shows them does nothing but show them.

Names of files, labels, messages of libraries and values of job files may contain what a terminal obeys, what turns the
direction of writing round, or the end of a line. Each such character is replaced by an escape that can be seen, such as
``\x1b``. Nothing here is for a shell, a pattern or a format: no name is ever handed to one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_INVISIBLE = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: U+009B begins a command as ESC [ does
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # nothing is shown of these
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    r"\U000e0000-\U000e0fff"
    r"\ud800-\udfff"  # bytes of names that do not decode
)
# U+200C and U+200D join letters of some scripts and parts of emoji, and U+FE0F chooses their form: names need these.
_UNSAFE = re.compile(f"[{_INVISIBLE}]")
_UNSAFE_IN_LINES = re.compile(f"(?!\\n)[{_INVISIBLE}]")
_NOT_INDENTED = re.compile(r"\n(?! {2})")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST_MARKS = 8
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet takes for the begin of a formula, and what `cell_text` puts before it."""

BLANKS = " \t\r\n"
"""What is left out around the names in a list. Other white space may be part of a name."""


def one_line(text: str) -> str:
    """Return a text on one line, without anything that changes more than the place where it is shown."""
    return _few_marks(_UNSAFE.sub(_escape, text))


def screen_text(text: str) -> str:
    """Return a text of lines, which stay lines; the rest as `one_line`. JSON stays the same JSON."""
    return _few_marks(_UNSAFE_IN_LINES.sub(_escape, text))


def message_text(text: str) -> str:
    """Return the text of an error: one line, or several of which all but the first are indented.

    The end of a line that is part of a name begins no line: what follows could look like a message of its own.
    """
    return screen_text(_NOT_INDENTED.sub(r"\\n", text))


def log_text(line: str) -> str:
    """Return a line of another program, without the colours that it is in."""
    return one_line(_COLOURS.sub("", line).expandtabs())


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON, as ``json.dumps`` does, but letters of all scripts stay letters."""
    return _UNSAFE_IN_LINES.sub(_json_escape, json.dumps(value, ensure_ascii=False, **options))


def cell_text(text: str) -> str:
    """Return a text for a cell of CSV: spreadsheets take what begins like a formula for one, unless it is quoted."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def cell_value(cell: str) -> str:
    """Return the text that `cell_text` made a cell of."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def is_one_line(text: str) -> bool:
    """Return whether `one_line` would change nothing."""
    return one_line(text) == text


def is_utf8(text: str) -> bool:
    """Return whether a text can be written down, which one with the bytes of a name that do not decode cannot."""
    return not _SURROGATE.search(text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # the byte that it stands for
    if code == 0x7F:
        return r"\u007f"  # the only one that JSON has as it is, and the form that it knows
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    return r"\u007f" if match[0] == "\x7f" else json.dumps(match[0])[1:-1]


def _few_marks(text: str) -> str:
    """Leave out what is piled upon one letter beyond any script, which would cover the lines around it."""
    if text.isascii():
        return text
    kept: list[str] = []
    num_marks = 0
    for letter in text:
        num_marks = num_marks + 1 if unicodedata.combining(letter) else 0
        if num_marks <= _MOST_MARKS:
            kept.append(letter)
    return "".join(kept)
