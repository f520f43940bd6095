from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.reporting.relay import LineReader, marked

LINES = st.lists(
    st.tuples(
        st.sampled_from(["result", "progress", "log"]),
        st.text(st.characters(blacklist_characters="\n\r\x1e\x1d", blacklist_categories=["Cs"])),
    )
)


@given(LINES, st.lists(st.integers(0, 200)), st.integers(0, 200))
def test_a_stream_in_pieces_gives_each_line_once_also_when_it_begins_again(
    lines: list[tuple[str, str]], cuts: list[int], break_at: int
) -> None:
    stream = "".join(marked(kind, line) + "\n" for kind, line in lines)  # type: ignore[arg-type]
    reader = LineReader()
    taken = list(reader.feed(stream[:break_at]))
    reader.restart()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in pairwise(places):
        taken += reader.feed(stream[start:end])
    taken += reader.end()
    assert taken == lines


def test_a_last_line_without_an_end_is_not_lost() -> None:
    reader = LineReader()
    assert list(reader.feed("a\n\x1eb")) == [("log", "a")]
    assert list(reader.end()) == [("result", "b")]
    assert list(reader.end()) == []


def test_what_a_marked_process_prints_is_told_apart_line_by_line() -> None:
    code = (
        "import sys, typer; from vidcnn.reporting.relay import mark_output; mark_output(); "
        "print('one'); typer.echo('two\\nthree'); sys.stdout.write('fo'); sys.stdout.write('ur\\n'); "
        "print('log', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds = list(LineReader().feed(done.stdout))
    assert kinds == [("result", line) for line in ("one", "two", "three", "four")]
    assert list(LineReader().feed(done.stderr)) == [("log", "log")]


def test_a_marked_stream_takes_text_only() -> None:
    from vidcnn.reporting.relay import _MarkedLines

    stream = io.StringIO()
    with pytest.raises(TypeError, match="takes text, not bytes"):
        _MarkedLines(stream).write(b"")  # type: ignore[arg-type]
