from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import pytest

from tests.nasty_names import nasty_names
from tests.videos import write_video
from vidcnn.errors import DataError, OutputError
from vidcnn.events.evaluation import Found
from vidcnn.events.films import chapters_of, copy_name, write_with_chapters
from vidcnn.sources import Listing
from vidcnn.sources.keys import video_text


def event(video: str, start: float, end: float, label: str = "fight", score: float = 0.9) -> Found:
    return Found(video, label, start, end, score)


def titles(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [chapter["metadata"]["title"] for chapter in container.chapters()]


def test_chapters_follow_each_other() -> None:
    events = [event("a", 5, 9), event("a", 0, 3, "run", 0.5), event("a", 2, 4, "jump"), event("a", 2, 8, "fall", 0.3)]
    assert [(one.start_seconds, one.end_seconds, one.title) for one in chapters_of(events)] == [
        (0, 2, "run 50%"), (2, 5, "fall 30%"), (5, 9, "fight 90%"),
    ]  # fmt: skip


def test_each_video_with_events_is_copied_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    (source / "cam").mkdir(parents=True)
    write_video(source / "cam" / "a.mp4", 20)
    write_video(source / "b.avi", 20)
    write_video(source / "c.mp4", 20)
    (source / "bad.mp4").write_text("no video")
    names = ("cam/a.mp4", "b.avi", "bad.mp4", "gone.mp4")
    events = {name: [event(name, 0.1, 0.3)] for name in names}
    written, failures = write_with_chapters(Listing([str(source)]), events, tmp_path / "out", "auto")
    assert (written, list(failures)) == (2, ["bad.mp4"])
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["b.avi.mkv", "cam/a.mp4"]
    assert titles(tmp_path / "out" / "b.avi.mkv") == ["-", "fight 90%", "-"]


def test_no_video_is_written_over(tmp_path: Path) -> None:
    content = write_video(tmp_path / "a.mp4", 8).read_bytes()
    with pytest.raises(OutputError, match="is the video itself"):
        write_with_chapters(Listing([str(tmp_path)]), {"a.mp4": [event("a.mp4", 0, 1)]}, tmp_path, "auto")
    assert (tmp_path / "a.mp4").read_bytes() == content
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_where_nothing_can_be_copied_it_is_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 8)
    with pytest.raises(DataError, match="no video of the source has an event"):
        write_with_chapters(Listing([str(tmp_path)]), {"b.mp4": [event("b.mp4", 0, 1)]}, tmp_path / "out", "auto")
    shutil.copy(__file__, tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"no video could be copied: a\.mp4: not a video"):
        write_with_chapters(Listing([str(tmp_path)]), {"a.mp4": [event("a.mp4", 0, 1)]}, tmp_path / "out", "auto")
    assert not list((tmp_path / "out").iterdir())


def test_copies_of_videos_with_any_name_stay_in_their_folder(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 8)
    source = os.path.join(os.fsencode(tmp_path), b"videos")
    os.mkdir(source)
    for name in nasty_names()[::8]:
        os.link(good, os.path.join(source, name + b".mp4"))
    videos = list(Listing([os.fsdecode(source)]))
    events = {video.name: [event(video.name, 0, 1, video.name)] for video in videos}
    written, failures = write_with_chapters(videos, events, tmp_path / "out", "auto")
    assert (written, failures) == (len(videos), {})
    assert sorted(os.listdir(tmp_path)) == ["good.mp4", "out", "videos"]


@pytest.mark.parametrize(
    ("video", "expected"),
    [("a/b.MP4", "a/b.MP4"), ("b.webm", "b.webm.mkv"), ("b.mkv", "b.mkv"), ("../b.mov", "b.mov"), ("b", "b.mkv")],
)
def test_a_copy_is_called_as_its_video(video: str, expected: str) -> None:
    assert copy_name(video_text(video)) == expected
