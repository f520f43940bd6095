"""From SOURCE arguments to videos: what is listed, and how."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.listing import make, names_of, write_list, write_scan
from vidcnn.errors import SourceError, UsageError
from vidcnn.sources import Listing


def test_a_frame_folder_is_one_video_however_it_is_reached(tmp_path: Path) -> None:
    make(tmp_path, "top/clip/1.jpg", "top/clip/2.jpg")
    entries = write_list(tmp_path / "top/list.txt", "clip")
    for source in (tmp_path / "top", tmp_path / "top/clip", tmp_path / "top/c*", entries):
        (video,) = Listing([str(source)])
        assert (video.name, video.is_frame_folder, video.size_bytes) == ("clip", True, 20)
        assert video.location == str(tmp_path / "top/clip")


def test_a_source_that_is_a_frame_folder_keeps_its_name_apart_from_what_it_holds(tmp_path: Path) -> None:
    make(tmp_path, "clip/1.jpg", "clip/2.jpg", "clip/other/a.mp4")
    assert names_of(tmp_path / "clip") == ["clip", "other/a.mp4"]
    make(tmp_path, "clip/clip/1.jpg", "clip/clip/2.jpg")
    assert names_of(tmp_path / "clip") == [".", "clip", "other/a.mp4"]


def test_frame_folders_beside_each_other_are_named_after_their_folders(tmp_path: Path) -> None:
    make(tmp_path, *[f"{folder}/{number}.jpg" for folder in "ab" for number in range(3)])
    assert names_of(tmp_path / "a", tmp_path / "b") == ["a", "b"]
    assert names_of(tmp_path) == ["a", "b"]


def test_an_image_that_is_named_is_a_video_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "clip/1.jpg", "clip/2.jpg")
    assert names_of(tmp_path / "clip/1.jpg") == ["1.jpg"]
    assert names_of(tmp_path / "clip/*.jpg") == ["1.jpg", "2.jpg"]


def test_what_is_named_counts_whatever_its_extension(tmp_path: Path) -> None:
    make(tmp_path, "a.dat", "b.mp4", "c")
    entries = write_list(tmp_path / "list.txt", "a.dat", "c")
    assert names_of(tmp_path / "a.dat") == ["a.dat"]
    assert names_of(tmp_path / "[ac]*") == ["a.dat", "c"]
    assert names_of(entries) == ["a.dat", "c"]
    assert names_of(tmp_path) == ["b.mp4"]


def test_a_list_in_a_folder_is_ignored_and_matched_by_a_glob_is_a_video(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    write_list(tmp_path / "list.csv", "b.mp4")
    listing = Listing([str(tmp_path)])
    assert [video.name for video in listing] == ["a.mp4"]
    assert listing.ignored == {"csv": 1}
    assert names_of(tmp_path / "*") == ["a.mp4", "list.csv"]


def test_what_exists_literally_is_not_taken_for_a_glob(tmp_path: Path) -> None:
    make(tmp_path, "a[1].mp4", "a1.mp4", "b*/x.mp4", "bb/y.mp4")
    assert names_of(tmp_path / "a[1].mp4") == ["a[1].mp4"]
    assert names_of(tmp_path / "b*") == ["x.mp4"]
    assert names_of(tmp_path / "a[1]*") == ["a1.mp4"]


def test_a_folder_that_a_glob_matches_is_listed_like_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "cam1/a.mp4", "cam1/notes.txt", "cam2/x/b.mp4", "cam3.mp4", "other/c.mp4")
    for glob in ("cam*", "cam*/**"):
        listing = Listing([str(tmp_path / glob)])
        expected = ["cam1/a.mp4", "cam2/x/b.mp4"]
        assert [video.name for video in listing] == (["cam3.mp4", *expected] if glob == "cam*" else expected)
        assert listing.ignored == {"txt": 1}
    assert names_of(f"{tmp_path}/cam*/") == ["cam1/a.mp4", "cam2/x/b.mp4"]


def test_globs_of_one_folder_are_listed_in_an_order_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    globs = [f"{tmp_path}/[bc]*", f"{tmp_path}/[ab]*"]
    assert names_of(*globs) == names_of(*globs[::-1]) == ["a.mp4", "b.mp4", "c.mp4"]


def test_entries_of_a_list_are_relative_to_it_and_those_elsewhere_have_absolute_names(tmp_path: Path) -> None:
    make(tmp_path, "x/a.mp4", "x/sub/b.mp4", "y/c.mp4")
    below, above = tmp_path / "x/sub/b.mp4", tmp_path / "y/c.mp4"
    entries = write_list(tmp_path / "x/list.txt", "a.mp4", below, "../y/c.mp4", "./sub/../a.mp4", below.as_uri())
    assert names_of(entries) == ["a.mp4", "sub/b.mp4", str(above)]


def test_every_format_of_list_gives_the_same_videos_in_its_own_order(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a.mp4")
    write_list(tmp_path / "l.txt", "# all of them", "b.mp4", "", "a.mp4", "b.mp4")
    write_list(tmp_path / "l.csv", "label,path", "1,b.mp4", "1,a.mp4", "1,b.mp4")
    write_list(tmp_path / "l.tsv", "video\tlabel", "b.mp4\t1", "a.mp4\t1", "b.mp4\t1")
    pq.write_table(pa.table({"video": ["b.mp4", "a.mp4", "b.mp4"]}), tmp_path / "l.parquet")
    for extension in ("txt", "csv", "tsv", "parquet"):
        assert names_of(tmp_path / f"l.{extension}") == ["b.mp4", "a.mp4"]


def test_a_folder_in_a_list_is_listed_and_without_videos_it_is_a_row(tmp_path: Path) -> None:
    make(tmp_path, "full/a.mp4", "bare/notes.txt")
    good, bad = Listing([str(write_list(tmp_path / "list.txt", "full", "bare"))])
    assert good.name == "full/a.mp4"
    assert (bad.name, bad.error_kind, bad.error) == ("bare", "no_video", "is a folder without a video")


def test_each_iteration_lists_anew(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.txt")
    listing = Listing([str(tmp_path)])
    first = list(listing), dict(listing.ignored)
    assert (list(listing), dict(listing.ignored)) == first
    make(tmp_path, "c.mp4")
    assert len(list(listing)) == 2


def test_listing_holds_no_more_than_the_names_of_one_folder(tmp_path: Path) -> None:
    for folder in range(100):
        make(tmp_path, *[f"{folder:03}/{number:03}_{'x' * 60}.mp4" for number in range(30)])
    for source in (str(tmp_path), f"{tmp_path}/**/*.mp4", f"{tmp_path}/*"):
        tracemalloc.start()
        num_videos = sum(1 for _ in Listing([source]))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert num_videos == 3000
        assert peak_bytes < 100_000, source  # the 3,000 paths alone are 400 kB


def test_the_first_video_comes_before_later_folders_are_read(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "b/2.mp4")
    videos = iter(Listing([str(tmp_path)]))
    assert next(videos).name == "a/1.mp4"
    make(tmp_path, "b/3.mp4")
    assert [video.name for video in videos] == ["b/2.mp4", "b/3.mp4"]


def test_listing_a_folder_loads_no_heavy_package(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    write_list(tmp_path / "list.csv", "path", "a.mp4")
    program = (
        "import sys; from vidcnn.sources import Listing; list(Listing(sys.argv[1:]));"
        "print([name for name in ('torch', 'ray', 'av', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "list.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_links_that_a_scan_names_stay_in_the_source_that_was_scanned(tmp_path: Path) -> None:
    make(tmp_path, "videos/a.mp4", "elsewhere/b.mp4")
    (tmp_path / "videos/b.mp4").symlink_to(tmp_path / "elsewhere/b.mp4")
    (tmp_path / "videos/c.mp4").symlink_to("a.mp4")
    scan = str(write_scan(tmp_path / "scan.parquet", tmp_path / "videos", ["a.mp4", "b.mp4", "c.mp4"]))
    kinds = {video.name: (video.error_kind, video.root) for video in Listing([scan])}
    root = str(tmp_path / "videos")
    assert kinds == {"a.mp4": (None, root), "b.mp4": ("unsafe", None), "c.mp4": (None, root)}
    assert all(video.error is None for video in Listing([scan], follow_links=True))


def test_names_of_a_scan_are_relative_to_the_root_of_its_source_wherever_it_is(tmp_path: Path) -> None:
    make(tmp_path, "videos/a.mp4", "videos/sub/b.mp4", "videos/c.mp4", "videos/caf\udce9.mp4", "else/x")
    names = [video.name for video in Listing([str(tmp_path / "videos")])]
    scan = write_scan(tmp_path / "else/scan.parquet", tmp_path / "videos", [*names, "gone.mp4"])
    found = {video.name: video for video in Listing([str(scan)])}
    assert set(found) == {*names, "gone.mp4"}
    assert found["sub/b.mp4"].location == str(tmp_path / "videos/sub/b.mp4")
    assert [video.name for video in found.values() if video.error] == ["gone.mp4"]
    listing = Listing([str(scan)], where="seconds >= 1 and seconds < 3")
    assert [video.name for video in listing] == names[1:3]
    assert listing.unused_columns == {}


def scan_of(path: Path, source: Path) -> str:
    """Write a scan of a folder with the versions of its videos, and an empty name, which stands for nothing."""
    listing = Listing([str(source)])
    videos = list(listing)
    assert listing.root is not None
    modified = pa.array([*(video.mtime_ns // 1000 for video in videos), 0], pa.timestamp("us", tz="UTC"))
    sizes = pa.array([*(video.size_bytes for video in videos), 0], pa.int64())
    names = [*(video.name for video in videos), ""]
    return str(write_scan(path, Path(listing.root), names, size_bytes=sizes, modified=modified))


def test_the_videos_of_a_scan_are_those_of_its_source_whatever_their_names_and_however_they_lie(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    make(source, " a.mp4", "b .mp4", "#c.mp4", " frames /1.png", " frames /2.png", "~/d.mp4", "e\n.mp4")
    make(source, "with/1.png", "with/2.png", "with/below/f.mp4")
    scan = scan_of(tmp_path / "scan.parquet", source)
    assert list(Listing([scan], where="seconds >= 0")) == list(Listing([str(source)]))
    assert len(list(Listing([scan]))) == 8
    below = next(number for number, name in enumerate(names_of(source)) if name == "with/below/f.mp4")
    left = {video.name for video in Listing([scan], where=f"seconds != {below}")}
    assert left == set(names_of(source)) - {"with/below/f.mp4"}


def test_a_scan_of_one_folder_of_images_leads_back_to_it(tmp_path: Path) -> None:
    make(tmp_path, "clip/1.png", "clip/2.png")
    scan = scan_of(tmp_path / "scan.parquet", tmp_path / "clip")
    assert list(Listing([scan])) == list(Listing([str(tmp_path / "clip")]))


def test_a_folder_of_images_that_a_scan_names_stays_in_the_source_that_was_scanned(tmp_path: Path) -> None:
    make(tmp_path, "else/1.png", "else/2.png", "videos/a.mp4", "videos/clip/1.png", "videos/clip/2.png")
    scan = scan_of(tmp_path / "scan.parquet", tmp_path / "videos")
    shutil.move(tmp_path / "videos/clip", tmp_path / "clip")
    (tmp_path / "videos/clip").symlink_to(tmp_path / "else")
    kinds = {video.name: video.error_kind for video in Listing([scan])}
    assert kinds == {"a.mp4": None, "clip": "unsafe"}
    assert {video.error for video in Listing([scan], follow_links=True)} == {None}


def test_it_is_said_where_a_condition_goes_by_what_has_changed_since_the_scan(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    make(source, "a.mp4", "b.mp4", "c.mp4", "clip/1.png", "clip/2.png")
    scan = scan_of(tmp_path / "scan.parquet", source)
    listing = Listing([scan], where="seconds >= 0")
    for _ in range(2):
        assert len(list(listing)) == 4
        assert listing.notices == []
    make(source, "clip/3.png")
    os.utime(source / "b.mp4", (1, 1))
    (source / "c.mp4").unlink()  # which is an error already
    for _ in range(2):
        list(listing)
        (notice,) = listing.notices
        assert notice.startswith(f"2 videos have changed since '{scan}' was written, such as b.mp4: --where goes by")
    whole = Listing([scan])
    list(whole)
    assert whole.notices == []


def test_a_condition_applies_to_any_list_in_parquet_and_to_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    pq.write_table(pa.table({"path": ["a.mp4", "b.mp4"], "good": [True, False], "x": [1, 2]}), tmp_path / "l.parquet")
    listing = Listing([str(tmp_path / "l.parquet")], where="good")
    assert [video.name for video in listing] == ["a.mp4"]
    assert list(listing.unused_columns.values()) == [("x",)]
    with pytest.raises(UsageError, match="no source is one"):
        Listing([str(tmp_path)], where="good")
    entries = write_list(tmp_path / "l.csv", "path,good", "a.mp4,1")
    with pytest.raises(UsageError, match="another"):
        list(Listing([str(entries)], where="good"))
    with pytest.raises(SourceError, match=r"no row of the list .* meets --where 'x > 5'"):
        list(Listing([str(tmp_path / "l.parquet")], where="x > 5"))
