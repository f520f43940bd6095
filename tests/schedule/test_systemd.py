from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from tests.schedule.cases import NASTY, make_task
from tests.schedule.expressions import expressions
from vidcnn.errors import UsageError
from vidcnn.schedule.cron import parse_cron
from vidcnn.schedule.systemd import calendars, service_text, timer_text

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
MANAGER = Path("/usr/lib/systemd/systemd")
NUM_TIMES = 4


def elapses(events: list[str], moment: datetime) -> list[datetime]:
    """Return the next times of calendar events together, as systemd has them."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={NUM_TIMES}", f"--base-time={moment:%F %T} UTC", *events],
        capture_output=True, text=True, check=True, env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w{3} ([\d-]+ [\d:]+) UTC", done.stdout)
    return sorted({datetime.fromisoformat(time) for time in found})[:NUM_TIMES]


@needs_systemd
@given(expressions(), st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1)))
def test_a_timer_elapses_when_the_expression_fires(text: str, moment: datetime) -> None:
    moment = moment.replace(second=30, microsecond=0)
    reference = croniter(text, moment, ret_type=datetime)
    assert elapses(calendars(parse_cron(text)), moment) == [reference.get_next() for _ in range(NUM_TIMES)]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00"]),
        ("* * * * *", ["*-*-* *:*:00"]),
        ("*/15 * * * *", ["*-*-* *:00/15:00"]),
        ("5-59/15 8-18 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 08..18:05/15:00"]),
        ("0 2 * * 0,6", ["Sat,Sun *-*-* 02:00:00"]),
        ("0 2 13 * 5", ["*-*-13 02:00:00", "Fri *-*-* 02:00:00"]),
        ("0 2 1-31 * 5", ["*-*-* 02:00:00"]),
        ("0 2 13 * 0-7", ["*-*-* 02:00:00"]),
        ("30 4 1,15 1,2,3,6 *", ["*-01..03,06-01,15 04:30:00"]),
    ],
)
def test_calendar_events_are_short_and_readable(text: str, events: list[str]) -> None:
    assert calendars(parse_cron(text)) == events


@needs_systemd
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("user", [None, "daemon"])
def test_the_units_are_valid(tmp_path: Path, zone: str | None, user: str | None) -> None:
    (tmp_path / "vidcnn").write_text("#!/bin/sh\n")
    (tmp_path / "vidcnn").chmod(0o755)
    task = make_task(
        program=(str(tmp_path / "vidcnn"),), directory=str(tmp_path), cron=parse_cron("*/5 2-4 1,15 * mon"),
        timezone=zone, environment={"PATH": "/usr/bin", "X": "a b%c"}, environment_file="/home/u/.config/v.env",
    )  # fmt: skip
    units = [tmp_path / "vidcnn-nightly.service", tmp_path / "vidcnn-nightly.timer"]
    units[0].write_text(service_text(task, user=user, max_hours=1.5))
    units[1].write_text(timer_text(task, delay_seconds=90))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(["--user"] if user is None else []), *map(str, units)],
        capture_output=True, text=True, check=False, env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "vidcnn-nightly" not in done.stderr  # others of this machine are not ours


def loaded(folder: Path, service: str) -> dict[str, list[str]]:
    """Return what a manager of systemd takes a service for: values of each property, in systemd's own quoting."""
    units = folder / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    (folder / "run").mkdir(mode=0o700)
    (units / "x.service").write_text(service)
    nobody = []
    if os.getuid() == 0:  # a manager of a login is not for the superuser
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder / "run", 65534, 65534)
        folder.chmod(0o711)
    places = {"XDG_RUNTIME_DIR": folder / "run", "XDG_CONFIG_HOME": folder / "config", "HOME": folder}
    done = subprocess.run(
        [*nobody, str(MANAGER), "--user", "--test", "--log-target=console", "--unit=x.service"],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]} | {name: str(path) for name, path in places.items()},
    )  # fmt: skip
    _, found, rest = done.stdout.partition("-> Unit x.service:\n")
    assert found, done.stderr
    properties: dict[str, list[str]] = {}
    for line in rest.partition("-> Unit ")[0].splitlines():
        name, _, value = line.strip().partition(": ")
        properties.setdefault(name, []).append(value)
    return properties


@pytest.mark.skipif(not MANAGER.exists() or shutil.which("setpriv") is None, reason="systemd is not installed")
def test_systemd_reads_every_word_as_it_was_meant() -> None:
    task = make_task(
        program=("/usr/bin/env",), job="/srv/it's 100% \"ok\" \\%x $HOME/job;.yaml", directory='/srv/a b %h "c" $d',
        settings=tuple(f"out={text}" for text in NASTY),
        environment={f"X{number}": text for number, text in enumerate(NASTY)},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        properties = loaded(Path(folder), service_text(task))
    assert properties["WorkingDirectory"] == [task.directory]
    assert properties["Environment"] == [f"X{number}={text}" for number, text in enumerate(NASTY)]
    quoted = properties["Command Line"][0]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', quoted)
    assert [re.sub(r"\\(.)", r"\1", inside) or bare for inside, bare in words] == task.command
    assert (properties["KillMode"], properties["TimeoutStopSec"]) == (["mixed"], ["5min"])


def test_a_dollar_is_no_variable() -> None:
    assert "\nExecStart=:/opt" in service_text(make_task(settings=("out=$HOME",)))
    assert "\nExecStart=/opt" in service_text(make_task())


@pytest.mark.parametrize("changes", [{"directory": "/srv/a "}, {"directory": "/srv/a\\"}, {"program": ("/o'pt/v",)}])
def test_what_no_unit_can_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="systemd"):
        service_text(make_task(**changes))


def test_a_login_unit_waits_for_no_network_and_has_no_user() -> None:
    assert "network-online" not in service_text(make_task())
    assert "User=" not in service_text(make_task())
    assert "User=ana\n" in service_text(make_task(), user="ana")
    assert "After=network-online.target\n" in service_text(make_task(), user="ana")
