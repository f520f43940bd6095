"""Globs, part by part, against Python's own glob on real folders."""

from __future__ import annotations

import glob

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import damaged_text
from tests.limits import within
from vidcnn.sources.patterns import Pattern, has_magic, split_glob

NAMES = ["a", "b", ".h", "a1", "x.mp4", "y.mp4", ".z.mp4"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
patterns = st.lists(
    st.sampled_from(["*", "**", "a", "?", "a*", "[ab]", "*.mp4", ".*", "[!a]*", "b"]), min_size=1, max_size=4
)


def matches(pattern: Pattern, path: str) -> bool:
    *folders, name = path.split("/")
    states = pattern.start()
    for folder in folders:
        states = pattern.enter(states, folder)
    return pattern.matches_file(states, name)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=st.sets(paths, max_size=8), parts=patterns)
def test_files_match_as_in_pythons_glob(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], parts: list[str]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    made = []
    for file in sorted(files):
        path = root / file
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.append(file)
    if parts[-1] == "**":
        expected = set()  # Python's glob counts files here, where ours means the folders that hold them
    else:
        found = glob.glob("/".join(parts), root_dir=root, recursive=True)
        expected = {path for path in found if (root / path).is_file()}
    assert {file for file in made if matches(Pattern(parts), file)} == expected


def test_folders_match_at_the_end_of_a_pattern_and_below_two_stars() -> None:
    pattern = Pattern(["cam*", "**"])
    inside = pattern.enter(pattern.start(), "cam1")
    assert not pattern.matches_folder(pattern.start())
    assert pattern.matches_folder(inside)
    assert pattern.matches_folder(pattern.enter(inside, "deeper"))
    assert not pattern.enter(pattern.start(), "other")


def test_two_stars_do_not_follow_links_but_names_do() -> None:
    assert not Pattern(["**", "x.mp4"]).enter(frozenset({0, 1}), "link", is_link=True)
    assert Pattern(["*", "x.mp4"]).enter(frozenset({0}), "link", is_link=True)


@pytest.mark.parametrize(
    ("text", "base", "parts"),
    [
        ("*.mp4", ".", ["*.mp4"]),
        ("a/b/*.mp4", "a/b", ["*.mp4"]),
        ("/*/x", "/", ["*", "x"]),
        ("/a//**/c?/", "/a/", ["**", "c?", "**"]),
        ("a/*/b/../c", "a", ["*", "b", "..", "c"]),
    ],
)
def test_a_glob_starts_from_the_folder_before_its_first_wildcard(text: str, base: str, parts: list[str]) -> None:
    assert split_glob(text) == (base, parts)


def test_wildcards_are_seen() -> None:
    assert [has_magic(text) for text in ("a*", "a?", "a[b", "a]b", "")] == [True, True, True, False, False]


def test_matching_tells_capitals_apart() -> None:
    assert matches(Pattern(["*.mp4"]), "a.mp4")
    assert not matches(Pattern(["*.mp4"]), "a.MP4")


@pytest.mark.fuzz
@given(damaged_text("2024-*/**/cam?.mp4", "**/" * 30 + "*", "*a" * 30, "[!a-]]*", "[z-a]-"), st.text(max_size=60))
def test_any_glob_matches_or_does_not_in_no_time(text: str, name: str) -> None:
    with within(20):
        if has_magic(text):
            _, parts = split_glob(text)
            assert matches(Pattern(parts), f"{name.replace('/', '')}/{'a' * 200}b") in (True, False)
