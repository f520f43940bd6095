from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import cv2
import numpy as np
import pytest

from tests.nasty_names import nasty_names
from tests.pages.browser import Browser
from tests.pages.tables import write_table
from tests.pages.test_timelines import read
from tests.videos import number_of, write_video
from vidcnn.errors import SourceError
from vidcnn.pages.pictures import Clip, best_clips, find_videos, href_of, links_of, take_pictures
from vidcnn.pages.predictions_page import predictions_page
from vidcnn.safe_text import one_line
from vidcnn.sources import Listing


def test_the_best_clips_are_of_each_class_and_of_different_videos() -> None:
    videos = {f"v{n}": [("a", 0.5 + n / 100), ("a", 0.495 + n / 100), ("b", n / 10)] for n in range(6)}
    found = best_clips(read(videos), ["a", "b", "c"], [1, 0], num_most=7)
    assert [clip.video for clip in found] == ["v5", "v4", "v3"] * 2
    assert [clip.label for clip in found] == ["b"] * 3 + ["a"] * 3
    assert len(best_clips(read(videos), ["a", "b", "c"], [1, 0], num_most=48)) == 8
    assert [clip.label for clip in best_clips(read(videos), ["a", "b", "c"], [1, 0], num_most=1)] == ["b"]
    assert (found[0].start_seconds, found[0].end_seconds, found[0].score) == (4.0, 6.0, 0.5)


def test_of_a_cell_of_many_clips_it_is_the_best_one() -> None:
    clips = [("a", 0.1)] * 9 + [("a", 0.9)] + [("a", 0.2)] * 10
    (found,) = best_clips(read({"v": clips}, max_cells_of_one=1), ["a", "b", "c"], [0], num_most=4)
    assert (found.start_seconds, found.end_seconds) == (18.0, 20.0)


def test_pictures_are_of_their_moments_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 90, rate=30)
    (tmp_path / "bad.mp4").write_text("no video")
    videos = find_videos([str(tmp_path)], ["a.mp4", "bad.mp4", "gone.mp4"])
    clips = [Clip(name, 2.0, 2.2, "x", 0.5) for name in ("gone.mp4", "a.mp4", "bad.mp4")]
    gone, good, bad = take_pictures(clips, videos)
    assert (gone.image, gone.href, gone.missing) == (None, None, "the video is not there")
    assert good.image is not None
    head, _, body = good.image.partition(",")
    assert head == "data:image/jpeg;base64"
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR)
    assert abs(number_of(pixels) - 63) <= 1
    assert good.href == (tmp_path / "a.mp4").as_uri() + "#t=2.0"
    assert bad.image is None
    assert "not a video that libav can read" in bad.missing


def test_a_source_that_is_not_there_is_an_error_and_none_finds_nothing(tmp_path: Path) -> None:
    assert find_videos([], ["a"]) == {}
    with pytest.raises(SourceError, match="does not exist"):
        find_videos([str(tmp_path / "none")], ["a"])


def test_links_lead_to_files_whatever_their_names(tmp_path: Path, browser: Browser) -> None:
    for name in nasty_names():
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"#v ?", name + b".mp4"))).parent.mkdir(exist_ok=True)
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"#v ?", name + b".mp4"))).write_bytes(b"x")
    videos = {video.name: video for video in Listing([str(tmp_path / "#v ?")])}
    names = sorted(videos)
    links = links_of(names, videos)
    others = links["others"]
    assert isinstance(others, dict)
    assert links["base"] == (tmp_path / "#v ?").as_uri()
    assert 0 < len(others) < len(names) / 2
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>x</title>")
    browser.open(page)
    plain = [name for index, name in enumerate(names) if index not in others]
    assert all(one_line(name) == name for name in plain)  # the page has names as they are shown
    code = "return arguments[0].map((name) => name.split('/').map(encodeURIComponent).join('/'))"
    uris = [f"{links['base']}/{end}" for end in browser.run(code, plain)] + list(others.values())
    where = [videos[name] for name in plain] + [videos[names[index]] for index in others]
    for uri, video in zip(uris, where, strict=True):
        assert unquote_to_bytes(uri.removeprefix("file://")) == os.fsencode(video.location)
        assert "#" not in uri
        assert "?" not in uri


def test_folders_of_images_and_objects_have_no_link(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 2)
    video = find_videos([str(tmp_path)], ["a.mp4"])["a.mp4"]
    assert href_of(video, -1) == (tmp_path / "a.mp4").as_uri() + "#t=0.0"
    assert href_of(replace(video, is_frame_folder=True), 0) is None
    assert href_of(replace(video, location="s3://bkt/a.mp4"), 0) is None
    assert links_of(["a", "b"], {}) == {"base": None, "others": {}}


def test_a_page_has_pictures_and_links_to_moments(tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a b.mp4", 120, rate=30)
    table = write_table(tmp_path / "p.parquet", {"a b.mp4": [("x", 0.5), ("y", 0.9)], "gone.mp4": [("x", 0.7)]})
    content, _ = predictions_page(str(table), max_videos=9, sources=[str(tmp_path / "videos")], num_pictures=8)
    page = tmp_path / "report.html"
    page.write_bytes(content)
    assert b"1 of 3 have no picture: the video is not there" in content
    browser.open(page)
    browser.run("document.querySelector('.gallery').scrollIntoView()")
    wait = "return Promise.all([...document.images].map((one) => one.decode().then(() => one.naturalWidth)))"
    assert all(width > 0 for width in browser.run(wait))
    browser.run("document.querySelector('#list .row').click()")
    links = browser.run("return [...document.querySelectorAll('#stretches a')].map((one) => one.href)")
    uri = (tmp_path / "videos" / "a b.mp4").as_uri()
    assert links == [f"{uri}#t=0.0", f"{uri}#t=2.0"]
    assert browser.run("return document.getElementById('link').href") == f"{uri}#t=0.0"
    assert browser.faults() == []
    assert browser.complaints() == []


def test_without_a_source_a_word_says_so(tmp_path: Path) -> None:
    table = write_table(tmp_path / "p.parquet", {"a.mp4": [("x", 0.5)]})
    content, _ = predictions_page(str(table), max_videos=9, num_pictures=8)
    assert b"Pictures and links to the videos are left out: <code>--source</code> says where" in content
    assert b"<img" not in content
