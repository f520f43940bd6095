from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged_text, refusing
from tests.limits import within
from vidcnn.config.yaml_lines import Problem, YamlError, read_yaml

TEXT = """\
# a comment
name: x

provider:
  type: aws
  zones: [a, b]
machines:
  - kind: one
    count: 1
  -
    kind: two
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("name",), 2),
        (("provider",), 4),
        (("provider", "type"), 5),
        (("provider", "zones", 1), 6),
        (("machines", 0, "count"), 9),
        (("machines", 1, "kind"), 11),
        (("provider", "region"), 4),  # what is not there is missing where it would be
        (("elsewhere",), 2),
    ],
)
def test_each_value_has_the_line_of_its_key(place: tuple[str | int, ...], line: int) -> None:
    assert read_yaml(TEXT).line(place) == line


def problems(text: str) -> list[Problem]:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    return caught.value.problems


def test_keys_that_are_there_twice_are_all_found() -> None:
    assert problems("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n") == [
        Problem(5, "b.c is there twice, first in line 3"),
        Problem(6, "a is there twice, first in line 1"),
    ]


def test_merged_keys_are_not_keys_that_are_there_twice() -> None:
    document = read_yaml("base: &base\n  size: 1\n  kind: a\nown:\n  <<: *base\n  size: 2\n")
    assert document.value["own"] == {"size": 2, "kind": "a"}
    assert (document.line(("own", "size")), document.line(("own", "kind"))) == (6, 3)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\nb: 2\n", 2, "not YAML: while parsing a flow sequence"),
        ("a: 1\n\tb: 2\n", 2, "not YAML: .*cannot start any token"),
        ("a: *nothing\n", 1, "not YAML: found undefined alias"),
        ("a: &a [*a]\n", 1, "contains itself"),
        ("a: 2026-13-45\n", 1, "not YAML: month must be in"),
        ("? [a, b]\n: 1\n", 1, "a key must be a plain word"),
        ("a: !!python/object:os.system x\n", 1, "not YAML: could not determine a constructor"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, words: str) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(problem.message)


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    levels = "".join(f"l{index}: &l{index} [{', '.join([f'*l{index - 1}'] * 9)}]\n" for index in range(1, 12))
    assert "repeats far too much" in problems(f"l0: &l0 [x]\n{levels}")[0].message


names = st.text("abcdefgh", min_size=1, max_size=4)
values = st.recursive(
    st.integers() | st.booleans() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(names, values, max_size=4))
def test_values_are_those_of_the_safe_loader(config: dict[str, object]) -> None:
    import yaml

    text = yaml.safe_dump(config)
    assert read_yaml(text).value == config
    for key in config:
        assert text.splitlines()[read_yaml(text).line((key,)) - 1].split(":")[0].strip("'\"") == key


def test_aliases_that_multiply_are_refused_before_they_are_followed() -> None:
    lists = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    merges = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
    for text in ("a0: &a0 [x]\n" + lists, "a0: &a0 {x: 1}\n" + merges):
        with within(60):
            assert "repeats far too much" in problems(text)[0].message


def test_what_is_larger_than_any_file_that_people_write_is_not_read() -> None:
    with within(20):
        assert "more than the 1000000 that are read" in problems("- x\n" * 300_000)[0].message


@pytest.mark.parametrize("value", ['!!int ""', '!!float ""', "!!bool x", "!!timestamp x", "!!int x"])
def test_a_value_that_is_not_what_its_tag_names_is_refused(value: str) -> None:
    assert "not YAML" in problems(f"a: {value}\n")[0].message


@pytest.mark.fuzz
@given(damaged_text(TEXT, "a: &a {b: [1, *c]}\n<<: *a\n? x\n: |\n  y\n", "a: !!set {b, c}\nd: !!binary aGk=\n"))
def test_any_text_is_a_document_or_an_error_with_a_line(text: str) -> None:
    with within(60), refusing(YamlError):
        assert read_yaml(text).line(("name",)) >= 1
