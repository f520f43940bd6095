from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.confined import ATTEMPT, outcome
from vidcnn.errors import SandboxError
from vidcnn.sandbox import confinement, landlock, seccomp
from vidcnn.sandbox.confinement import Strength

needs_all = pytest.mark.skipif(bool(confinement.missing()), reason="this kernel cannot confine")


@needs_all
def test_libraries_are_loaded_between_the_steps_and_nothing_after_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    said = outcome(
        f"{ATTEMPT}\n"
        "from pathlib import Path\n"
        "from vidcnn.sandbox import confinement\n"
        f"path = Path({str(tmp_path / 'a')!r})\n"
        "confinement.begin('require')\n"
        "import numpy\n"
        "attempt('read', path.read_text)\n"
        "attempt('write', lambda: path.write_text('x'))\n"
        "strength = confinement.close('require')\n"
        "attempt('read', path.read_text)\n"
        "print(path.stat().st_size, strength.is_closed, strength.text)\n"
    )
    abi = landlock.version()
    assert said.splitlines() == [
        "read done",
        "write refused",
        "read refused",
        f"7 True no files, network or programs (seccomp), Landlock {abi}, 4 GiB of memory, no privileges",
    ]


def test_off_is_off(tmp_path: Path) -> None:
    said = outcome(
        "from vidcnn.sandbox import confinement\n"
        "confinement.begin('off')\n"
        "strength = confinement.close('off')\n"
        f"open({str(tmp_path / 'a')!r}, 'w').close()\n"
        "print(strength.is_closed, strength.text)\n"
    )
    assert said == "False not confined"


def test_what_is_missing_is_said_and_ends_a_run_that_requires_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "is_there", lambda: True)
    monkeypatch.setattr(landlock, "version", lambda: 3)
    assert confinement.missing() == []
    confinement.check("require")
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(SandboxError, match=r"this kernel has no Landlock \(CONFIG_SECURITY_LANDLOCK"):
        confinement.check("require")
    confinement.check("auto")
    monkeypatch.setattr(seccomp, "is_there", lambda: False)
    with pytest.raises(SandboxError, match=r"no filters of system calls .* and no Landlock"):
        confinement.check("require")
    monkeypatch.setattr(confinement, "is_linux", lambda: False)
    assert confinement.missing() == ["Linux"]


def test_each_part_of_the_strength_has_its_words() -> None:
    assert Strength().text == "not confined"
    assert Strength(landlock=2, memory_bytes=2**30).text == "Landlock 2, 1 GiB of memory"
    assert [Strength(True).is_closed, Strength(landlock=1).is_closed, Strength(memory_bytes=5).is_closed] == [
        True,
        True,
        False,
    ]
