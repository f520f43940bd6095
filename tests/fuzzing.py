"""Anything, for what parses bytes and text: noise, and sound files with some bytes changed, cut out, or repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

NASTY_BYTES = (b"\0", b"\xff", b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"9" * 5000, b"[" * 3000)
NASTY_TEXT = (
    "\0",
    "\x1b]0;x\x07",
    "\u2028",
    "\udcff",
    "٣",
    "9" * 5000,
    "-1e999",
    "nan",
    "[" * 3000,
    "{" * 3000,
    "\t" * 3000,
)


def damaged(*wholes: bytes) -> st.SearchStrategy[bytes]:
    """Give noise, or one of some files with a few changes."""
    changed = st.builds(_changed, st.sampled_from(wholes), st.integers(0, 2**32))
    return changed | st.binary(max_size=200)


def damaged_text(*wholes: str) -> st.SearchStrategy[str]:
    """Give the same as text, with surrogates for bytes that are no UTF-8."""
    noise = st.text(max_size=60) | st.text("".join(wholes), max_size=60)
    return noise | damaged(*(whole.encode() for whole in wholes)).map(_as_text) | st.sampled_from(NASTY_TEXT)


def _as_text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _changed(whole: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 2, 8, 40)))
        change: Callable[[], bytes] = rng.choice(
            (
                lambda end=end, start=start: rng.randbytes(end - start),  # type: ignore[misc]
                lambda: b"",
                lambda: rng.choice(NASTY_BYTES),
                lambda end=end, start=start: bytes(data[start:end]) * 30,  # type: ignore[misc]
                lambda: whole[rng.randrange(len(whole)) :][:40] if whole else b"",
            )
        )
        data[start:end] = change()
    return bytes(data)


@contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Let the block end with one of some errors, if it says anything; no other error is one that callers expect."""
    try:
        yield
    except kinds as error:
        if not str(error):
            raise AssertionError("an error without words") from error
