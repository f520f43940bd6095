from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidcnn.storage import disks


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disks.cache_directory() == tmp_path / "vidcnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert disks.cache_directory() == tmp_path / ".cache" / "vidcnn"


def test_file_systems_are_told_as_the_kernel_names_them() -> None:
    assert disks.file_system("/proc") == "proc"
    assert disks.file_system("/proc/self") == "proc"
    assert disks.file_system("/sys/kernel") == "sysfs"


def test_a_path_is_shared_where_its_nearest_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nfs share", "nfs share/disk", "fuse", "nfs shared"):
        (tmp_path / name).mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    spaced = str(tmp_path).replace(" ", r"\040")
    lines = [
        "22 1 8:1 / / rw - ext4 /dev/root rw",
        rf"23 22 0:30 / {spaced}/nfs\040share rw,relatime shared:1 master:2 - nfs4 server:/export rw",
        rf"24 23 8:2 / {spaced}/nfs\040share/disk rw - xfs /dev/sdb rw",
        f"25 22 0:31 / {spaced}/fuse rw - ext4 /dev/sdc rw",
        f"26 22 0:32 / {spaced}/fuse rw - fuse.gcsfuse bucket rw",
    ]
    mounts.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(disks, "_MOUNTS", str(mounts))
    assert disks.is_shared(f"{tmp_path}/nfs share/new/preds.parquet")
    assert not disks.is_shared(f"{tmp_path}/nfs share/disk/preds.parquet")
    assert not disks.is_shared(f"{tmp_path}/nfs shared/preds.parquet")
    assert disks.is_shared(f"{tmp_path}/fuse/preds.parquet")
    assert not disks.is_shared(f"{tmp_path}/preds.parquet")
    os.symlink(tmp_path / "nfs share", tmp_path / "link")
    assert disks.is_shared(f"{tmp_path}/link/preds.parquet")


def test_the_same_folder_has_the_same_fingerprint_and_no_other_has(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = disks.fingerprint(f"{tmp_path}/a/x/y.parquet")
    assert first == disks.fingerprint(f"{tmp_path}/a/z.parquet")
    assert first != disks.fingerprint(f"{tmp_path}/b/z.parquet")
    os.symlink(tmp_path / "a", tmp_path / "c")
    assert first == disks.fingerprint(f"{tmp_path}/c/z.parquet")
