"""Folders of S3 are listed page by page, with the same names, sizes and times as pyarrow has for them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError
from pyarrow.fs import FileInfo, FileSelector, FileType

from tests.s3 import Server
from vidcnn.sources.trees import Contents, RemoteTree, merged, open_tree
from vidcnn.sources.walk import Found, walk
from vidcnn.storage import s3_pages
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.storage.s3_pages import Listed, PagedListing
from vidcnn.storage.uris import open_filesystem, split_uri
from vidcnn.video.files import file_version


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_pages, "_PAGE_SIZE", 3)
    monkeypatch.setattr(s3_pages, "_TRIES", RetryPolicy(num_tries=3, first_wait_seconds=0.0))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prefixes that were asked for, once for each page."""
    prefixes: list[str] = []
    ask = PagedListing._ask

    def noting(listing: PagedListing, bucket: str, prefix: str, **options: Any) -> Any:
        prefixes.append(prefix)
        return ask(listing, bucket, prefix, **options)

    monkeypatch.setattr(PagedListing, "_ask", noting)
    return prefixes


def pages(s3: Server, folder: str) -> list[list[Listed]] | None:
    opened = PagedListing(split_uri(f"s3://bkt{s3.query}")).open(folder)
    return None if opened is None else list(opened)


def found(s3: Server, folder: str, ignored: Counter[str] | None = None) -> Iterator[Found]:
    tree, path = open_tree(f"s3://bkt/{folder}{s3.query}")
    return walk(tree, [path], Counter() if ignored is None else ignored)


def contents(s3: Server, folder: str) -> Contents:
    tree, path = open_tree(f"s3://bkt/{folder}{s3.query}")
    return merged(tree.read(path, bool, bool))


def test_sizes_and_times_are_those_of_pyarrow_to_the_nanosecond(s3: Server) -> None:
    for number in range(8):
        s3.put(f"v/{number}.mp4", body=b"x" * (number + 1))
    s3.put("v/caf\u00e9 +%2B.mp4", "v/below/z.mp4")
    listed = [item for page in pages(s3, "bkt/v") or [] for item in page]
    filesystem, path = open_filesystem(f"s3://bkt/v{s3.query}")
    infos = filesystem.get_file_info(FileSelector(path))
    expected = {
        Listed(info.base_name, info.type == FileType.Directory, info.size or 0, info.mtime_ns or 0) for info in infos
    }
    assert {item._replace(mtime_ns=0) if item.is_folder else item for item in listed} == {
        item._replace(mtime_ns=0) if item.is_folder else item for item in expected
    }
    assert len(listed) == 10


def test_videos_of_a_page_are_found_before_the_next_page_is_asked_for(s3: Server, asked: list[str]) -> None:
    s3.put(*(f"v/{number:02}.mp4" for number in range(10)), "v/05a/x.mp4")
    videos = found(s3, "v")
    assert next(videos).path == "bkt/v/00.mp4"
    assert asked == ["v/"]
    names = ["00", *(video.path[6:-4] for video in videos)]
    assert names == [*(f"{number:02}" for number in range(10)), "05a/x"]
    assert asked == ["v/"] * 4 + ["v/05a/"]


def test_images_over_many_pages_are_one_video_unless_there_is_a_video_among_them(s3: Server, asked: list[str]) -> None:
    s3.put(*(f"v/{number:04}.png" for number in range(10)))
    (video,) = found(s3, "v")
    assert (video.path, video.is_frame_folder, video.status.size_bytes) == ("bkt/v", True, 100)
    assert asked == ["v/"] * 4  # no image was looked at by itself
    s3.put("v/z.mp4")
    assert [(video.path[6:], video.is_frame_folder) for video in found(s3, "v")] == [
        *((f"{number:04}.png", False) for number in range(10)),
        ("z.mp4", False),
    ]


def test_empty_objects_are_videos_unless_they_mark_a_folder_of_any_page(s3: Server) -> None:
    s3.put("v/", "v/a.mp4", "v/b.mp4", "v/c_$folder$", body=b"")
    s3.put("v/a.mp4 1", "v/a.mp4-2", "v/a.mp4.3", "v/a.mp4/x.mp4", "v/d.mp4", "v//lost.mp4")
    ignored: Counter[str] = Counter()
    videos = list(found(s3, "v", ignored))
    assert [video.path for video in videos if not video.status.error] == [
        "bkt/v/d.mp4", "bkt/v/b.mp4", "bkt/v/a.mp4/x.mp4"
    ]  # fmt: skip
    assert [video.status.error for video in videos if video.status.error] == [
        "cannot be read: these keys have an empty part"
    ]
    assert ignored.total() == 3  # what begins with a.mp4, and goes on


def test_a_folder_that_is_empty_or_not_there_is_left_to_pyarrow(s3: Server, asked: list[str]) -> None:
    s3.put("v/a.mp4")
    assert pages(s3, "bkt/none") is None
    assert pages(s3, "none/v") is None
    assert contents(s3, "none").error == "does not exist"
    assert len(asked) == 3


