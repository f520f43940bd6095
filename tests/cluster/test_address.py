from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_launcher_file_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text("cluster_name: x\n")
    assert parse_cluster(str(path)) == path
