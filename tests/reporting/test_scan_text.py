"""The summary of a scan fits in a terminal, and says what is wrong."""

from __future__ import annotations

import json

import pytest

from vidcnn.config import ScanSpec
from vidcnn.errors import StorageError, TooManyErrorsError
from vidcnn.reporting.progress import RunProgress
from vidcnn.reporting.scan_text import ScanReport, describe_scan, scan_json, scan_line, scan_text
from vidcnn.reporting.summaries import check_outcome
from vidcnn.scans.summary import Group, ScanSummary

SPEC = ScanSpec(source=("videos",), out="scan.parquet", max_error_fraction=0.5)


def report(summary: ScanSummary, *, undone: tuple[tuple[str, str], ...] = (), num_done: int = 3) -> ScanReport:
    return ScanReport(summary, 3, num_done, 0, undone, 2.0, {"txt": 2}, (), {})


def summary() -> ScanSummary:
    found = ScanSummary(num_videos=3, num_readable=2, size_bytes=3_400_000, seconds=125.0)
    found.codecs.update(h264=2)
    found.sizes.update({"1920x1080": 2})
    found.errors = {"unreadable": Group(1, 100, 0.0, "dir/bad.mp4", "no video " * 30)}
    found.same = Group(1, 1_700_000, 0.0, "x" * 200 + "/end.mp4", "a.mp4")
    found.black = Group(1, 5, 12.0, "night.mp4")
    return found


def test_it_is_read_at_a_glance_in_80_columns() -> None:
    lines = scan_text(SPEC, report(summary())).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "scan.parquet: 3 videos, 2 min 5 s of video, 3.4 MB"
    assert lines[1] == "this run: 3 videos in 2 s"
    assert "  readable         2 of 3" in lines
    assert "  sizes            1920x1080 2" in lines
    assert "  black            1, 12 s, such as night.mp4" in lines
    assert any(
        line.startswith("  same content     1, 1.7 MB, such as ...xxx") and line.endswith("/end.mp4") for line in lines
    )
    place = lines.index("1 bad video:")
    assert lines[place + 1].startswith("  unreadable       1: no video")
    assert lines[place + 4] == "                   such as dir/bad.mp4"
    assert not any("frozen" in line for line in lines)


def test_a_quick_scan_says_what_it_did_not_look_for() -> None:
    text = scan_text(SPEC.model_copy(update={"quick": True}), report(summary()))
    assert "not looked for   damage, black, frozen, duplicates: --quick" in text
    assert "same content" not in text


def test_names_change_nothing_about_the_terminal() -> None:
    found = summary()
    found.black.example = "\x1b]0;x\x07\u009b31m.mp4"
    text = scan_text(SPEC, report(found))
    assert "\x1b" not in text
    assert "\u009b" not in text


def test_one_line_and_json_have_the_same_counts() -> None:
    found = report(summary(), undone=(("a.mp4", "it cannot be read"),))
    line = scan_line(SPEC, found)
    assert (
        line == "scan.parquet: 3 videos, 2 min 5 s of video, 3.4 MB; this run: 3 videos in 2 s; 1 bad video; 1 undone"
    )
    values = json.loads(json.dumps(scan_json(SPEC, found)))
    assert (values["videos"], values["bad_videos"], values["codecs"]) == (3, 1, {"h264": 2})
    assert values["errors"]["unreadable"]["num_videos"] == 1
    assert (values["black"]["seconds"], values["run"]["videos_undone"]) == (12.0, 1)


def test_a_run_with_nothing_to_do_says_so() -> None:
    assert "this run: nothing to do, all of 3 videos done" in scan_text(SPEC, report(summary(), num_done=0))


def test_bad_videos_and_those_left_undone_are_exit_codes() -> None:
    found = summary()
    check_outcome(SPEC, report(found))
    found.errors["unreadable"].num_videos = 2
    with pytest.raises(TooManyErrorsError, match="2 of 3 videos are bad"):
        check_outcome(SPEC, report(found))
    with pytest.raises(StorageError, match=r"a\.mp4 could not be read"):
        check_outcome(SPEC, report(found, undone=(("a.mp4", "it cannot be read"),)))


def test_the_line_of_progress_counts_videos() -> None:
    progress = RunProgress(3, 300)
    assert describe_scan(progress) == (0.0, "0/3 videos · starting")
    progress.add_segment("a", 100, 1, num_clips=1, num_predictions=0, errors={"unreadable": 1})
    assert describe_scan(progress)[1].startswith("1/3 videos · 1 bad")
