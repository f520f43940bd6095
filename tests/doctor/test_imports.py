from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.doctor.imports import try_imports


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sound.py").write_text("")
    (tmp_path / "later.py").write_text("")
    (tmp_path / "lacking.py").write_text("raise OSError('libfoo.so: cannot open\\nmore')")
    (tmp_path / "deadly.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (tmp_path / "leaving.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("modules")
def test_a_module_that_ends_the_process_is_named_and_the_others_are_tried_all_the_same() -> None:
    found = try_imports((("sound", "lacking", "deadly"), ("leaving", "later")))
    assert list(found) == ["sound", "lacking", "deadly", "leaving", "later"]
    assert (found["sound"], found["later"]) == (None, None)
    assert found["lacking"] == "libfoo.so: cannot open"
    assert "SIGILL" in str(found["deadly"])
    assert found["leaving"] == "loading it ends the process (exit code 7)"


def test_a_module_that_is_not_there_is_named() -> None:
    assert try_imports((("no_such_module_at_all",),)) == {
        "no_such_module_at_all": "No module named 'no_such_module_at_all'"
    }
