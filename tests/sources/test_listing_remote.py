"""Sources in object storage, against a local S3 server."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.s3 import Server
from vidcnn.errors import SourceError
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.names import HIDDEN_FILES, HIDDEN_FOLDERS, file_name
from vidcnn.sources.trees import open_tree
from vidcnn.sources.walk import list_frames
from vidcnn.storage.uris import open_filesystem


def names_of(*sources: str) -> list[str]:
    return [video.name for video in Listing(sources)]


ODD_KEYS = (
    "a b.mp4", "a%20b.mp4", "plus+.mp4", "why?.mp4", "x?page=2.mp4", "hash#1.mp4", "quo'te\"s.mp4", "back\\slash.mp4",
    r"caf\xe9.mp4", "caf\u00e9.mp4", "cafe\u0301.mp4", "tab\t.mp4", "user:name@host.mp4", "[1]*.mp4", "\u65e5.mp4",
)  # fmt: skip


def test_keys_with_odd_characters_keep_their_names_which_lead_back_to_them(s3: Server) -> None:
    s3.put(*(f"odd/{key}" for key in ODD_KEYS))
    videos = list(Listing([f"s3://bkt/odd/{s3.query}"]))
    assert {file_name(video.name) for video in videos} == {f"s3://bkt/odd/{key}" for key in ODD_KEYS}
    for video in videos:
        assert names_of(file_name(video.name) + s3.query) == [video.name]


def test_a_login_in_a_source_is_in_no_name_and_in_no_message(s3: Server) -> None:
    s3.put("v/a.mp4")
    login = "KEY:hu/sh+y="
    assert names_of(f"s3://{login}@bkt/v{s3.query}") == ["s3://bkt/v/a.mp4"]
    for source in (
        f"s3://{login}@bkt/none{s3.query}",
        f"s3://{login}@bkt/*.avi{s3.query}",
        f"s3://{login}",
        "s3://K:hu/sh",
    ):
        with pytest.raises(SourceError) as caught:
            names_of(source)
        assert "sh" not in str(caught.value)


def test_a_login_in_a_list_is_in_no_name(s3: Server, tmp_path: Path) -> None:
    s3.put("v/a.mp4")
    (tmp_path / "list.txt").write_text(
        f"s3://KEY:hu/sh@bkt/v/a.mp4{s3.query}\ns3://KEY:hu/sh@bkt/v/none.mp4{s3.query}\n"
        "s3://bkt/v/a.mp4?secret_key=hush\nhttps://KEY:hush@host/x.mp4\nhttps://host/x.mp4?X-Amz-Signature=hush\n"
    )
    videos = list(Listing([str(tmp_path / "list.txt")]))
    assert [video.name for video in videos[:2]] == ["s3://bkt/v/a.mp4", "s3://bkt/v/none.mp4"]
    assert len({video.name for video in videos}) == 5
    assert not [video for video in videos if "sh" in f"{video.name} {video.error}"]


def test_a_folder_of_objects_is_listed_under_full_uris(s3: Server) -> None:
    s3.put("v/b.mp4", "v/a/c.mp4", "v/a.mp4", "v/.hidden.mp4", "v/.h/d.mp4", "v/notes.TXT", "other.mp4")
    listing = Listing([f"s3://bkt/v/{s3.query}"])
    videos = list(listing)
    assert [video.name for video in videos] == ["s3://bkt/v/a.mp4", "s3://bkt/v/b.mp4", "s3://bkt/v/a/c.mp4"]
    assert listing.ignored == {"txt": 1, HIDDEN_FILES: 1, HIDDEN_FOLDERS: 1}
    first = videos[0]
    assert first == SourceVideo(
        "s3://bkt/v/a.mp4", f"s3://bkt/v/a.mp4{s3.query}", False, 10, first.mtime_ns, None, None
    )
    assert first.mtime_ns > 1_500_000_000 * 10**9


def test_a_location_opens_with_the_options_of_its_source(s3: Server) -> None:
    s3.put("v/a b%20c?.mp4", body=b"content")
    (video,) = Listing([f"s3://bkt/v{s3.query}"])
    assert video.name == "s3://bkt/v/a b%20c?.mp4"
    filesystem, path = open_filesystem(video.location)
    with filesystem.open_input_file(path) as file:
        assert file.read() == b"content"


def test_the_endpoint_may_come_from_the_environment(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.host}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3.put("v/a.mp4")
    (video,) = Listing(["s3://bkt"])
    assert (video.name, video.location) == ("s3://bkt/v/a.mp4", "s3://bkt/v/a.mp4")


def test_credentials_in_a_uri_stay_out_of_names(s3: Server) -> None:
    s3.put("a.mp4")
    (video,) = Listing([f"s3://id:secret@bkt/a.mp4{s3.query}"])
    assert video.name == "s3://bkt/a.mp4"
    assert video.location == f"s3://id:secret@bkt/a.mp4{s3.query}"


def test_an_object_counts_whatever_its_extension(s3: Server) -> None:
    s3.put("v/a.dat")
    assert names_of(f"s3://bkt/v/a.dat{s3.query}") == ["s3://bkt/v/a.dat"]


def test_objects_that_only_mark_folders_are_skipped(s3: Server) -> None:
    s3.put("v/", "v/empty/", "v/sub.mp4/", "v/clip.mp4", "v/old_$folder$", body=b"")
    s3.put("v/clip.mp4/x.mp4", "v/sub.mp4/y.mp4")
    s3.put("v/truly_empty.mp4", body=b"")
    listing = Listing([f"s3://bkt/v{s3.query}"])
    assert [video.name.removeprefix("s3://bkt/v/") for video in listing] == (
        ["truly_empty.mp4", "clip.mp4/x.mp4", "sub.mp4/y.mp4"]
    )
    assert not listing.ignored


def test_an_object_with_content_is_a_video_even_if_there_is_a_folder_of_its_name(s3: Server) -> None:
    s3.put("v/a.mp4", "v/a.mp4/b.mp4")
    assert names_of(f"s3://bkt/v{s3.query}") == ["s3://bkt/v/a.mp4", "s3://bkt/v/a.mp4/b.mp4"]


def test_keys_with_an_empty_part_are_a_row(s3: Server) -> None:
    s3.put("v/a.mp4", "v//b.mp4", "v//c/d.mp4", "v/z/e.mp4")
    good, bad, deep = Listing([f"s3://bkt/v{s3.query}"])
    assert (good.name, deep.name) == ("s3://bkt/v/a.mp4", "s3://bkt/v/z/e.mp4")
    assert (bad.name, bad.error_kind) == ("s3://bkt/v//*", "unreadable")
    assert bad.error == "cannot be read: these keys have an empty part"


def test_a_folder_of_numbered_images_is_one_video(s3: Server) -> None:
    s3.put("v/clip/10.jpg", "v/clip/9.jpg", "v/single/1.jpg")
    clip, image = Listing([f"s3://bkt/v{s3.query}"])
    assert (clip.name, clip.is_frame_folder, clip.size_bytes) == ("s3://bkt/v/clip", True, 20)
    assert clip.mtime_ns > 0
    assert (image.name, image.is_frame_folder) == ("s3://bkt/v/single/1.jpg", False)
    frames = [f"s3://bkt/v/clip/{number}.jpg{s3.query}" for number in (9, 10)]
    assert list_frames(clip.location) == frames
    assert list(Listing([clip.location])) == [clip]


def test_a_glob_matches_objects(s3: Server) -> None:
    s3.put("cam1/2024/a.mp4", "cam2/2024/b.dat", "cam2/2025/c.mp4", "other/2024/d.mp4")
    expected = ["s3://bkt/cam1/2024/a.mp4", "s3://bkt/cam2/2024/b.dat"]
    assert names_of(f"s3://bkt/cam*/2024/*{s3.query}") == expected
    assert names_of(f"s3://bkt/**/c.mp4{s3.query}") == ["s3://bkt/cam2/2025/c.mp4"]
    assert names_of(f"s3://bkt/cam*{s3.query}") == ["s3://bkt/cam1/2024/a.mp4", "s3://bkt/cam2/2025/c.mp4"]


def test_a_list_in_object_storage_names_objects_relative_to_itself(s3: Server, tmp_path: Path) -> None:
    s3.put("l/v/a.mp4", "b.mp4")
    (tmp_path / "c.mp4").touch()
    entries = ["v/a.mp4", "../b.mp4", "v/gone.mp4", str(tmp_path / "c.mp4")]
    s3.put("l/list.txt", body="\n".join(entries).encode())
    table = io.BytesIO()
    pq.write_table(pa.table({"path": entries}), table)
    s3.put("l/list.parquet", body=table.getvalue())
    for name in ("list.txt", "list.parquet"):
        videos = list(Listing([f"s3://bkt/l/{name}{s3.query}"]))
        assert [video.name for video in videos] == (
            ["s3://bkt/l/v/a.mp4", "s3://bkt/b.mp4", "s3://bkt/l/v/gone.mp4", str(tmp_path / "c.mp4")]
        )
        assert [video.error for video in videos] == [None, None, "does not exist", None]


def test_a_local_list_may_name_objects_and_folders_of_objects(s3: Server, tmp_path: Path) -> None:
    s3.put("a.mp4", "v/b.mp4", "v/c.mp4")
    (tmp_path / "d.mp4").touch()
    entries = [f"s3://bkt/v{s3.query}", "d.mp4", f"s3://bkt/a.mp4{s3.query}", f"s3://bkt/v/b.mp4{s3.query}"]
    (tmp_path / "list.txt").write_text("\n".join(entries))
    assert names_of(str(tmp_path / "list.txt")) == (["s3://bkt/v/b.mp4", "s3://bkt/v/c.mp4", "d.mp4", "s3://bkt/a.mp4"])


def test_sources_of_several_storages_are_listed_together(s3: Server, tmp_path: Path) -> None:
    s3.put("v/a.mp4", "w/b.mp4")
    (tmp_path / "c.mp4").touch()
    (tmp_path / "d.mp4").touch()
    sources = [f"s3://bkt/v{s3.query}", str(tmp_path), f"s3://bkt/w{s3.query}", f"s3://bkt/v/a.mp4{s3.query}"]
    expected = ["s3://bkt/v/a.mp4", "c.mp4", "d.mp4", "s3://bkt/w/b.mp4"]
    assert names_of(*sources) == names_of(*sources[::-1]) == expected


def test_only_the_folders_on_the_way_are_listed(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("v/2024/a.mp4", "v/2025/b.mp4", "w/c.mp4")
    tree, _ = open_tree(f"s3://bkt{s3.query}")
    read: list[str] = []
    real_read = type(tree).read

    def spy(self: object, folder: str, *keep: object) -> object:
        read.append(folder)
        return real_read(self, folder, *keep)  # type: ignore[arg-type]

    monkeypatch.setattr(type(tree), "read", spy)
    listing = Listing([f"s3://bkt/v/2024/*.mp4{s3.query}"])
    read.clear()
    videos = iter(listing)
    assert next(videos).name == "s3://bkt/v/2024/a.mp4"
    assert read == ["bkt/v/2024"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://bkt/gone.mp4", r"'s3://bkt/gone\.mp4' does not exist"),
        ("s3://nobucket/v", r"'s3://nobucket/v' does not exist"),
        ("s3://bkt/*.avi", r"nothing matches 's3://bkt/\*\.avi'"),
        ("s3://bkt/v//b.mp4", r"cannot be read: Empty path component in path bkt/v//b\.mp4"),
    ],
)
def test_an_object_that_is_not_there_is_an_error_in_one_line(s3: Server, source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        Listing([source + s3.query])
    assert "\n" not in str(caught.value)
    assert s3.host not in str(caught.value)


def test_a_scheme_that_is_not_known_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"'http://host/x\.mp4' cannot be read: http:// is not one of"):
        Listing(["http://host/x.mp4"])


def test_storage_that_cannot_be_reached_is_an_error_in_one_line(s3: Server) -> None:
    with pytest.raises(SourceError, match=r"'s3://bkt/v' cannot be read: .*NETWORK_CONNECTION") as caught:
        Listing(["s3://bkt/v?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"])
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_listed_is_an_error_if_it_is_the_only_source(s3: Server, tmp_path: Path) -> None:
    s3.put("v/a.mp4")
    (tmp_path / "b.mp4").touch()
    remote = f"s3://bkt/v{s3.query}"
    alone, together = Listing([remote]), Listing([remote, str(tmp_path)])
    s3.request("POST", "moto-api/reset")
    with pytest.raises(SourceError, match=r"'s3://bkt/v' cannot be read: .*NO_SUCH_BUCKET") as caught:
        list(alone)
    assert "Request ID" not in str(caught.value)
    local, bad = together
    assert (local.name, local.error) == ("b.mp4", None)
    assert (bad.name, bad.error_kind) == ("s3://bkt/v", None)  # the storage's fault: no row is made of it
    assert "NO_SUCH_BUCKET" in (bad.error or "")
