from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.predictions import cases
from tests.predictions.cases import open_output, rows_of, segment, video, write
from vidcnn.errors import OutputError
from vidcnn.predictions.ledger import digest, entry_of
from vidcnn.predictions.local_output import LocalStorage
from vidcnn.storage.locks.heartbeat import USUAL


@pytest.mark.parametrize(
    ("out", "message", "hint"),
    [
        ("directory.parquet", "is no regular file", "without .parquet"),
        ("pipe.parquet", "is no regular file", "another --out"),
        ("file", "is a file, but a name without .parquet", "in .parquet"),
        ("file/preds.parquet", "[Nn]ot a directory", "a part of the path is a file"),
        ("foreign", "contains files that vidcnn did not write .notes.txt", "empty directory"),
        ("n" * 250 + ".parquet", "File name too long", ""),
        ("/proc/preds.parquet", "cannot write /proc/preds.parquet: ", ""),
        ("/", "cannot be an output", "inside it"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, out: str, message: str, hint: str
) -> None:
    (tmp_path / "directory.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=message) as raised:
        open_output(tmp_path / out)
    assert hint in raised.value.hint
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mount_point_cannot_be_a_dataset() -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("/dev/shm is no mount point here")
    with pytest.raises(OutputError, match="/dev/shm is a mount point"):
        LocalStorage("/dev/shm", USUAL)


def test_missing_parents_are_made_and_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "preds.parquet", [segment("a")])
    (tmp_path / "preds").mkdir()
    write(tmp_path / "preds", [segment("a")])
    assert cases.visible_rows(tmp_path / "preds") == cases.visible_rows(tmp_path / "a/b/preds.parquet")


def test_files_that_readers_ignore_do_not_disturb(tmp_path: Path) -> None:
    out = tmp_path / "preds"
    out.mkdir()
    (out / "_SUCCESS").touch()
    (out / ".DS_Store").touch()
    write(out, [segment("a")])
    assert len(list(out.iterdir())) == 3


def test_a_file_url_and_a_link_lead_to_the_same_output(tmp_path: Path) -> None:
    out = tmp_path / "real" / "preds.parquet"
    write(out, [segment("a")])
    (tmp_path / "link.parquet").symlink_to(out)
    for name in (tmp_path / "link.parquet", f"file://{out}", out.parent / "nowhere" / ".." / out.name):
        with open_output(name) as output:
            assert output.is_done(video("a"))
    write(tmp_path / "link.parquet", [segment("b")])
    assert cases.visible_rows(out) == cases.expected_rows([segment("a"), segment("b")])
    assert (tmp_path / "link.parquet").is_symlink()


def test_a_path_that_is_not_unicode_can_be_an_output(tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9.parquet")
    write(out, [segment("a")])
    write(out, [segment("b")])
    with out.open("rb") as file:
        assert pq.read_table(file).num_rows == 6


@pytest.mark.parametrize("name", ["preds", "preds.parquet"])
def test_a_full_disk_is_an_error_in_one_line_and_what_was_committed_stays(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / name
    with open_output(out) as output:
        output.add(segment("a"), rows_of(segment("a")))
        output.commit()
        output.add(segment("b"), rows_of(segment("b")))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for end in (output.commit, output.publish):
                with pytest.raises(OutputError, match=f"cannot write .*{name}: No space left") as raised:
                    end()
                assert "free some space" in raised.value.hint
        assert output.is_done(video("a"))
        output.publish()
    assert cases.in_order(cases.visible_rows(out)) == cases.expected_rows([segment("a"), segment("b")])
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("num_good", range(4))
def test_a_full_disk_while_rows_are_replaced_loses_nothing(
    tmp_path: Path, num_good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "preds"
    others = [segment(f"b{index}") for index in range(3)]
    for index in range(4):  # three part files are to be written anew, and one is to be deleted
        write(out, [segment("a", index, 4), *others[index : index + 1]])
    replace, calls = os.replace, []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) > num_good:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(*args)

    with open_output(out) as output:
        output.add(segment("a", version=1), rows_of(segment("a", version=1)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(OutputError):
                output.commit()
        output.publish()
    keys = [segment("a", version=1), *others]
    assert cases.in_order(cases.visible_rows(out)) == cases.expected_rows(keys)


@pytest.mark.parametrize("name", ["preds", "preds.parquet", "existing"])
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    place = tmp_path / "place"
    (place / "existing").mkdir(parents=True)
    (place / "existing").chmod(0o555)
    place.chmod(0o555)
    if os.access(place, os.W_OK):
        pytest.skip("this user may write everywhere")
    try:
        with pytest.raises(OutputError, match="Permission denied") as raised:
            open_output(place / name)
        assert "permissions" in raised.value.hint
    finally:
        place.chmod(0o755)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "preds"
    write(out, [segment("a")])
    (tmp_path / ".preds.vidcnn").mkdir()
    (tmp_path / ".preds.vidcnn" / "tmp-part-0.parquet").write_bytes(b"PAR1")
    (tmp_path / ".preds.vidcnn" / "lock").write_text("{}")
    open_output(out).close()
    assert list(tmp_path.iterdir()) == [out]


def test_a_hidden_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tmp-precious").write_text("precious")
    (tmp_path / ".preds.vidcnn").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"\.preds\.vidcnn is a link to something else") as raised:
        open_output(tmp_path / "preds")
    assert "\n" not in str(raised.value)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"tmp-precious": "precious"}


def test_a_half_written_file_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, precious = tmp_path / "preds", tmp_path / "precious"
    precious.write_text("precious")
    with open_output(out) as output:
        output.add(segment("a"), rows_of(segment("a")))
        name = Path(output._storage.part_path(f"part-{digest({'a': entry_of(segment('a'), 3)})}.parquet")).name
        (tmp_path / ".preds.vidcnn" / f"tmp-{name}").symlink_to(precious)
        output.commit()
    assert cases.visible_rows(out) == cases.expected_rows([segment("a")])
    assert precious.read_text() == "precious"
    assert not (out / name).is_symlink()
