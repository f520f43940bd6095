from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.s3 import Server
from vidcnn.errors import SourceError
from vidcnn.sources.arguments import absolute_path, look_up, resolve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("videos/a.mp4", "videos/b[1].mp4", "videos/deep/c.mp4", "list.txt", "table.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("videos", "folder", "videos"),
        ("videos/", "folder", "videos"),
        ("videos/a.mp4", "file", "videos/a.mp4"),
        ("list.txt", "list", "list.txt"),
        ("table.csv", "list", "table.csv"),
        ("videos/*.mp4", "glob", "videos"),
        ("videos/**/c.mp4", "glob", "videos"),
        ("gone.mp4", "file", "gone.mp4"),
    ],
)
def test_what_a_source_is_shows_in_one_look(folder: Path, text: str, kind: str, path: str) -> None:
    source = look_up(text)
    assert (source.kind, source.path, source.shown) == (kind, str(folder / path), text)
    assert source.base == str(folder / path if kind in ("folder", "glob") else (folder / path).parent)


def test_what_exists_under_its_literal_name_is_no_glob(folder: Path) -> None:
    assert look_up("videos/b[1].mp4").kind == "file"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "a source is the empty string", "name a folder, a file, a glob, a list or a URI"),
        ("no.mp4", "'no.mp4' does not exist", "check the path; relative ones start from "),
        ("videos/*.avi", "nothing matches 'videos/*.avi'", "case counts, and only ** goes down into sub-folders"),
        ("ftp://x/y", "'ftp://x/y' cannot be read: ", "check the URI"),
    ],
)
def test_a_source_that_is_none_is_an_error_with_what_to_check(text: str, message: str, hint: str) -> None:
    with pytest.raises(SourceError) as raised:
        look_up(text)
    assert raised.value.message.startswith(message)
    assert raised.value.hint.startswith(hint)


def test_the_same_source_written_twice_has_the_same_key(folder: Path) -> None:
    assert look_up("videos").key == look_up("./videos/").key == look_up(f"file://{folder}/videos").key
    assert look_up("videos/*.mp4").key != look_up("videos/b*.mp4").key


@pytest.mark.parametrize(
    ("path", "base", "location"),
    [
        ("x/a.mp4", "/data", "/data/x/a.mp4"),
        ("../a.mp4", "/data/lists", "/data/a.mp4"),
        ("/other/a.mp4", "/data", "/other/a.mp4"),
        ("file:///other/a%20b.mp4", "/data", "/other/a b.mp4"),
        ("../a.mp4", "s3://b/lists?region=x", "s3://b/a.mp4?region=x"),
        ("s3://c/a.mp4", "/data", "s3://c/a.mp4"),
        ("/other/a.mp4", "s3://b/lists", "/other/a.mp4"),
    ],
)
def test_a_path_is_meant_relative_to_its_base(path: str, base: str, location: str) -> None:
    assert resolve(path, base) == location


def test_the_folder_above_a_link_is_that_above_what_it_leads_to(folder: Path) -> None:
    (folder / "elsewhere" / "inside").mkdir(parents=True)
    (folder / "link").symlink_to("elsewhere/inside")
    assert absolute_path("link/../x.mp4") == str(folder / "elsewhere" / "x.mp4")
    assert absolute_path("link/x.mp4") == str(folder / "link" / "x.mp4")
    assert absolute_path("//a/b") == os.path.abspath("/a/b")


def test_sources_in_object_storage_are_looked_up_there(s3: Server) -> None:
    s3.put("videos/a.mp4", "videos/list.txt")
    kinds = {text: look_up(f"s3://bkt/{text}{s3.query}") for text in ("videos", "videos/a.mp4", "videos/*.mp4")}
    assert [source.kind for source in kinds.values()] == ["folder", "file", "glob"]
    assert kinds["videos"].shown == "s3://bkt/videos"
    with pytest.raises(SourceError, match="'s3://bkt/no' does not exist"):
        look_up(f"s3://bkt/no{s3.query}")
