from __future__ import annotations

import pytest

from vidcnn.errors import UsageError
from vidcnn.schedule.environment import choose_variables, is_secret

ENVIRON = {
    "BUCKET": "b",
    "DAY": "",
    "DB_PASSWORD": "p",
    "HOME": "/home/ana",
    "TORCH_HOME": "/cache",
    "AWS_REGION": "eu",
    "AWS_PROFILE": "night",
    "AWS_SECRET_ACCESS_KEY": "s",
    "RAY_AUTH_TOKEN_PATH": "/etc/token",
    "RAY_AUTH_TOKEN": "t",
}


def test_a_job_takes_what_it_names_and_what_the_program_looks_at() -> None:
    found = choose_variables(ENVIRON, needed=["BUCKET", "DAY", "ABSENT"], optional=["OTHER"])
    assert found.known == {"BUCKET": "b", "DAY": "", "TORCH_HOME": "/cache"}
    assert (found.secret, found.unset) == ((), ("ABSENT",))


def test_storage_and_cluster_bring_theirs_and_secrets_only_by_name() -> None:
    found = choose_variables(ENVIRON, needed=["DB_PASSWORD"], uses_storage=True, uses_cluster=True)
    assert found.known == {
        "TORCH_HOME": "/cache",
        "AWS_REGION": "eu",
        "AWS_PROFILE": "night",
        "RAY_AUTH_TOKEN_PATH": "/etc/token",
    }
    assert found.secret == ("DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")


def test_paths_and_logins_of_this_machine_mean_nothing_elsewhere() -> None:
    found = choose_variables(ENVIRON, needed=["BUCKET"], uses_storage=True, uses_cluster=True, elsewhere=True)
    assert found.known == {"BUCKET": "b", "AWS_REGION": "eu"}


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIA", True),
        ("MY_API_KEY", "x", True),
        ("HF_TOKEN", "x", True),
        ("KEY", "x", True),
        ("DB_URL", "postgres://ana:pw@db/x", True),
        ("HTTPS_PROXY", "http://ana:pw@proxy:3128", True),
        ("HTTPS_PROXY", "http://proxy:3128", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/google.json", False),
        ("AWS_SHARED_CREDENTIALS_FILE", "/etc/aws", False),
        ("BUCKET", "s3://b/c", False),
        ("MONKEY", "x", False),
    ],
)
def test_what_looks_secret_is_not_written(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) == secret


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\udcff"])
def test_a_value_that_no_line_holds_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="the variable BUCKET has a line break"):
        choose_variables({"BUCKET": value}, needed=["BUCKET"])
