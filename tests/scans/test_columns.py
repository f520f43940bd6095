"""A row of a scan has what is known, and nulls for what is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from vidcnn.errors import VideoError
from vidcnn.scans import scan_row, scan_schema
from vidcnn.sources import SourceVideo

VIDEO = SourceVideo("a/b.mp4", "/x/a/b.mp4", False, 1234, 1_700_000_000_123_456_789, None, None)
DOCS = Path(__file__).parents[2] / "docs"


def test_a_row_has_what_was_found_out() -> None:
    facts = {"readable": True, "width": 64, "black": [(1.0, 2.5)], "frozen": [], "perceptual_hash": bytes(64)}
    table = scan_row(VIDEO, facts, None)
    assert table.schema.equals(scan_schema())
    (row,) = table.to_pylist()
    assert (row["video"], row["size_bytes"], row["readable"], row["width"]) == ("a/b.mp4", 1234, True, 64)
    assert row["modified"] == datetime.fromtimestamp(1_700_000_000.123456, UTC)
    assert row["black"] == [{"start_seconds": 1.0, "end_seconds": 2.5}]
    assert (row["frozen"], row["perceptual_hash"]) == ([], bytes(64))
    assert (row["error"], row["error_kind"], row["is_encrypted"], row["height"]) == (None, None, False, None)


def test_a_video_that_cannot_be_opened_has_its_error_and_no_more() -> None:
    (row,) = scan_row(VIDEO, {}, VideoError("unreadable", "it is encrypted (PlayReady): decrypt it first")).to_pylist()
    assert (row["readable"], row["error_kind"], row["is_encrypted"]) == (False, "unreadable", True)
    assert row["error"] == "it is encrypted (PlayReady): decrypt it first"
    assert row["duration_seconds"] is None


def test_a_message_that_is_no_text_is_written_all_the_same() -> None:
    (row,) = scan_row(VIDEO, {}, VideoError("unreadable", "odd \udcff")).to_pylist()
    assert row["error"] == "odd \\udcff"


def test_the_docs_name_every_column() -> None:
    named = set(re.findall(r"`(\w+)`", (DOCS / "scan.md").read_text()))
    assert not set(scan_schema().names) - named
