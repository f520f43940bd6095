"""Two hundred names of files that something could take for more than names."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from vidcnn.sources.names import file_name

CANARY = "executed-canary"
"""A file that appears where a name is executed."""
_NUM_BAD = 5

_TERMINAL = [
    "\x1b[31mred", "\x1b[2J\x1b[H", "\x1b[?1049h", "\x1b]0;title\x07", "\x1b]8;;http:x\x1b\\here\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07", "\x1bPq\x1b\\", "\x1b_G\x1b\\", "\x1bc", "\x1b(0", "\x9b31mred", "\x9d0;title\x9c",
    "\x90q\x9c", "a\x85b", "\x8d\x8e\x8f", "bell\x07", "back\x08\x08\x08", "\x0e shift \x0f", "\x7f\x7f", "\x1e",
    "\x1d", "a\nb", "a\rb", "\nvidcnn: all is well", "a\n\n\n", "\r\n", "tab\tbed", "\x0b\x0c",
    "\x01\x02\x03\x04", "\x1a", "\x11\x13",
]  # fmt: skip
_INVISIBLE = [
    "\u202egpj.exe", "\u202dx", "\u202a\u202b\u202c", "\u2066x\u2067y\u2068z\u2069", "\u200e\u200f", "\u061cx",
    "zero\u200bwidth", "\ufeffbom", "\u2060word", "soft\xadhyphen", "\u2028line", "\u2029paragraph", "\xa0",
    "\u3000wide", "tag\U000e0041\U000e007f", "\ufff9\ufffa\ufffb", "\u180e", "ㅤ", "ﾠ", "ᅟ",
]  # fmt: skip
_SCRIPTS = [
    "العربية", "עברית", "हिन्दी", "ไทย", "日本語", "한국어", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "❤️",
    "\U0001f3f3\ufe0f\u200d\U0001f308", "é", "é", "Å", "Å", "ﬁ", "ß", "İı",
    "ź́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́́", "́", "a⃝", "🇩🇪", "Ω≈ç√", "０", "²", "\ue000",
    "\U0010ffff",
]  # fmt: skip
_MARKUP = [
    "[red]x[", "[bold]", "[]", "[[", "[link=http:x]y", "[@click=app.bell]x", "\\[red]", "[blink]x", "]",
    "<b>x<b>", "<script>alert(1)", "&amp;", "&#x1b;", "{0}", "{}", "{name!r}", "{{}}", "{0.__class__}", "%s",
    "%d%n", "%(x)s", "%%", "%03d", "img_%05d", "frame%1d", "100%", "a%20b", "%0a", "%00", "%1b", "\\x1b", "\\n",
    "\\", "\\\\", "\\u202e", "\\xe9",
]  # fmt: skip
_SHELL = [
    "$(touch executed-canary)", "`touch executed-canary`", ";touch executed-canary;", "|touch executed-canary",
    "&touch executed-canary&", "\ntouch executed-canary\n", "' ;touch executed-canary;'",
    '";touch executed-canary;"', "$HOME", "${HOME}", "${IFS}", "$0", "!!", "~", "~root", "-", "--", "-rf",
    "--help", "--out=x", "-h", "-x", "*", "?", "[a-z]", "**", "{a,b}", "'", '"', "''", "a b", "  ", " x", "#",
    "#x", "a#b", "?query", "?region=x", "a?scheme=http", "&&", "||", ">x", "<x", "2>&1", "@x", "@", "^x", ",",
    "a,b", "a;b", "=", ":",
]  # fmt: skip
_FORMULAS = [
    "=1+1", "=cmd|' x'!A0", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "|x", "a|b", '"=1"',
]  # fmt: skip
_PROTOCOLS = [
    "file:x", "file:", "http:x", "https:x", "concat:a|b", "pipe:0", "pipe:", "subfile,,start,0,end,9,,:x",
    "crypto:x", "cache:x", "data:video;base64,AA", "tcp:x", "rtmp:x", "async:x", "fd:0", "md5:x", "tee:a|b",
    "hls+file:x", "s3:x", "gs:x", "lavfi:color", "testsrc", "ffconcat version 1.0", "#EXTM3U",
]  # fmt: skip
_PLACES = [
    "nul", "con", "com1", "...", "..x", ". .", "x.", "x ", "x..", "..%2f", "a:b", "C:x", "c:", "null", "true",
    "0", "1e9", "NaN", "''",
]  # fmt: skip
_LONG = ["a" * 251, "é" * 125, "日" * 83, "👩" * 62, "[red]" * 50, "\x1b[1m" * 62, "%s" * 125, ".." + "b" * 249]
_BYTES = [
    b'caf\xe9', b'\xff\xfe', b'\x80', b'\xc0\xaf', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'a\xc3', b'\xe2\x80',
    b'\x9b31m', b'\xc2', b'\xfe\xff0a', b'\xff\xff\xff\xff\xff\xff\xff\xff\xff', b'\x1b\xff[31m', b'\\xff\xff',
    b'[red]\xe9', b'=\xff',
]  # fmt: skip


def nasty_names() -> list[bytes]:
    """Return two hundred names as bytes, without a file's extension, of at most 251 bytes."""
    groups = (_TERMINAL, _INVISIBLE, _SCRIPTS, _MARKUP, _SHELL, _FORMULAS, _PROTOCOLS, _PLACES, _LONG)
    texts = [text.encode() for group in groups for text in group]
    names = dict.fromkeys([*_BYTES, *texts])
    return [name for name in names if name and b"/" not in name and b"\0" not in name and len(name) <= 251]


def is_harmless(text: str) -> bool:
    """Return whether a text has no character that a terminal obeys or that turns the direction of writing."""
    turning = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
    return all(
        letter == "\n" or (unicodedata.category(letter) not in {"Cc", "Cs", "Zl", "Zp"} and letter not in turning)
        for letter in text
    )


def check(text: str, folder: Path) -> None:
    """Check that a text of vidcnn's is harmless, tells of no defect, and that nothing in a folder was executed."""
    bad = [line for line in text.split("\n") if not is_harmless(line)]
    assert not bad, bad
    assert "Traceback" not in text
    assert not [path for path in folder.rglob(CANARY + "*") if path.name.rstrip("\n") == CANARY]
    assert not Path(CANARY).exists()
    assert "vidcnn: all is well" not in text.split("\n")  # the end of a name after the end of a line in it


def raw(written: str) -> bytes:
    """Return the name of a file that vidcnn has written down."""
    return os.fsencode(file_name(written))


def put_file(path: bytes, good: Path, number: int) -> bool:
    """Link a video there, or write one in five times what is none; return whether it is one."""
    if number % _NUM_BAD:
        os.link(good, path)
        return True
    Path(os.fsdecode(path)).write_bytes(b"no video")
    return False
