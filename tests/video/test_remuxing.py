from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.videos import decode_all, write_video
from vidcnn.errors import VideoError
from vidcnn.video.remuxing import Chapter, ChapterJob, ContainerName, PieceFile, filled, with_chapters

CHAPTERS = (Chapter(0.2, 0.6, "fight 90%"), Chapter(0.6, 1.0, "日本 <b>"))


def copy(path: Path, out: Path, container: ContainerName) -> Path:
    with out.open("wb") as sink:
        for pieces in with_chapters([ChapterJob(str(path), None, container, CHAPTERS)]):
            for piece in pieces:
                sink.seek(piece.offset)
                sink.write(piece.content)
    return out


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"]["title"])
            for one in container.chapters()
        ]


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_a_copy_has_the_same_frames_at_the_same_times_and_the_chapters(
    name: str, container: ContainerName, tmp_path: Path
) -> None:
    source = write_video(tmp_path / name, 40, rate=25)
    found = copy(source, tmp_path / f"copy.{container}", container)
    (before, *named, after) = chapters(found)
    assert (before[2], after[2]) == ("-", "-")
    assert [title for _, _, title in named] == [chapter.title for chapter in CHAPTERS]
    places = [place for start, end, _ in named for place in (start, end)]
    assert places == pytest.approx([place for chapter in CHAPTERS for place in chapter[:2]])
    for mine, theirs in zip(decode_all(found), decode_all(source), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert times(found) == pytest.approx(times(source), abs=0.001)


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_real_videos_stay_as_they_are_turned_and_keep_their_sound(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "videos"
    for part, kinds in {
        "video_90.mov": ["video"],
        "sample_with_ssa_subtitles.mkv": ["video", "audio", "subtitle"],
    }.items():
        (source,) = folder.rglob(part)
        found = copy(source, tmp_path / part, "mp4" if part.endswith("mov") else "matroska")
        with av.open(str(found)) as container:
            assert [stream.type for stream in container.streams if stream.type != "data"] == kinds
        for mine, theirs in zip(decode_all(found), decode_all(source), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_what_is_no_video_or_fits_no_container_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        copy(tmp_path / "text.mp4", tmp_path / "copy.mp4", "mp4")
    write_video(tmp_path / "huffyuv.avi", 4, codec="huffyuv", pixel_format="yuv422p")
    with pytest.raises(VideoError, match=r"its pictures \(huffyuv\) cannot be put into mp4"):
        copy(tmp_path / "huffyuv.avi", tmp_path / "copy.mp4", "mp4")


@given(st.lists(st.integers(0, 20), min_size=2, max_size=8, unique=True), st.integers(0, 25))
def test_chapters_are_filled_to_cover_all_of_a_video(places: list[int], end: int) -> None:
    ordered = sorted(places)
    named = [Chapter(start, end, "x") for start, end in zip(ordered[::2], ordered[1::2], strict=False)]
    found = filled(named, end)
    assert [chapter for chapter in found if chapter.title == "x"] == named
    assert all(one.end_seconds == other.start_seconds for one, other in pairwise(found))
    assert found[0].start_seconds == 0
    assert found[-1].end_seconds == max(end, named[-1].end_seconds)
    assert all(chapter.start_seconds < chapter.end_seconds for chapter in found)


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=12))))
def test_the_pieces_make_the_file(writes: list[tuple[int, bytes]]) -> None:
    file, expected, found = PieceFile(), bytearray(), bytearray()
    for number, (offset, data) in enumerate(writes):
        assert file.seek(offset) == file.tell() == offset
        assert file.write(data) == len(data)
        if data:
            expected[len(expected) :] = bytes(max(0, offset - len(expected)))
            expected[offset : offset + len(data)] = data
        for piece in file.take() if number % 3 == 2 else ():
            put(found, *piece)
    for piece in file.take():
        put(found, *piece)
    assert found == expected
    assert file.take() == []
    assert file.seek(0, 2) == max([0, *(offset + len(data) for offset, data in writes)])


def put(content: bytearray, offset: int, data: bytes) -> None:
    if data:
        content[len(content) :] = bytes(max(0, offset - len(content)))
        content[offset : offset + len(data)] = data
