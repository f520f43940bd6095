"""The page of a table, as a browser shows it: with a mouse, with keys, on a phone, and to who cannot see it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.nasty_names import nasty_names
from tests.pages.browser import DESKTOP, PHONE, Browser
from tests.pages.tables import write_table
from vidcnn.pages.predictions_page import predictions_page
from vidcnn.safe_text import one_line
from vidcnn.sources.names import utf8_name

VIDEOS: dict[str, Any] = {
    "a/door.mp4": [("open", 0.9), ("open", 0.7), ("shut", 0.6), None],
    "b/cat.mp4": [("cat", 0.99)] * 3,
    "c/long.mp4": [("shut", 0.4)] * 30,
    "d/broken.mp4": [],
}
NAMES = "#list .name"
DOWN, ENTER, ESCAPE, END, TAB = "\ue015", "\ue007", "\ue00c", "\ue010", "\ue004"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "preds.runs").mkdir()
    report = {
        "started": "2026-11-22T02:00:00.000Z", "seconds": 62.0, "exit_code": 0, "error": None, "videos_done": 4,
        "clips": 36, "clips_per_second": 12.25, "limited_by": "decode-bound: the model idle 20%",
    }  # fmt: skip
    (folder / "preds.runs" / "a.json").write_text(json.dumps(report))
    content, _ = predictions_page(str(write_table(folder / "preds.parquet", VIDEOS)), max_videos=100)
    (folder / "report.html").write_bytes(content)
    return folder / "report.html"


def test_totals_speed_classes_and_errors_can_be_read_without_a_script(page: Path) -> None:
    text = page.read_text()
    for part in ("<dt>videos</dt><dd>4</dd>", "<dt>predictions</dt><dd>36</dd>", "<dt>error rows</dt><dd>2</dd>"):
        assert part in text
    assert "What limited the last run: decode-bound: the model idle 20%" in text
    assert "<dt>clips/s, last run</dt><dd>12.2</dd>" in text
    assert '<th scope="row" dir="auto">shut</th><td class="num">31</td><td class="num">86.1&nbsp;%</td>' in text
    assert "<code>unreadable</code>: 1 row" in text
    assert '<b dir="auto">d/broken.mp4</b>: <span dir="auto">it is no video</span>' in text
    assert '<b dir="auto">r3d_18</b>' in text


def test_an_output_without_reports_says_how_to_have_them(tmp_path: Path) -> None:
    content, _ = predictions_page(str(write_table(tmp_path / "p.parquet", {"a": [("x", 0.5)]})), max_videos=1)
    assert b"no run has left a report. Runs do so with <code>--report</code>" in content


def test_of_many_videos_the_first_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    table = write_table(tmp_path / "p.parquet", {f"{n:03}.mp4": [("x", 0.5)] for n in range(50)})
    content, counts = predictions_page(str(table), max_videos=7)
    assert (counts.num_videos, counts.num_predictions, len(counts.listed)) == (50, 50, 7)
    assert b"Of 50 videos, the 7 first by name are listed here" in content
    assert b"006.mp4" in content
    assert b"007.mp4" not in content


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone in the dark"])
def test_nothing_is_wrong_for_people_with_disabilities(
    page: Path, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    browser.open(page, size=size, dark=dark)
    assert browser.faults() == []
    browser.run("document.querySelector('#list .row').click()")
    assert browser.faults() == []
    assert browser.complaints() == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_sticks_out_of_the_window(page: Path, browser: Browser, size: tuple[int, int]) -> None:
    browser.open(page, size=size)
    assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.open(page, size=size, dark=True)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") != background


def test_videos_are_searched_filtered_and_sorted(page: Path, browser: Browser) -> None:
    browser.open(page)
    assert browser.texts(NAMES) == list(VIDEOS)
    assert browser.texts("#list .what") == ["open 90 %", "cat 99 %", "shut 40 %", "unreadable"]

    def choose(name: str, value: str) -> list[str]:
        browser.run(
            "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change'));",
            name,
            value,
        )
        return browser.texts(NAMES)

    assert choose("search", "DOOR") == ["a/door.mp4"]
    assert browser.texts("#found") == ["1 of 4 videos"]
    choose("search", "")
    assert choose("errors", "some") == ["a/door.mp4", "d/broken.mp4"]
    assert choose("errors", "=unreadable") == ["d/broken.mp4"]
    assert choose("errors", "none") == ["b/cat.mp4", "c/long.mp4"]
    choose("errors", "")
    assert choose("label", "0") == ["a/door.mp4", "c/long.mp4"]  # the class with the most clips: shut
    assert choose("least", "0.5") == ["a/door.mp4"]
    assert choose("label", "") == ["a/door.mp4", "b/cat.mp4"]
    choose("least", "0")
    assert choose("sort", "clips") == ["d/broken.mp4", "b/cat.mp4", "a/door.mp4", "c/long.mp4"]
    browser.click("#down")
    assert choose("sort", "score") == ["b/cat.mp4", "a/door.mp4", "c/long.mp4", "d/broken.mp4"]


def test_keys_alone_go_to_a_video_and_along_its_timeline(page: Path, browser: Browser) -> None:
    browser.open(page)
    browser.keys("/", "o", "o", "r")
    assert browser.run("return document.activeElement.id") == "search"
    assert browser.texts(NAMES) == ["a/door.mp4"]
    browser.keys("\ue003" * 3)
    browser.run("document.querySelector('#list .row').focus()")
    browser.keys(DOWN, DOWN)
    assert browser.run("return document.activeElement.textContent").startswith("c/long.mp4")
    browser.keys("\ue011", ENTER)
    assert browser.texts("#detail-title") == ["a/door.mp4"]
    assert browser.texts("#detail-error") == ["corrupt_frames: frames that this clip needs are damaged"]
    rows = browser.run("return [...document.querySelectorAll('#stretches tbody tr')].map((row) => row.innerText)")
    assert [row.split("\t") for row in rows] == [
        ["0:00.0", "0:04.0", "open", "90 %"],
        ["0:04.0", "0:06.0", "shut", "60 %"],
        ["0:06.0", "0:08.0", "error", ""],
    ]
    browser.run("document.getElementById('strip').focus()")
    browser.keys("\ue014", "\ue014")
    strip = "return document.getElementById('strip').getAttribute('aria-valuetext')"
    assert browser.run(strip) == "0:04.0 to 0:06.0: shut, 60 %"
    browser.keys(END)
    assert browser.run(strip) == "0:06.0 to 0:08.0: error"
    browser.keys(ESCAPE)
    assert browser.run("return document.activeElement.textContent").startswith("a/door.mp4")
    assert browser.complaints() == []


def test_a_timeline_has_the_colours_of_its_classes(page: Path, browser: Browser) -> None:
    browser.open(page)
    colours = browser.run(
        "const canvas = document.querySelectorAll('#list canvas')[0], draw = canvas.getContext('2d');"
        "return [0.1, 0.35, 0.6, 0.9].map((x) => [...draw.getImageData(x * canvas.width, 1, 1, 1).data].join());"
    )
    assert colours[0] != colours[1]  # of one class, and less sure
    (_, green, blue, _), (_, other_green, other_blue, _) = (list(map(int, colours[n].split(","))) for n in (0, 2))
    assert green > blue
    assert other_green < other_blue
    assert len(set(colours)) == 4
    gray = browser.run("return getComputedStyle(document.documentElement).getPropertyValue('--none')").strip()
    assert colours[3] == ",".join(str(int(gray[place : place + 2], 16)) for place in (1, 3, 5)) + ",255"


def test_nasty_names_are_shown_and_nothing_else(tmp_path: Path, browser: Browser) -> None:
    names = [utf8_name(name.decode("utf-8", "surrogateescape")) for name in nasty_names()]
    videos = {
        name: [(other, 0.5)] if number % 5 else []
        for number, (name, other) in enumerate(zip(names, names[::-1], strict=True))
    }
    content, _ = predictions_page(str(write_table(tmp_path / "<b>'\".parquet", videos)), max_videos=1000)
    page = tmp_path / "report.html"
    page.write_bytes(content)
    browser.open(page)
    assert browser.complaints() == []
    seen: list[str] = []
    for number in range(0, len(names), 10):
        browser.run("document.getElementById('scroll').scrollTop = arguments[0]", number * 44)
        time.sleep(0.05)
        browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen += browser.texts(NAMES)
    assert set(seen) == {one_line(name) for name in names}
    assert browser.run("return document.querySelectorAll('script').length") == 2
    assert browser.run("return document.querySelectorAll('main b script, li b b, a[href^=javascript]').length") == 0
    labels = browser.texts("#label option")[1:]
    assert set(labels) <= {one_line(name) for name in names}
    browser.run("document.querySelector('#list .row').click()")
    assert browser.complaints() == []
    browser.open(page, size=PHONE)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.slow
@pytest.mark.alone
def test_ten_thousand_videos_open_in_two_seconds_and_stay_below_thirty_megabytes(
    tmp_path: Path, browser: Browser
) -> None:
    clips = [[("walk" if (n + k) % 3 else "run", ((n * 7 + k) % 100) / 100) for k in range(60)] for n in range(100)]
    table = write_table(tmp_path / "p.parquet", {f"camera/{n:06}.mp4": clips[n % 100] for n in range(10_000)})
    content, _ = predictions_page(str(table), max_videos=10_000)
    assert len(content) < 30e6
    page = tmp_path / "report.html"
    page.write_bytes(content)
    browser.open(page)
    took = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert took < 2000
    assert len(browser.texts(NAMES)) < 60
    browser.run("document.querySelector('#list .row').focus()")
    browser.keys(END)
    assert browser.run("return document.activeElement.textContent").startswith("camera/009999.mp4")
    assert browser.complaints() == []
