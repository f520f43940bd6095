from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import three_nodes
from tests.commands import vidcnn
from tests.commands.conftest import Call
from vidcnn.cluster.each_node import Answers
from vidcnn.doctor.examination import Wishes
from vidcnn.reporting.findings import Examination, Finding

GOOD = Examination("box", "vidcnn 1", (Finding("memory", "memory", "8 GiB free"),))
WARNED = Examination("box", "vidcnn 1", (Finding("memory", "memory", "1 GiB", "warning", "little", "end others"),))
UNFIT = Examination("box", "vidcnn 1", (Finding("GPU", "cuda:0", "?", "failure", "it is broken", "mend it"),))


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Wishes]:
    """What was wished for; nothing is looked at."""
    wished: list[Wishes] = []
    answers = {None: GOOD, "warned": WARNED, "unfit": UNFIT}

    def examine(one: Wishes, tell: Any = None) -> Examination:
        wished.append(one)
        return answers[one.model]

    def examine_nodes(one: Wishes) -> Answers[Examination]:
        wished.append(one)
        return Answers({"10.0.0.1": GOOD, "10.0.0.2": answers[one.model]}, {})

    monkeypatch.setattr("vidcnn.doctor.examination.examine", examine)
    monkeypatch.setattr("vidcnn.doctor.nodes.examine_nodes", examine_nodes)
    return wished


def test_all_is_well_or_something_will_fail_by_the_exit_code(call: Call, wishes: list[Wishes]) -> None:
    ended = call("doctor")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.endswith("\n\nall is well\n")
    ended = call("doctor", "--model", "warned")
    assert (ended.code, ended.stderr) == (0, "")
    ended = call("doctor", "--model", "unfit")
    assert ended.code == 4
    assert ended.stderr.splitlines()[0] == "vidcnn: 1 thing will fail on this machine"
    assert "FAIL  it is broken\n      -> mend it\n" in ended.stdout


def test_options_are_wishes(call: Call, wishes: list[Wishes]) -> None:
    call("doctor", "--quick", "--storage", "s3://b/x")
    assert wishes == [Wishes(None, "s3://b/x", quick=True)]


def test_json_is_one_object_and_the_exit_code_the_same(call: Call, wishes: list[Wishes]) -> None:
    ended = call("doctor", "--json", "--model", "unfit")
    assert (ended.code, json.loads(ended.stdout)["fit"]) == (4, False)
    ended = call("doctor", "--json", "--cluster", "auto")
    assert (ended.code, [node["address"] for node in json.loads(ended.stdout)["nodes"]]) == (
        0,
        ["10.0.0.1", "10.0.0.2"],
    )


def test_nodes_of_a_cluster_have_a_line_each(call: Call, wishes: list[Wishes]) -> None:
    ended = call("doctor", "--cluster", "auto", "--model", "unfit")
    assert ended.code == 4
    assert ended.stdout.splitlines()[1:3] == [
        "10.0.0.2         FAIL  ?",
        "  FAIL  it is broken",
    ]
    assert ended.stderr.startswith("vidcnn: 1 of 2 nodes are not fit\n")


def test_what_means_nothing_is_refused(call: Call, wishes: list[Wishes]) -> None:
    assert call("doctor", "--up").code == 2
    ended = call("doctor", "--cluster", "http://127.0.0.1:1", "--storage", "s3://KEY:SECRET@b/x")
    assert (ended.code, "SECRET" in ended.stderr) == (2, False)
    assert wishes == []


@pytest.mark.parametrize("options", [["--quick"], pytest.param([], marks=pytest.mark.slow)])
def test_this_machine_is_fit_and_fits_on_a_screen(options: list[str], tmp_path: Path) -> None:
    done = vidcnn("doctor", "--storage", tmp_path, *options, extra={"COLUMNS": "80"})
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    assert ("hours of video an hour" in done.stdout) is (not options)
    assert done.stderr == ""


@pytest.mark.ray
def test_a_job_of_a_cluster_looks_at_each_node() -> None:
    with three_nodes() as nodes:
        done = vidcnn("doctor", "--quick", "--json", "--cluster", nodes.address, extra=nodes.environment)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert len(found["nodes"]) == 3
    assert found["lost"] == {}
    versions = {one["name"]: one["facts"].get("wanted") for one in found["nodes"][1]["findings"]}
    assert versions["torch"] == ">=2.11"
