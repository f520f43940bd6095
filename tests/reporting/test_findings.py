from __future__ import annotations

import json

import pytest

from vidcnn.reporting.findings import (
    Examination,
    Finding,
    examination_json,
    examination_text,
    nodes_json,
    nodes_text,
    plain,
    screen_width,
)

GOOD = Finding("processor", "processors", "2; Xeon", short="2 cores", facts={"usable": 2})
NOTE = Finding("GPU", "GPUs", "none", "note", short="no GPU")
WARNING = Finding("memory", "memory", "2 GiB free", "warning", "little memory is free", "end other programs")
FAILURE = Finding("software", "ray", "missing", "failure", "ray is not installed", "pip install 'ray>=2.50'")


def looked_at(*findings: Finding) -> Examination:
    return Examination("box", "vidcnn 1 on Linux", findings)


def test_a_line_has_the_topic_a_word_for_how_good_it_is_and_the_value() -> None:
    lines = examination_text(looked_at(GOOD, NOTE)).splitlines()
    assert lines[1].split() == ["processor", "ok", "processors:", "2;", "Xeon"]
    assert lines[2].split() == ["GPU", "-", "GPUs:", "none"]
    assert lines[-1] == "all is well"


def test_problems_come_last_the_worst_first_each_with_its_remedy() -> None:
    text = examination_text(looked_at(WARNING, GOOD, FAILURE))
    assert text.split("\n\n")[1].splitlines() == [
        "1 thing will fail, 1 warning:",
        "FAIL  ray is not installed",
        "      -> pip install 'ray>=2.50'",
        "WARN  little memory is free",
        "      -> end other programs",
    ]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_nothing_is_wider_than_the_screen_nor_printed_in_colour(width: int) -> None:
    long = [
        Finding("processor", f"thing {number}", "word " * 40, "warning", "is " * 50, "do " * 50) for number in (1, 2)
    ]
    text = examination_text(looked_at(*long, GOOD), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.replace("\n", "").isprintable()


def test_short_things_of_one_kind_share_lines_and_like_ones_share_a_line() -> None:
    versions = [Finding("software", name, "1.0") for name in ("torch", "av")]
    gpus = [Finding("GPU", f"cuda:{number}", "H100") for number in range(8)]
    text = examination_text(looked_at(*versions, *gpus))
    assert "torch 1.0, av 1.0" in text
    assert "cuda:0 to cuda:7: H100" in text
    twice = Finding("decoding", "not looked at", "av cannot be loaded", "note")
    assert "  not looked at: av cannot be loaded" in examination_text(looked_at(twice, twice))


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(json.dumps(examination_json(looked_at(GOOD, FAILURE))))
    assert (values["machine"], values["fit"]) == ("box", False)
    assert values["findings"][0]["facts"] == {"usable": 2}
    assert values["findings"][1]["remedy"] == "pip install 'ray>=2.50'"
    assert json.dumps(examination_json(looked_at(WARNING)))
    assert examination_json(looked_at(WARNING))["fit"]


def test_nodes_have_a_line_each_with_their_problems_below() -> None:
    nodes = {"10.0.0.1": looked_at(GOOD, NOTE), "10.0.0.2": looked_at(GOOD, FAILURE)}
    lines = nodes_text(nodes, {"10.0.0.3": "gave no answer in 240 s"}).splitlines()
    assert lines[0].split("  ", 1)[0] == "10.0.0.1"
    assert "2 cores, no GPU" in lines[0]
    assert lines[1].split()[:2] == ["10.0.0.2", "FAIL"]
    assert lines[2:4] == ["  FAIL  ray is not installed", "        -> pip install 'ray>=2.50'"]
    assert "gave no answer" in lines[4]
    assert lines[-1] == "2 of 3 nodes will fail"
    assert not nodes_json(nodes, {})["fit"]
    assert nodes_json({"10.0.0.1": looked_at(GOOD)}, {})["fit"]


def test_what_other_programs_say_is_made_safe() -> None:
    assert plain("a\n  b\x1b[31m s3://KEY:SECRET@bucket") == r"a b\x1b[31m s3://bucket"


@pytest.mark.parametrize(("columns", "width"), [("20", 40), ("80", 80), ("300", 100)])
def test_the_screen_is_as_wide_as_the_terminal_within_reason(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert screen_width() == width
