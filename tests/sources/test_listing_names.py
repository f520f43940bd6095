"""Under which name a video is listed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment
from tests.sources.listing import make, names_of, write_list
from vidcnn.sources import Listing, SourceVideo


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
