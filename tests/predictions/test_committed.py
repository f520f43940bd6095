"""What files hold is found whichever of them hold it, and what is published is read back before parts are deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.predictions.cases import SCHEMA, SETTINGS, segment, video, write
from vidcnn.errors import OutputError
from vidcnn.predictions.committed import Committed, column_settings
from vidcnn.predictions.local_output import LocalFiles
from vidcnn.predictions.output_storage import look_at, open_storage


@contextmanager
def committed(out: Path) -> Iterator[Committed]:
    storage = open_storage(str(out))
    try:
        found = Committed(storage)
        found.read()
        yield found
    finally:
        storage.close()


def find(found: Committed, name: str, version: int = 0) -> set[int] | None:
    """Return the segments that are held of a version of a video."""
    key = video(name, version)
    entry = found.find(key.name, key.size_bytes, key.mtime_ns)
    if entry is None or not entry.is_of(key):
        return None
    return {index for index in range(entry.num_segments) if entry.segments >> index & 1}


def test_segments_of_a_video_are_found_in_the_single_file_and_in_parts_together(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, [segment("a", 0, 3), segment("b")])
    write(out, [segment("a", 2, 3)], publish=False)
    write(out, [segment("c")], publish=False)
    with committed(out) as found:
        assert find(found, "a") == {0, 2}
        assert [find(found, name) for name in ("b", "c", "d")] == [{0}, {0}, None]
        assert find(found, "b", version=1) is None
        assert (found.count_videos(), found.generation, found.replaced()) == (3, 1, set())
        assert len(found.files()) == 3
        assert found.recorded == [SETTINGS | column_settings(SCHEMA)]


def test_a_part_takes_precedence_over_the_file_it_was_begun_after(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, [segment("a"), segment("b")])
    write(out, [segment("a", version=1)], publish=False)
    with committed(out) as found:
        assert (find(found, "a"), find(found, "a", version=1)) == (None, {0})
        assert found.replaced() == {"a"}
        assert found.count_videos() == 2


def test_parts_that_were_published_are_deleted_but_by_one_who_only_looks(tmp_path: Path) -> None:
    out, hidden = tmp_path / "preds.parquet", tmp_path / ".preds.parquet.vidcnn"
    write(out, [segment("a")], publish=False)
    shutil.copytree(hidden, tmp_path / "copy")
    write(out, [])
    shutil.copytree(tmp_path / "copy", hidden)
    storage = look_at(str(out))
    found = Committed(storage)
    found.read()
    storage.close()
    assert (found.count_videos(), found.files()) == (1, [str(out)])
    assert len(list(hidden.glob("part-*"))) == 1
    with committed(out) as found:
        assert (found.count_videos(), found.files()) == (1, [str(out)])
        assert not list(hidden.glob("part-*"))


def test_a_part_that_is_listed_and_not_there_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "preds"
    write(out, [segment("a")])
    before = set(out.iterdir())
    write(out, [segment("b")])
    (part,) = set(out.iterdir()) - before
    listed = sorted(map(str, out.iterdir()))
    part.unlink()
    monkeypatch.setattr(LocalFiles, "list_parts", lambda storage: listed)
    storage = look_at(str(out))
    seen = Committed(storage)
    seen.read()
    storage.close()
    assert (seen.count_videos(), seen.files()) == (1, [str(path) for path in before])
    with committed(out) as found:
        assert (find(found, "a"), find(found, "b")) == ({0}, None)
        found.check_parts()
        assert found.files() == [str(path) for path in before]
        part.touch()  # it is there, and nobody knows what is in it
        with pytest.raises(OutputError, match="has appeared"):
            found.check_parts()


def test_a_video_of_which_two_parts_hold_different_versions_is_not_found(tmp_path: Path) -> None:
    out, hidden = tmp_path / "preds.parquet", tmp_path / ".preds.parquet.vidcnn"
    write(tmp_path / "other.parquet", [segment("a", version=1), segment("c")], publish=False)
    write(out, [segment("a"), segment("b")], publish=False)
    for part in (tmp_path / ".other.parquet.vidcnn").glob("part-*"):
        shutil.copy(part, hidden)
    with committed(out) as found:
        assert found.conflicts == {"a"}
        assert [find(found, "a"), find(found, "a", version=1)] == [None, None]
        assert [find(found, "b"), find(found, "c")] == [{0}, {0}]


def test_settings_and_columns_of_all_files_are_recorded_once(tmp_path: Path) -> None:
    out = tmp_path / "preds"
    write(out, [segment("a")], publish=False)
    write(out, [segment("b")], publish=False)
    with committed(out) as found:
        assert found.recorded == [SETTINGS | column_settings(SCHEMA)]
    assert column_settings(SCHEMA)["column video"] == "string"
