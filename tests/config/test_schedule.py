from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.config import ScheduleSpec
from vidcnn.config.base import read_spec
from vidcnn.config.schedule import check_kubernetes_name, default_name
from vidcnn.errors import UsageError

KUBERNETES = {"target": "kubernetes", "image": "vidcnn"}


def spec(**values: Any) -> ScheduleSpec:
    return read_spec(ScheduleSpec, {"job": "job.yaml", **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timezone": "Europe/Berlin"}, "--timezone is for --target systemd or kubernetes, not crontab"),
        ({"target": "systemd", "log": "x.log"}, "--log is for --target crontab, not systemd"),
        ({"target": "systemd", "gpus": 1}, "--gpus is for --target kubernetes, not systemd"),
        ({"max_hours": 3}, "--max-hours is for --target systemd or kubernetes, not crontab"),
        ({"target": "kubernetes"}, "--target kubernetes needs --image"),
        ({**KUBERNETES, "directory": "/srv"}, "--directory is for --target crontab or systemd"),
        ({**KUBERNETES, "system": True}, "--system is for --target systemd, not kubernetes"),
        ({"name": "Nightly"}, "--name (Nightly) must be of at most 52 characters a-z, 0-9 and -"),
        ({"name": "a" * 53}, "must be of at most 52 characters"),
        ({**KUBERNETES, "secret": "a_b"}, "--secret (a_b) must be a name of Kubernetes"),
        ({"target": "systemd", "timezone": "Berlin; rm"}, "must be a name of the IANA database"),
    ],
)
def test_an_option_without_an_effect_or_a_meaning_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec(**values)
    assert message in caught.value.message


def test_each_option_of_one_target_is_taken_by_it() -> None:
    assert spec(target="systemd", timezone="America/Argentina/Buenos_Aires", delay=60, system=True).delay == 60
    assert spec(**KUBERNETES, secret="s3.keys", gpus=1, memory=32).gpus == 1
    assert spec(log="x.log").log == "x.log"


@given(st.text())
def test_any_name_of_a_job_gives_a_name_that_is_taken(job: str) -> None:
    name = default_name(job)
    assert name.startswith("vidcnn")
    assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 52
    assert spec(name=name).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a..b", "A", "a" * 254])
def test_what_kubernetes_takes_for_no_name_is_refused(name: str) -> None:
    check_kubernetes_name("my.secret-2")
    with pytest.raises(ValueError, match="must be a name of Kubernetes"):
        check_kubernetes_name(name)
