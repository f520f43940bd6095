from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.cluster.address import parse_cluster
from vidcnn.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("http://head", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org:443"),
        ("head:80", "http://head:80"),
        ("10.0.0.3", "http://10.0.0.3:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_addresses_are_completed(text: str, url: str) -> None:
    assert parse_cluster(text) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster.yaml", "there is no launcher file 'cluster.yaml'"),
        ("ray://head:10001", "name the job server: http://head:8265"),
        ("s3://bucket/cluster", "is neither an address nor a launcher file"),
        ("http://head:99999", "is no address"),
        ("http://head:8265/api/jobs", "is neither"),
        ("http://", "is neither"),
    ],
)
def test_what_is_neither_is_refused(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        parse_cluster(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[::1", "is neither"),
        ("http://[head]:8265", "is neither"),
        ("head..example.org", "is neither"),
        ("http://" + "a" * 64, "is neither"),
        ("http://caf\udce9:8265", "is neither"),
        ("http://head:port", "what follows its last colon is no port"),
        ("http://head:-1", "what follows its last colon is no port"),
        ("a:b:c", "what follows its last colon is no port"),
        ("", "is neither"),
    ],
)
def test_a_malformed_address_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as info:
        parse_cluster(text)
    assert "http://HOST:8265" in (info.value.hint or "")


@given(st.text(alphabet="abc019.:/[]@%?#-\n\udcff\u2024\u202eé", max_size=20))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert urlsplit(str(parse_cluster(text))).port


def test_a_launcher_file_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text("cluster_name: x\n")
    assert parse_cluster(str(path)) == path
