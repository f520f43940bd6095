from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.pages.browser import PHONE, Browser
from tests.pages.tables import write_table
from tests.pages.test_truth import ALWAYS, compare
from vidcnn.pages.predictions_page import predictions_page
from vidcnn.pages.truth import Truth
from vidcnn.pages.truth_section import MAX_MATRIX, truth_values


def test_precision_recall_and_shares_are_those_of_the_counts() -> None:
    videos = {"a": [("cat", 0.9), ("cat", 0.8), ("dog", 0.7)], "b": [("cat", 0.95)], "c": [("cow", 0.5)]}
    truth = {"a": "cat", "b": "dog", "c": "cat", "unseen": "dog"}
    values = truth_values(compare(videos, truth), Truth(("cat", "dog"), {name: [] for name in truth}), {})
    assert values["right"] == 2 / 5
    assert values["videos_right"] == 1 / 3
    assert values["num_unseen"] == 1
    assert values["classes"] == [
        {"label": "cat", "clips": 4, "precision": "66.7%", "recall": "50.0%"},
        {"label": "cow", "clips": 0, "precision": "0.0%", "recall": ""},
        {"label": "dog", "clips": 1, "precision": "0.0%", "recall": "0.0%"},
    ]
    assert [[cell["clips"] for cell in row["cells"]] for row in values["matrix"]] == [[2, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert sum(one["clips"] for one in values["bins"]) == 5
    assert values["num_pictures"] == 0


def test_of_many_classes_those_with_the_most_mistakes_are_in_the_matrix() -> None:
    names = [f"c{n:02}" for n in range(MAX_MATRIX + 10)]
    videos: dict[str, Any] = {name: [(name, 0.9)] for name in names}
    videos["c35"] = [("c05", 0.9)]
    values = truth_values(compare(videos, {name: name for name in names}), Truth((), {}), {})
    shown = [row["label"] for row in values["matrix"]]
    assert len(shown) == MAX_MATRIX
    assert {"c35", "c05"} <= set(shown)
    assert values["num_hidden"] == 10


def test_the_page_shows_it_to_everybody(tmp_path: Path, browser: Browser) -> None:
    videos = {"a.mp4": [("cat", 0.9), ("cat", 0.8), ("<b>dog", 0.7)], "b.mp4": [("cat", 0.95)]}
    table = write_table(tmp_path / "p.parquet", videos)
    truth = Truth(("<b>dog", "cat"), {"a.mp4": [(*ALWAYS, ("cat",))], "b.mp4": [(*ALWAYS, ("<b>dog",))]})
    content, _ = predictions_page(str(table), max_videos=9, truth=truth)
    (tmp_path / "report.html").write_bytes(content)
    browser.open(tmp_path / "report.html", size=PHONE)
    assert browser.texts("#truth-title") == ["Against the truth"]
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.texts(".matrix tbody tr")[0].split() == ["<b>dog", "0", "1"] or browser.texts(".matrix tbody th")
    assert [text.replace("\n", "") for text in browser.texts(".matrix tbody tr")] == ["<b>dog01", "cat12"]
    assert browser.faults() == []
    assert browser.complaints() == []
