"""A video that kills its decoder still gets a row, with all that can be found out without decoding it."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.pipelines.crashing import MARKS, die, first_time
from tests.videos import write_video
from vidcnn.errors import InternalError
from vidcnn.inference.scoring import SegmentRows, Undone
from vidcnn.pipelines.scan_stage import ScanStage
from vidcnn.pipelines.stages import pack_video, video_table
from vidcnn.sources import Listing, SourceVideo
from vidcnn.video.cell import Cell
from vidcnn.video.cell_status import at
from vidcnn.video.scanning import Found, ScanSettings, scan_each

ALL = ScanSettings(sample_seconds=1.0, hashes=True, image_fps=25.0, max_pixels=2**26)


def faulty_scan(videos: Sequence[SourceVideo], settings: ScanSettings, num_at_once: int) -> Iterator[list[Found]]:
    """Scan, but for what the names of the videos say."""
    for position, video in enumerate(videos):
        at(position)
        if "kills" in video.name and settings.sample_seconds is not None:
            die()
        if "always" in video.name and settings.probes:
            die()
        if "once" in video.name and first_time(f"scan-{video.name}"):
            die()
        if "errs" in video.name:
            raise TypeError("an integer is required")
        yield from scan_each([video], settings, num_at_once)


class FaultyStage(ScanStage):
    work = staticmethod(faulty_scan)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    marks = tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setenv(MARKS, str(marks))
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


def news_of(videos: Sequence[SourceVideo], stage: type[ScanStage], settings: ScanSettings = ALL) -> list[Any]:
    table = video_table([pack_video(video, None) for video in videos])
    with Cell() as cell:
        packed: list[pa.Table] = list(stage(settings, cell)(table))
    return [one for some in packed for news in some["news"] for one in pickle.loads(news.as_py())]


def rows_of(
    folder: Path, stage: type[ScanStage] = ScanStage, settings: ScanSettings = ALL
) -> dict[str, dict[str, Any]]:
    news = news_of(list(Listing([str(folder)])), stage, settings)
    assert all(isinstance(one, SegmentRows) and (one.segment.index, one.segment.count) == (0, 1) for one in news)
    rows = [row for one in news for row in one.rows.to_pylist()]
    assert len({row["video"] for row in rows}) == len(rows)
    return {row["video"]: row for row in rows}


def test_each_video_has_a_row_whatever_its_decoder_does(folder: Path) -> None:
    for name in ("good", "kills", "kills_always", "once"):
        write_video(folder / f"{name}.mp4", 30)
    (folder / "text.mp4").write_text("no video")
    rows = rows_of(folder, FaultyStage)
    kinds = {name: row["error_kind"] for name, row in rows.items()}
    assert kinds == {
        "good.mp4": None,
        "kills.mp4": "decoder_crash",
        "kills_always.mp4": "decoder_crash",
        "once.mp4": None,
        "text.mp4": "unreadable",
    }
    assert (rows["kills.mp4"]["num_frames"], rows["kills.mp4"]["num_samples"]) == (30, None)
    assert rows["kills_always.mp4"]["num_frames"] is None
    for name, row in rows.items():
        assert row["content_hash"] == hashlib.sha256((folder / name).read_bytes()).hexdigest(), name
    assert {name for name, row in rows.items() if row["readable"]} == {"good.mp4", "once.mp4"}


def test_a_quick_scan_reads_no_more_than_it_needs(folder: Path) -> None:
    write_video(folder / "a.mp4", 30)
    (folder / "text.mp4").write_text("no video")
    rows = rows_of(folder, settings=replace(ALL, sample_seconds=None, hashes=False))
    assert {row["content_hash"] for row in rows.values()} == {None}
    assert (rows["a.mp4"]["readable"], rows["a.mp4"]["num_samples"], rows["text.mp4"]["readable"]) == (
        True,
        None,
        False,
    )


def test_a_changed_video_is_a_row_of_no_version(folder: Path) -> None:
    write_video(folder / "a.mp4", 10)
    (video,) = Listing([str(folder)])
    (news,) = news_of([replace(video, mtime_ns=1)], ScanStage)
    assert (news.segment.video.size_bytes, news.segment.video.mtime_ns) == (-1, -1)
    assert news.rows["error_kind"].to_pylist() == ["changed"]


def test_what_could_not_be_listed_is_left_to_the_next_run(folder: Path) -> None:
    write_video(folder / "a.mp4", 10)
    (video,) = Listing([str(folder)])
    (news,) = news_of([replace(video, error="cannot be read: input/output error")], ScanStage)
    assert isinstance(news, Undone)


def test_a_fault_of_the_program_is_news_that_ends_the_run(folder: Path) -> None:
    write_video(folder / "errs.mp4", 10)
    (news,) = news_of(list(Listing([str(folder)])), FaultyStage)
    assert isinstance(news, InternalError)
