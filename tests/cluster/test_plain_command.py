from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidcnn.cluster import entry
from vidcnn.cluster.plain_command import PlainCommand
from vidcnn.cluster.submission import is_of, next_id


def test_a_command_is_sent_with_the_program_and_what_its_processes_are_to_know(tmp_path: Path) -> None:
    command = PlainCommand(["doctor", "--quick"], {"VIDCNN_X": "1"})
    sent = command.write(tmp_path)
    assert sent["working_dir"] == str(tmp_path)
    assert (Path(sent["py_modules"][0]) / "cli.py").exists()
    assert sent["env_vars"]["VIDCNN_X"] == "1"
    assert json.loads((tmp_path / "launch.json").read_text())["command"] == ["doctor", "--quick"]
    assert command.metadata["vidcnn_command"] == "doctor"


def test_the_same_command_may_run_twice_at_once() -> None:
    one, other = (PlainCommand(["doctor"], {}) for _ in range(2))
    assert one.name != other.name
    assert is_of(one.name, next_id(one.name, []))


def test_the_head_calls_it_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    PlainCommand(["doctor", "--cluster", "auto"], {}).write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["entry"])
    monkeypatch.setattr(entry.interrupts, "own_process", lambda: None)
    monkeypatch.setattr(entry.relay, "mark_output", lambda: None)

    def main() -> None:
        import sys

        called.append(list(sys.argv))
        raise SystemExit(4)

    monkeypatch.setattr("vidcnn.cli.main", main)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 4
    assert called == [["vidcnn", "doctor", "--cluster", "auto"]]
