from __future__ import annotations

from datetime import datetime

import pytest

from tests.schedule.cases import make_task
from vidcnn.config import ScheduleSpec
from vidcnn.schedule import notes
from vidcnn.schedule.cron import parse_cron
from vidcnn.schedule.environment import Variables
from vidcnn.schedule.notes import how_to_install, when_it_runs
from vidcnn.schedule.task import Task

CRONTAB = ScheduleSpec(job="job.yaml")
SYSTEMD = ScheduleSpec(job="job.yaml", target="systemd")
KUBERNETES = ScheduleSpec(job="job.yaml", target="kubernetes", image="x")


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The programs of this machine: all that may be named, unless a test takes some away."""
    there = {"crontab", "systemctl", "kubectl", "sudo"}
    monkeypatch.setattr(notes, "which", lambda name: f"/usr/bin/{name}" if name in there else None)
    return there


def before_it_runs(spec: ScheduleSpec, task: Task, found: Variables) -> list[str]:
    return list(notes.before_it_runs(spec, task, found, job_holds_login=False))


def test_nothing_is_said_of_a_job_that_needs_nothing() -> None:
    assert before_it_runs(CRONTAB, make_task(), Variables({}, (), ())) == []


def test_variables_are_named_and_no_value_is_said() -> None:
    found = Variables({"AWS_REGION": "eu-north-9"}, ("AWS_SECRET_ACCESS_KEY",), ("BUCKET",))
    said = before_it_runs(CRONTAB, make_task(environment_file="/home/me/job.env"), found)
    assert said == [
        "taken along from here: AWS_REGION",
        "not set here, and the job needs it: BUCKET",
        "set here, and not written since it looks secret: AWS_SECRET_ACCESS_KEY",
        "put lines NAME=value into /home/me/job.env, and make it yours alone: chmod 600",
    ]


@pytest.mark.parametrize(
    ("secret", "advice"),
    [
        (None, "give --secret NAME: a Secret with these keys, which become variables"),
        ("keys", "the Secret keys must have these keys"),
    ],
)
def test_on_kubernetes_they_go_into_a_secret(secret: str | None, advice: str) -> None:
    spec = KUBERNETES.model_copy(update={"secret": secret})
    assert before_it_runs(spec, make_task(), Variables({}, ("TOKEN",), ()))[-1] == advice


def test_a_job_on_a_cluster_needs_what_the_cluster_sees() -> None:
    said = before_it_runs(CRONTAB, make_task(cluster="http://head:8265"), Variables({}, (), ()))
    assert said == ["what the job reads and writes must be where the cluster sees it"]


def test_files_in_a_folder_are_installed_from_there_whatever_it_is_called() -> None:
    spec = CRONTAB.model_copy(update={"out": "my files"})
    (line,) = how_to_install(spec, make_task())
    assert line == "(crontab -l; cat 'my files'/vidcnn-nightly.crontab) | crontab -"


def test_units_of_a_user_and_of_the_machine_are_installed_in_their_places() -> None:
    own = "\n".join(how_to_install(SYSTEMD.model_copy(update={"out": "units"}), make_task()))
    whole = "\n".join(how_to_install(SYSTEMD.model_copy(update={"out": "units", "system": True}), make_task()))
    assert "systemctl --user enable" not in whole
    assert "cp units/vidcnn-nightly.service units/vidcnn-nightly.timer ~/.config/systemd/user/" in own
    assert "loginctl enable-linger" in own
    assert "sudo cp units/vidcnn-nightly.service units/vidcnn-nightly.timer /etc/systemd/system/" in whole
    assert "sudo systemctl daemon-reload && sudo systemctl enable --now vidcnn-nightly.timer" in whole


def test_what_is_only_printed_is_first_written_to_a_folder() -> None:
    assert next(how_to_install(KUBERNETES, make_task())) == ("with --out DIR the files are written to a folder; then:")
    assert list(how_to_install(CRONTAB, make_task())) == ["put these lines at the end of your crontab: crontab -e"]


@pytest.mark.parametrize(
    ("spec", "missing", "advice"),
    [
        (
            CRONTAB,
            {"crontab"},
            "there is no crontab on this machine: take --target systemd, or install cron (the package cron or cronie); "
            "then:",
        ),
        (
            CRONTAB,
            {"crontab", "systemctl"},
            "there is no crontab on this machine: install cron (the package cron or cronie); then:",
        ),
        (
            SYSTEMD,
            {"systemctl"},
            "there is no systemctl on this machine: take --target crontab, or go where systemctl is; then:",
        ),
        (SYSTEMD, {"systemctl", "crontab"}, "there is no systemctl on this machine: go where systemctl is; then:"),
        (KUBERNETES, {"kubectl"}, "there is no kubectl on this machine: go where kubectl is; then:"),
    ],
)
def test_a_program_that_is_not_there_is_said_before_it_is_named(
    programs: set[str], spec: ScheduleSpec, missing: set[str], advice: str
) -> None:
    spec = spec.model_copy(update={"out": "files"})
    complete = list(how_to_install(spec, make_task()))
    programs -= missing
    assert list(how_to_install(spec, make_task())) == [advice, *complete]


def test_what_takes_root_is_said_in_words_where_there_is_no_sudo(programs: set[str]) -> None:
    programs.remove("sudo")
    lines = list(how_to_install(SYSTEMD.model_copy(update={"out": "units", "system": True}), make_task()))
    assert lines[0] == "as root:"
    assert lines[1].startswith("cp units/")
    assert not any("sudo" in line for line in lines)


def test_the_next_three_times_are_said() -> None:
    task = make_task(cron=parse_cron("30 6 * * 1"))
    assert when_it_runs(task, datetime(2026, 11, 26, 12)) == (
        "runs at 30 6 * * 1: Mon 2026-11-30 06:30, Mon 2026-12-07 06:30, Mon 2026-12-14 06:30, ..."
    )
