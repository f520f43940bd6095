from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.cluster.variables import read_variables
from vidcnn.errors import UsageError


def test_variables_are_those_of_the_file_and_of_the_options_which_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    monkeypatch.setenv("FROM_FILE", "here, too")
    file = tmp_path / "job.env"
    file.write_text("# a comment\n\n  A=1\nB=two words = three\nFROM_FILE\nC=\n")
    assert read_variables(["A=2", "FROM_HERE"], file) == {
        "A": "2", "B": "two words = three", "C": "", "FROM_FILE": "here, too", "FROM_HERE": "here",
    }  # fmt: skip
    assert read_variables([], None) == {}


def test_what_cannot_be_read_is_named_with_its_place_and_no_value_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    with pytest.raises(UsageError, match="--env: the variable UNSET is not set here"):
        read_variables(["UNSET"], None)
    file = tmp_path / "job.env"
    file.write_text("A=1\nmy key=secret\n")
    with pytest.raises(UsageError, match=r"job\.env:2: this begins with no name of a variable") as caught:
        read_variables([], file)
    assert "secret" not in f"{caught.value}{caught.value.hint}"
    with pytest.raises(UsageError, match=r"--env-file '/nowhere' cannot be read: no such file"):
        read_variables([], Path("/nowhere"))
    file.write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError, match="is no text"):
        read_variables([], file)