def test_without_a_login_or_without_boto_pyarrow_lists_and_it_is_not_tried_again(
    s3: Server, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("v/a.mp4", "v/b/c.mp4", "v/d/e.mp4")

    def fail(*_: Any, **__: Any) -> Any:
        asked.append("failed")
        raise NoCredentialsError

    with monkeypatch.context() as patch:
        patch.setattr(PagedListing, "_ask", fail)
        assert len(list(found(s3, "v"))) == 3
        assert asked == ["failed"]
    s3_pages.paged_listing.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "boto3", None)
        assert len(list(found(s3, "v"))) == 3
        assert len(asked) == 2


def test_a_page_that_fails_is_asked_for_again_and_then_the_folder_has_an_error(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(*(f"v/{number}.mp4" for number in range(8)), *(f"frames/{number}.png" for number in range(8)))
    ask, failures = PagedListing._ask, [1, 1, 0, 1, 0]

    def failing(listing: PagedListing, *given: Any, **options: Any) -> Any:
        if failures and failures.pop():
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "too much"}}, "ListObjectsV2")
        return ask(listing, *given, **options)

    monkeypatch.setattr(PagedListing, "_ask", failing)
    assert contents(s3, "v").files == [f"{number}.mp4" for number in range(8)]
    failures += [1, 1, 1, 0]
    broken = contents(s3, "v")
    assert (broken.files, broken.error_kind) == (["0.mp4", "1.mp4", "2.mp4"], None)
    assert "SlowDown" in str(broken.error)
    failures += [1, 1, 1, 0]
    *videos, last = found(s3, "v")
    assert [video.path for video in videos] == [f"bkt/v/{number}.mp4" for number in range(3)]
    assert (last.path, last.status.error_kind, bool(last.status.error)) == ("bkt/v", None, True)
    failures += [1, 1, 1, 0]
    (only,) = found(s3, "frames")  # whose images may be one video
    assert (only.path, only.is_frame_folder, only.status.error_kind, bool(only.status.error)) == (
        "bkt/frames", False, None, True
    )  # fmt: skip
    failures += [1]  # the first page too is asked for again
    assert len(contents(s3, "v").files) == 8


@pytest.mark.parametrize("later", [False, True])
def test_an_answer_that_is_none_is_a_failure_of_the_storage(
    later: bool, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(*(f"v/{number}.mp4" for number in range(8)))
    ask = PagedListing._ask

    def broken(listing: PagedListing, *given: Any, **options: Any) -> Any:
        if bool(options) == later:
            raise ResponseParserError("a page of HTML")
        return ask(listing, *given, **options)

    monkeypatch.setattr(PagedListing, "_ask", broken)
    listed = contents(s3, "v")
    assert (len(listed.files), bool(listed.error), listed.error_kind) == (
        (3, True, None) if later else (8, False, listed.error_kind)
    )


def test_a_client_is_made_once_for_a_bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("v/a.mp4", "w/b.mp4")
    made: list[Any] = []
    make = s3_pages._client
    monkeypatch.setattr(s3_pages, "_client", lambda uri: made.append(uri) or make(uri))
    with ThreadPoolExecutor(4) as pool:
        assert [each.files for each in pool.map(lambda folder: contents(s3, folder), "vwvwvw")] == [
            ["a.mp4"], ["b.mp4"]
        ] * 3  # fmt: skip
    assert len(made) == 1


@pytest.mark.parametrize("is_paged", [True, False])
def test_a_file_has_one_time_whether_it_was_listed_or_looked_at(
    is_paged: bool, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers list fractions of seconds, and none tells them of one object: HTTP dates have whole seconds."""
    s3.put("v/a.mp4")
    ask = PagedListing._ask

    def with_fractions(listing: PagedListing, *given: Any, **options: Any) -> Any:
        answer = ask(listing, *given, **options)
        for item in answer["Contents"]:
            item["LastModified"] = item["LastModified"].replace(microsecond=821_987)
        return answer if is_paged else {}

    monkeypatch.setattr(PagedListing, "_ask", with_fractions)
    tree, path = open_tree(f"s3://bkt/v{s3.query}")
    assert isinstance(tree, RemoteTree)
    if not is_paged:
        whole = tree._filesystem
        tree._filesystem = SimpleNamespace(
            get_file_info=lambda what: [_later(info) for info in whole.get_file_info(what)]
        )
    (status,) = merged(tree.read(path, bool, bool)).statuses.values()
    size_bytes, mtime_ns = file_version(f"s3://bkt/v/a.mp4{s3.query}")
    assert (status.size_bytes, status.mtime_ns) == (size_bytes, mtime_ns)


def _later(info: FileInfo) -> FileInfo:
    return FileInfo(info.path, info.type, mtime_ns=info.mtime_ns + 821_000_000, size=info.size)
