from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.nasty_names import is_harmless
from vidcnn.events.intervals import Event
from vidcnn.events.subtitles import srt_text, vtt_text
from vidcnn.events.table import Placed


def placed(start: float, end: float, label: str = "fight", score: float = 0.834) -> Placed:
    return Placed("a.mp4", label, Event(start, end, score, score, (start + end) / 2))


def test_both_forms_say_what_lasts_from_when_to_when() -> None:
    events = [placed(-0.5, 1.25), placed(3599.9996, 3725.5, "a & <b>")]
    assert srt_text(events) == (
        "1\n00:00:00,000 --> 00:00:01,250\nfight 83%\n\n2\n01:00:00,000 --> 01:02:05,500\na & ‹b› 83%\n"
    )
    assert vtt_text(events) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nfight 83%\n\n01:00:00.000 --> 01:02:05.500\na &amp; &lt;b&gt; 83%\n"
    )


ANY = st.text(st.characters() | st.sampled_from("<>{}\\\n\r-&\u2028\x1b"))


@given(st.lists(st.tuples(ANY, st.floats(0, 1e5)), max_size=4))
def test_no_class_ends_its_cue_or_begins_a_tag(named: list[tuple[str, float]]) -> None:
    events = [placed(start, start + 0.0001, label) for label, start in named]
    for text, point in ((srt_text(events), ","), (vtt_text(events), r"\.")):
        assert is_harmless(text)
        cues = re.findall(rf"(\d\d+:\d\d:\d\d{point}\d{{3}}) --> (\d\d+:\d\d:\d\d{point}\d{{3}})\n(.+ \d+%)\n", text)
        assert len(cues) == len(events)
        assert text.count("\n\n") == max(0, len(events) - (point == ","))
        assert all(start < end for start, end, _ in cues)
        assert not any(letter in line for _, _, line in cues for letter in ("<>{}" if point == "," else "<>"))
        assert not any("-->" in line for _, _, line in cues)


def test_cues_are_in_the_order_of_events() -> None:
    text = vtt_text([placed(float(second), second + 1.0) for second in range(12)])
    starts = re.findall(r"(\S+) -->", text)
    assert all(first < second for first, second in pairwise(starts))
