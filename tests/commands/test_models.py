from __future__ import annotations

import json

import pytest

from tests.commands.conftest import Call
from vidcnn.models.table import ModelRow

ROW = ModelRow("net", 33_371_472, 40.697, "16x112x112 at 15 fps", ("kinetics400",))


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidcnn.models.table.model_rows", lambda: [ROW])


def test_the_table_has_a_line_for_each_model_in_round_figures(call: Call) -> None:
    ended = call("models")
    assert (ended.code, ended.stderr) == (0, "")
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("net"))
    assert line.split() == ["net", "33.4", "M", "40.7", "16x112x112", "at", "15", "fps", "kinetics400,", "random"]


def test_json_has_them_exactly(call: Call) -> None:
    (row,) = json.loads(call("models", "--json").stdout)
    assert (row["name"], row["num_parameters"], row["gflops"]) == ("net", 33_371_472, 40.697)
