from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.cluster.control_groups import Limits, read_limits


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    return tmp_path / "groups"


def test_the_smallest_limit_of_a_group_and_of_those_above_it_holds(tmp_path: Path, groups: Path) -> None:
    mount = tmp_path / "cgroup"
    groups.write_text("0::/slice/service\n")
    write(mount, cpu__max="max 100000")
    write(mount / "slice", cpu__max="150000 100000", memory__max="1000", memory__current="900")
    write(mount / "slice", memory__stat="anon 1\ninactive_file 300", pids__max="500", pids__current="100")
    write(mount / "slice/service", cpu__max="800000 100000", memory__max="max", memory__current="5", pids__max="max")
    assert read_limits(mount, groups) == Limits(1.5, 1000, 400, 500, 400)


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path, groups: Path) -> None:
    groups.write_text("0::/../../docker/abc\n")
    write(tmp_path / "cgroup", cpu__max="50000 100000")
    assert read_limits(tmp_path / "cgroup", groups).cpus == 0.5


def test_the_first_version_is_read_too(tmp_path: Path, groups: Path) -> None:
    mount = tmp_path / "cgroup"
    groups.write_text("4:memory:/job\n2:cpu:/\n8:pids:/\n0::/\n")
    write(mount / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="10")
    write(mount / "memory/job", memory__limit_in_bytes="2000", memory__usage_in_bytes="500")
    write(mount / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert read_limits(mount, groups) == Limits(memory_bytes=2000, memory_free_bytes=1500)
    write(mount / "cpu", cpu__cfs_quota_us="200000")
    assert read_limits(mount, groups).cpus == 2.0


def test_without_control_groups_there_is_no_limit(tmp_path: Path, groups: Path) -> None:
    assert read_limits(tmp_path, groups) == Limits()
    groups.write_text("not as expected\n")
    assert read_limits(tmp_path, groups) == Limits()


def test_those_of_this_machine_can_be_read() -> None:
    found = read_limits()
    assert found.cpus is None or found.cpus > 0
