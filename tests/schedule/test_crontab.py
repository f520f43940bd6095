from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.schedule.cases import NASTY, make_task
from vidcnn.errors import UsageError
from vidcnn.schedule.crontab import crontab_text

PRINTING = '#!/bin/sh\npwd\nprintf "%s\\n" "$V" "$S" "$@"\n'


def command_of(text: str) -> str:
    """Return what cron hands to the shell: the rest of the line after the times, with its escapes undone."""
    line = text.splitlines()[-1].split(" ", 5)[5]
    command = ""
    escaped = False
    for letter in line:  # as Debian's cron goes through it
        assert letter != "%" or escaped, "cron would end the command here"
        if escaped and letter == "%":
            command = command[:-1]
        command += letter
        escaped = letter == "\\" and not escaped
    return command


@pytest.mark.parametrize("nasty", NASTY)
def test_the_shell_that_cron_starts_sees_every_word_as_it_was_meant(tmp_path: Path, nasty: str) -> None:
    folder = tmp_path / f"{nasty} {nasty}"
    folder.mkdir()
    (folder / "program").write_text(PRINTING)
    (folder / "program").chmod(0o755)
    task = make_task(
        program=(str(folder / "program"),), directory=str(folder), job=str(folder / "job.yaml"),
        settings=(f"out={nasty}",), environment={"V": nasty}, cluster="http://head:8265",
    )  # fmt: skip
    command = command_of(crontab_text(task, log=str(folder / "log")))
    subprocess.run(["/bin/sh", "-c", command], check=True, env={"PATH": "/usr/bin:/bin"})
    expected = [str(folder), nasty, "", "run", task.job, "--set", f"out={nasty}", "--cluster", task.cluster, "--quiet"]
    assert (folder / "log").read_text().splitlines() == expected


def test_secrets_come_from_a_file_and_reach_the_program(tmp_path: Path) -> None:
    (tmp_path / "program").write_text(PRINTING)
    (tmp_path / "program").chmod(0o755)
    (tmp_path / "my env").write_text("S='a b'\n")
    task = make_task(
        program=(str(tmp_path / "program"),), directory=str(tmp_path), environment_file=str(tmp_path / "my env")
    )
    command = command_of(crontab_text(task))
    done = subprocess.run(["/bin/sh", "-c", command], check=True, env={}, capture_output=True, text=True)
    assert done.stdout.splitlines()[:3] == [str(tmp_path), "", "a b"]
    (tmp_path / "my env").unlink()
    done = subprocess.run(["/bin/sh", "-c", command], check=False, env={}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "my env" in done.stderr


def test_what_a_run_says_is_mailed_or_kept() -> None:
    assert crontab_text(make_task()).endswith(" run /srv/jobs/nightly.yaml --quiet\n")
    assert crontab_text(make_task(), log="/var/log/x").endswith(" --quiet >>/var/log/x 2>&1\n")


def test_there_is_one_line_for_cron_and_the_rest_are_comments() -> None:
    lines = crontab_text(make_task()).splitlines()
    assert [line[0] == "#" for line in lines] == [True, False]
    assert re.match(r"0 2 \* \* \* cd /srv && ", lines[1])
    assert "exit code 75" in lines[0]


def test_a_line_that_cron_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"has 1[0-9]{3} bytes, and cron takes 990"):
        crontab_text(make_task(environment={"X": "é" * 500}))
