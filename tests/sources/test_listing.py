"""From SOURCE arguments to videos: what is listed, under which name, and what is an error."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import environment
from vidcnn.errors import SourceError
from vidcnn.sources import Listing, SourceVideo, trees
from vidcnn.storage.retrying import RetryPolicy


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 10)


def names_of(*sources: object) -> list[str]:
    return [video.name for video in Listing([str(source) for source in sources])]


def write_list(path: Path, *entries: object) -> Path:
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return path


# Names


def test_a_video_is_listed_with_its_size_and_time(tmp_path: Path) -> None:
    make(tmp_path, "a/b.mp4")
    os.utime(tmp_path / "a/b.mp4", ns=(0, 1_700_000_000_123_456_789))
    assert list(Listing([str(tmp_path)])) == [
        SourceVideo("a/b.mp4", str(tmp_path / "a/b.mp4"), False, 10, 1_700_000_000_123_456_789, None, None)
    ]


def test_names_are_relative_to_the_folder_the_file_lies_in_or_the_glob_starts_from(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c.mp4")
    assert names_of(tmp_path) == ["a/b/c.mp4"]
    assert names_of(tmp_path / "a") == ["b/c.mp4"]
    assert names_of(tmp_path / "a/b/c.mp4") == ["c.mp4"]
    assert names_of(tmp_path / "a/*/c.mp4") == ["b/c.mp4"]
    assert names_of(f"{tmp_path}/**/*.mp4") == ["a/b/c.mp4"]


def test_names_do_not_depend_on_how_a_source_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/b.mp4")
    monkeypatch.chdir(tmp_path / "a")
    uri = (tmp_path / "a").as_uri()
    for source in (".", "./", "../a", "../a/.", f"/{tmp_path}/a/", f"{tmp_path}//a", uri, "*", "./*.mp4", "b.mp4"):
        (video,) = Listing([source])
        assert (video.name, video.location) == ("b.mp4", str(tmp_path / "a/b.mp4"))


NAMES_TWICE = """
import json
from vidcnn.sources import Listing
sources = ["-", "-", *{more}]
first, again = ([video.name for video in Listing(sources)] for _ in range(2))
assert first == again
print(json.dumps(first))
"""


def names_on_stdin(folder: Path, given: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    code = [sys.executable, "-c", NAMES_TWICE.format(more=more)]
    return subprocess.run(code, cwd=folder, env=environment(), input=given, capture_output=True, check=False)


def test_names_of_a_list_on_standard_input_are_relative_to_the_current_folder(tmp_path: Path) -> None:
    make(tmp_path, "here/a/b.mp4", "here/a/c.mp4", "other/d.mp4")
    given = f"./a/b.mp4\na\n{tmp_path}/other/d.mp4\na/b.mp4\n".encode()
    here = json.loads(names_on_stdin(tmp_path / "here", given).stdout)
    assert here == ["a/b.mp4", "a/c.mp4", f"{tmp_path}/other/d.mp4"]
    both = json.loads(names_on_stdin(tmp_path / "here", b"a/b.mp4\n", "../other").stdout)
    assert both == ["here/a/b.mp4", "other/d.mp4"]


def test_a_list_on_standard_input_without_entries_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    assert b"SourceError: the list on standard input has no entries" in names_on_stdin(tmp_path, b"\n# none\n").stderr


def test_a_file_with_the_name_of_standard_input_is_one_below_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "-")
    monkeypatch.chdir(tmp_path)
    assert names_of("./-") == ["-"]


def test_two_dots_after_a_link_lead_above_what_it_leads_to(tmp_path: Path) -> None:
    make(tmp_path, "real/sub/a.mp4", "real/b.mp4", "c.mp4")
    (tmp_path / "link").symlink_to("real/sub")
    assert names_of(tmp_path / "link/../b.mp4") == ["b.mp4"]
    assert names_of(f"{tmp_path}/link/..") == ["b.mp4", "sub/a.mp4"]
    (video,) = Listing([str(tmp_path / "link")])
    assert video.location == str(tmp_path / "link/a.mp4")


def test_names_of_several_sources_are_relative_to_their_common_folder_in_any_order(tmp_path: Path) -> None:
    make(tmp_path, "x/a/1.mp4", "x/b/1.mp4", "x/c.mp4", "x/d/e/f.dat", "x/g/h.mp4")
    entries = write_list(tmp_path / "x/g/list.txt", "h.mp4")
    sources = [tmp_path / "x/a", tmp_path / "x/b", tmp_path / "x/c.mp4", f"{tmp_path}/x/d/*/*", entries]
    expected = ["c.mp4", "d/e/f.dat", "g/h.mp4", "a/1.mp4", "b/1.mp4"]
    for order in itertools.permutations(sources):
        assert names_of(*order) == expected


def test_a_video_that_two_sources_reach_is_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "a/b/2.mp4", "a/b/3.dat")
    (tmp_path / "a/alias").symlink_to("b")
    entries = write_list(tmp_path / "a/list.txt", "b/2.mp4", "b")
    sources = [
        tmp_path / "a",
        tmp_path / "a/b",
        tmp_path / "a/1.mp4",
        f"{tmp_path}/a/**/*.mp4",
        entries,
        tmp_path / "a",
    ]
    for order in (sources, sources[::-1]):
        assert names_of(*order) == ["1.mp4", "b/2.mp4"]
    assert names_of(tmp_path / "a/b", tmp_path / "a") == ["1.mp4", "b/2.mp4"]
    assert names_of(tmp_path / "a/1.mp4", tmp_path / "a/1.mp4") == ["1.mp4"]


def test_a_name_that_is_not_utf8_is_escaped_and_stays_apart_from_its_twin(tmp_path: Path) -> None:
    for name in (b"caf\xe9.mp4", rb"caf\xe9.mp4", b"\\\xe9.mp4", "café.mp4".encode(), b"new\nline.mp4"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    videos = {video.name: os.fsencode(video.location) for video in Listing([str(tmp_path)])}
    here = os.fsencode(tmp_path) + b"/"
    assert videos == {
        r"caf\xe9.mp4": here + b"caf\xe9.mp4",
        r"caf\\xe9.mp4": here + rb"caf\xe9.mp4",
        r"\\\xe9.mp4": here + b"\\\xe9.mp4",
        "café.mp4": here + "café.mp4".encode(),
        "new\nline.mp4": here + b"new\nline.mp4",
    }
    assert all(os.path.exists(location) for location in videos.values())


def test_a_file_whose_name_is_not_utf8_can_be_named_by_source_list_and_glob(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    file.touch()
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    for source in (file, tmp_path / "list.txt", tmp_path / "*.mp4"):
        assert names_of(source) == [r"caf\xe9.mp4"]


# Folders of frames


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


# Files, globs and lists


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


# What cannot be read


def test_an_entry_that_does_not_exist_is_a_row(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    entries = write_list(tmp_path / "list.txt", "gone.mp4", "a.mp4", "http://host/x.mp4", "s3:///nothing")
    missing, good, web, nothing = Listing([str(entries)])
    assert missing == SourceVideo("gone.mp4", str(tmp_path / "gone.mp4"), False, 0, 0, "unreadable", "does not exist")
    assert (good.name, good.error_kind, good.error) == ("a.mp4", None, None)
    assert (web.name, web.error_kind) == ("http://host/x.mp4", "unreadable")
    assert web.error == "cannot be read: http:// is not one of s3://, gs://, gcs://"
    assert (nothing.name, nothing.error) == ("s3:///nothing", "cannot be read: it names no bucket")


def test_an_entry_that_no_file_can_have_is_a_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["nul\0.mp4", "x" * 300]}), tmp_path / "l.parquet")
    first, second = Listing([str(tmp_path / "l.parquet")])
    assert (first.error_kind, first.error) == ("unreadable", "cannot be read: embedded null byte")
    assert (second.error_kind, second.error) == ("unreadable", "cannot be read: file name too long")


def test_a_source_that_is_a_broken_link_or_a_pipe_is_a_row(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    (tmp_path / "broken.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    videos = list(Listing([str(tmp_path / name) for name in ("a.mp4", "broken.mp4", "pipe.mp4")]))
    assert [video.error_kind for video in videos] == [None, "unreadable", "unreadable"]
    assert [video.error for video in videos] == [None, "is a broken symbolic link", "is not a regular file"]


def test_an_unreadable_folder_below_a_source_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4", "secret/b.mp4")
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        if path == str(tmp_path / "secret"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(trees, "LOOK_TRIES", RetryPolicy(num_tries=2, first_wait_seconds=0))
    _, refused = Listing([str(tmp_path)])
    assert refused.error_kind is None  # its own mode lets it be read: it is the storage that does not
    (tmp_path / "secret").chmod(0)
    good, bad = Listing([str(tmp_path)])
    assert good.name == "a.mp4"
    assert bad == SourceVideo(
        "secret", str(tmp_path / "secret"), False, 0, 0, "unreadable", "cannot be read: permission denied"
    )
    with pytest.raises(SourceError, match="secret' cannot be read: permission denied"):
        Listing([str(tmp_path / "secret")])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", r"'.*/gone' does not exist"),
        ("gone.mp4", r"'.*/gone\.mp4' does not exist"),
        ("*.avi", r"nothing matches '.*/\*\.avi'"),
        ("gone/*.mp4", r"nothing matches"),
        ("a.mp4/*", r"nothing matches"),
        ("a.mp4/b.mp4", r"cannot be read: not a directory"),
    ],
)
def test_a_source_that_is_not_there_is_an_error_at_once(tmp_path: Path, source: str, message: str) -> None:
    make(tmp_path, "a.mp4")
    with pytest.raises(SourceError, match=message) as caught:
        Listing([str(tmp_path / "a.mp4"), str(tmp_path / source)])
    assert caught.value.hint


def test_no_source_and_an_empty_source_are_errors() -> None:
    with pytest.raises(ValueError, match="sources is empty"):
        Listing([])
    with pytest.raises(SourceError, match="empty string"):
        Listing([""])


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    listing = Listing([str(write_list(tmp_path / "list.txt", "", "# nothing"))])
    with pytest.raises(SourceError, match=r"list\.txt' has no entries"):
        list(listing)


def test_a_folder_without_video_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    with pytest.raises(SourceError, match=r"top' contains no video \(nor any other file\)"):
        names_of(tmp_path / "top")
    make(tmp_path, *[f"top/{name}" for name in ("a.TXT", "b.txt", "c", "d.mp3", "e.f", "g.h", "i.j", "k/l.m")])
    with pytest.raises(SourceError) as caught:
        names_of(tmp_path / "top")
    expected = "8 files that are not video by their name (2 .txt, 1 without extension, 1 .f, 1 .h, 1 .j, ...)"
    assert caught.value.message == f"'{tmp_path}/top' contains no video, only {expected}"
    assert "by a glob" in caught.value.hint


def test_columns_of_a_list_that_are_not_used_are_named(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    segments = tmp_path / "segments.csv"
    segments.write_text("path,start, \x1b[2J,,end\na.mp4,1,,,2\n")
    bare, plain = tmp_path / "bare.csv", tmp_path / "plain.csv"
    bare.write_text("a.mp4,1\n")
    plain.write_text("path\na.mp4\n")
    pq.write_table(pa.table({"label": ["x"], "video": ["a.mp4"]}), tmp_path / "t.parquet")
    listing = Listing(list(map(str, (segments, bare, plain, tmp_path / "t.parquet"))))
    for _ in range(2):
        assert len(list(listing)) == 1
        assert listing.unused_columns == {
            str(segments): ("start", " \\x1b[2J", "end"),
            str(tmp_path / "t.parquet"): ("label",),
        }
    segments.write_text("path\na.mp4\n")
    list(listing)
    assert str(segments) not in listing.unused_columns


def test_of_several_folders_those_without_video_are_named_and_the_others_listed(tmp_path: Path) -> None:
    make(tmp_path, "full/a.mp4", "full/sub/b.mp4", "bare/notes.txt", "full2/c.mp4")
    listing = Listing([str(tmp_path / name) for name in ("full", "bare", "full2", "full/sub")])
    assert len(list(listing)) == 3
    assert listing.empty_sources == [str(tmp_path / "bare")]
    make(tmp_path, "bare/late.mp4")
    assert len(list(listing)) == 4
    assert listing.empty_sources == []
    (tmp_path / "other").mkdir()
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="the 2 sources contain no video"):
        names_of(tmp_path / "other", tmp_path / "none", f"{tmp_path}/full/..//other/")


# Streaming


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
