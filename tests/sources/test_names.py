"""Names: kinds of files, numbered sequences, and writing names down."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.sources.names import (
    HIDDEN_FILES,
    HIDDEN_FOLDERS,
    IMAGE_EXTENSIONS,
    KNOWN_FOLDERS,
    VIDEO_EXTENSIONS,
    extension,
    file_name,
    left_out_text,
    media_kind,
    numbered_frames,
    readable_name,
    utf8_name,
)

raw_names = st.lists(st.sampled_from([b"\\", b"x", b"e9", b"\xe9", b"\xc3\xa9", b"a", b"\n", b"\xff", b"8"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mp4", "mp4"), ("A.MP4", "mp4"), ("a.tar.gz", "gz"), ("a", ""), (".mp4", ""), ("a.", ""), ("", "")],
)
def test_the_extension_is_lower_case_and_empty_where_there_is_none(name: str, expected: str) -> None:
    assert extension(name) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, "video") for name in ("a.mp4", "a.MOV", "a.h264", "a.gif", "a.ps", "a.b.mkv")],
        *[(name, "image") for name in ("a.jpg", "a.WebP", "a.heic")],
        *[(name, None) for name in ("a.mp3", "a.txt", "mp4", "a.mp4.part", "a", ".mp4")],
    ],
)
def test_the_kind_of_a_file_follows_from_its_extension(name: str, kind: str | None) -> None:
    assert media_kind(name) == kind


def test_no_extension_is_both_video_and_image_and_all_are_lower_case() -> None:
    assert not VIDEO_EXTENSIONS & IMAGE_EXTENSIONS
    assert all(suffix == suffix.lower() and suffix.isalnum() for suffix in VIDEO_EXTENSIONS | IMAGE_EXTENSIONS)


@pytest.mark.parametrize("name", ["list.m3u8", "script.ffconcat", "script.avs", "session.sdp", "movie.swf"])
def test_files_that_make_a_decoder_open_other_files_are_not_taken_for_videos(name: str) -> None:
    assert media_kind(name) is None


@given(
    prefix=st.text(alphabet="ab_-é .0/", max_size=6),
    numbers=st.sets(st.integers(0, 10**30), min_size=2, max_size=20),
    width=st.integers(0, 12),
    suffix=st.sampled_from(["jpg", "png"]),
    seed=st.integers(),
)
def test_names_that_differ_in_their_number_alone_are_ordered_by_it(
    prefix: str, numbers: set[int], width: int, suffix: str, seed: int
) -> None:
    prefix = prefix.rstrip("0")
    expected = [f"{prefix}{number:0{width}}.{suffix}" for number in sorted(numbers)]
    shuffled = random.Random(seed).sample(expected, len(expected))
    assert numbered_frames(shuffled) == expected


@given(st.lists(st.text(alphabet="a1.0/b", max_size=6)))
def test_a_sequence_is_a_permutation_of_what_was_given_and_does_not_depend_on_its_order(names: list[str]) -> None:
    frames = numbered_frames(names)
    assert frames is None or sorted(frames) == sorted(names)
    assert numbered_frames(reversed(names)) == frames


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["1.jpg"],
        ["1.jpg", "a.jpg"],
        ["1.jpg", "2.png"],
        ["a1.jpg", "b2.jpg"],
        ["1.jpg", "01.jpg"],
        ["1.jpg", "1.JPG"],
        ["1.jpg", "2.jpg", "cover.jpg"],
        ["1a.jpg", "2a.jpg"],
        ["1", "2"],
        ["d1.x/f", "d2.x/f"],
    ],
)
def test_other_names_are_not_one_sequence(names: list[str]) -> None:
    assert numbered_frames(names) is None


def test_a_sequence_may_have_gaps_mixed_padding_and_mixed_case_of_the_extension() -> None:
    assert numbered_frames(["f10.jpg", "f002.JPG", "f9.jpg"]) == ["f002.JPG", "f9.jpg", "f10.jpg"]


def test_numbers_may_have_more_digits_than_python_converts() -> None:
    names = ["9" * 5000 + ".jpg", "1" + "0" * 5000 + ".jpg"]
    assert numbered_frames(reversed(names)) == names


@given(raw_names.map(b"".join), raw_names.map(b"".join))
def test_different_names_are_written_down_differently(one: bytes, other: bytes) -> None:
    written = utf8_name(os.fsdecode(one)), utf8_name(os.fsdecode(other))
    assert (written[0] == written[1]) == (one == other)


@given(st.binary() | raw_names.map(b"".join))
def test_what_is_written_down_leads_back_to_the_name(raw: bytes) -> None:
    name = os.fsdecode(raw)
    assert file_name(utf8_name(name)) == name
    assert readable_name(utf8_name(name)) == utf8_name(name)


@pytest.mark.parametrize(
    ("ignored", "text"),
    [
        ({}, ""),
        ({"txt": 1}, "1 file that is no video by its name (1 .txt)"),
        ({"txt": 2, "": 3}, "5 files that are not video by their name (3 without extension, 2 .txt)"),
        ({"a": 3, "b": 2, "c": 1}, "6 files that are not video by their name (3 .a, 2 .b, ...)"),
        ({HIDDEN_FOLDERS: 1, HIDDEN_FILES: 2000}, "2,000 hidden files, 1 hidden folder"),
        (
            {"a": 1, KNOWN_FOLDERS: 1},
            "1 file that is no video by its name (1 .a), 1 link to a folder that is listed anyway",
        ),
    ],
)
def test_what_was_left_out_is_told_under_headings(ignored: dict[str, int], text: str) -> None:
    assert left_out_text(ignored, 2) == text


@given(st.binary())
def test_every_name_is_written_down_as_utf8(raw: bytes) -> None:
    utf8_name(os.fsdecode(raw)).encode("utf-8")


@given(st.text().filter(lambda name: "\\x" not in name and name.isprintable()))
def test_a_valid_name_is_written_down_as_it_is(name: str) -> None:
    assert utf8_name(name) == name


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (b"caf\xe9.mp4", r"caf\xe9.mp4"),
        (b"a\\b\xe9.mp4", r"a\\b\xe9.mp4"),
        (rb"a\b.mp4", r"a\b.mp4"),
        (rb"caf\xe9.mp4", r"caf\\xe9.mp4"),
        ("é\nü.mp4".encode(), "é\nü.mp4"),
        (b"\xc3\xa9\xff", r"é\xff"),
    ],
)
def test_bytes_that_do_not_decode_are_written_in_hexadecimal(raw: bytes, written: str) -> None:
    assert utf8_name(os.fsdecode(raw)) == written
