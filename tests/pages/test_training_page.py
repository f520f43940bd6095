from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pages.browser import DESKTOP, PHONE, Browser
from vidcnn.errors import OutputError
from vidcnn.pages.training_page import is_run, training_page


def make_run(folder: Path, *, num_notes: int = 20, **settings: Any) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"vidcnn": "1", "settings": {"epochs": 4, "lr": 0.1} | settings}))
    notes: list[dict[str, Any]] = []
    for n in range(1, num_notes + 1):
        notes.append(
            {
                "kind": "train", "step": 5 * n, "loss": 2 / n, "top1": n / 40, "learning_rate": 0.1 / n,
                "clips_per_second": 12.5, "seconds": 60.0 * n, "waiting": 0.25, "num_bad_samples": int(n == 3),
            }
        )  # fmt: skip
        if n % 5 == 0:
            notes.append({"kind": "validation", "step": 5 * n, "num_videos": 9, "top1": n / 25})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    return folder


def test_a_page_shows_what_the_run_noted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "bundle").mkdir()
    (run / "bundle" / "model.json").write_text(json.dumps({"labels": ["cat", "<b>dog"]}))
    content, steps = training_page(str(run))
    text = content.decode()
    assert steps == 100
    for card in (
        'steps done</dt><dd dir="auto">100',
        'best validation</dt><dd dir="auto">80.0%',
        'waiting for clips</dt><dd dir="auto">25%',
        'clips/s</dt><dd dir="auto">12.5',
        'time</dt><dd dir="auto">20 min',
    ):
        assert card in text
    assert text.count("<svg") == 5
    assert (
        "Top-1 accuracy over steps: training 0.5 at the last of 20 notes, validation 0.8 at the last of 4 notes" in text
    )
    assert "1 samples could not be decoded" in text
    assert '<b dir="auto">&lt;b&gt;dog</b>' in text
    assert '<th scope="row" dir="auto">epochs</th><td dir="auto">4</td>' in text
    assert "<script" not in text
    assert "script-src &#39;none&#39;" in text


def test_a_run_that_has_noted_nothing_yet_has_a_page_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_notes=0)
    (run / "metrics.jsonl").unlink()
    content, steps = training_page(str(run))
    assert steps == 0
    assert b"Nothing has been noted yet" in content
    assert b"Nothing has been validated yet" in content


def test_of_many_notes_the_last_are_in_the_table_and_all_in_the_curve(tmp_path: Path) -> None:
    content, _ = training_page(str(make_run(tmp_path / "run", num_notes=1000)))
    assert b"the last 200 of 1,000 notes" in content
    assert len(content) < 500_000


def test_what_is_no_number_draws_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_notes=1)
    wrong = {"kind": "train", "step": 6, "loss": "<script>", "top1": True, "learning_rate": float("nan")}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(wrong) + "\n")
    text = training_page(str(run))[0].decode()
    assert "<script" not in text
    assert 'points="nan' not in text


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    assert not is_run(str(tmp_path))
    (tmp_path / "run.json").write_text("{")
    assert is_run(str(tmp_path))
    with pytest.raises(OutputError, match=r"run.json' is damaged"):
        training_page(str(tmp_path))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputError, match="no training run"):
        training_page(str(tmp_path))


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, True), (PHONE, False)], ids=["desktop in the dark", "phone"])
def test_everybody_can_read_it(tmp_path: Path, browser: Browser, size: tuple[int, int], dark: bool) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(training_page(str(make_run(tmp_path / "run", model="[red]<b>'\u202e")))[0])
    browser.open(page, size=size, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    assert browser.faults() == []
    assert browser.complaints() == []
