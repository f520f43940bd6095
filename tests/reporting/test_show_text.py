from __future__ import annotations

import csv
import io

from tests.nasty_names import is_harmless
from vidcnn.predictions.overview import ErrorCount, LabelCount, Overview, VideoCount
from vidcnn.reporting.show_text import (
    VIDEO_NAMES,
    csv_text,
    errors_rows,
    errors_text,
    labels_rows,
    labels_text,
    overview_text,
    videos_rows,
    videos_text,
)

NASTY = "\x1b[31m" + "long" * 30
OVERVIEW = Overview(
    num_videos=1200,
    num_predictions=30_000,
    labels={f"{number:02} {NASTY}": LabelCount(1000, 7, 500.0) for number in range(30)},
    errors={"timeout": ErrorCount(3, 2, NASTY, NASTY), "too_short": ErrorCount(9, 9, "b", "it is short")},
)
VIDEOS = [VideoCount(NASTY, 5, NASTY, 0.8, 0.5, 0, None), VideoCount("=b", 0, None, None, None, 2, "cut off")]


def test_an_overview_fits_the_screen_and_says_what_is_not_shown() -> None:
    text = overview_text("p.parquet", OVERVIEW, VIDEOS)
    assert is_harmless(text)
    assert text.startswith("p.parquet: 1,200 videos, 30,000 predictions, 12 error rows\n\nlabel")
    assert max(map(len, text.splitlines())) <= 80
    assert "and 20 more labels: --by labels" in text
    assert "too_short       9 rows of 9 videos, such as b:\n                it is short" in text
    assert text.index("too_short") < text.index("timeout")
    assert text.endswith("and 1,198 more videos: --by videos --num N, or --csv")
    assert overview_text("p", Overview(), []) == "p: 0 videos, 0 predictions"


def test_parts_of_it_are_shown_alone() -> None:
    assert len(labels_text(OVERVIEW).splitlines()) == 32
    assert errors_text(Overview()) == "no errors"
    assert videos_text(VIDEOS, num_more=0).splitlines()[-1].split() == ["0", "2", "=b"]
    assert labels_rows(OVERVIEW)[0] | {"label": ""} == {
        "label": "", "clips": 1000, "share": 1 / 30, "videos": 7, "score": 0.5,
    }  # fmt: skip
    assert [row["error_kind"] for row in errors_rows(OVERVIEW)] == ["too_short", "timeout"]


def test_csv_has_a_line_for_each_and_no_formula() -> None:
    found = list(csv.reader(io.StringIO(csv_text(videos_rows(VIDEOS), VIDEO_NAMES))))
    assert found[0] == list(VIDEO_NAMES)
    assert found[2] == ["'=b", "0", "", "", "", "2", "cut off"]
    assert not csv_text([], VIDEO_NAMES, heading=False)
