from __future__ import annotations

from dataclasses import dataclass

import pytest

from vidcnn.video.grants import NOTHING, Grant


@dataclass(frozen=True)
class Video:
    location: str
    is_frame_folder: bool = False
    root: str | None = None


FILES = (Video("/a/b.mp4"), Video("s3://bucket/c.mp4?region=x"))
QUESTIONS = (Video("s3://bucket/why?/d", True), Video("s3://bucket/e?/f?region=x", True), Video("/g?/h\udcff", True))
GRANT = Grant.of([*FILES, Video("/frames/", True), Video("s3://bucket/d?region=x", True), *QUESTIONS])


@pytest.mark.parametrize(
    "location",
    ["/a/b.mp4", "s3://bucket/c.mp4?region=x", "/frames/1.png", "/frames/..1.png", "s3://bucket/d/1.png?region=x"],
)
def test_videos_and_what_is_in_their_folders_may_be_read(location: str) -> None:
    assert GRANT.allows(location)
    assert not NOTHING.allows(location)


@pytest.mark.parametrize(
    "location",
    [
        *("/a/c.mp4", "/a/b.mp4/", "/frames", "/frames/", "/frames/.", "/frames/..", "/frames/../a", "/frames/1/2.png"),
        *("", "s3://bucket/c.mp4", "s3://bucket/d/1.png", "s3://bucket/d/../c?region=x", "s3://other/d/1.png?region=x"),
    ],
)
def test_nothing_else_may(location: str) -> None:
    assert not GRANT.allows(location)


def test_a_question_mark_in_a_name_is_no_option() -> None:
    assert all(GRANT.allows_listing(video.location) for video in QUESTIONS)
    inside = ("s3://bucket/why?/d/1.png", "s3://bucket/e?/f/1.png?region=x", "/g?/h\udcff/1.png")
    assert [GRANT.allows(place) for place in inside] == [True] * 3
    outside = ("s3://bucket/why/d/1.png", "s3://bucket/why?/1.png", "s3://bucket/e?/f/1.png", "/g?/1.png")
    assert [GRANT.allows(place) for place in outside] == [False] * 4


def test_only_folders_of_frames_are_listed() -> None:
    assert [GRANT.allows_listing(place) for place in ("/frames", "/frames/", "s3://bucket/d?region=x")] == [True] * 3
    assert [GRANT.allows_listing(place) for place in ("/", "/a", "/frames/..", "s3://bucket/d")] == [False] * 4


def test_links_of_a_file_are_kept_in_the_root_of_its_video() -> None:
    grant = Grant.of([Video("/a/b.mp4", root="/a"), Video("/a/c.mp4"), Video("/frames/", True, root="/")])
    places = ("/a/b.mp4", "/a/c.mp4", "/frames/1.png", "/frames/")
    assert [grant.root_of(place) for place in places] == ["/a", None, "/", "/"]
