from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.errors import OutputError, UsageError
from vidcnn.pages.writing import check_page, write_page


@pytest.mark.parametrize("name", ["preds.parquet", "run", "s3://bucket/report.html"])
def test_only_a_page_on_this_machine_is_written(name: str) -> None:
    with pytest.raises(UsageError, match="must "):
        check_page(name)


def test_a_place_that_takes_no_page_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    for name in ("folder.html", "none/report.html"):
        with pytest.raises(OutputError, match="cannot be written to"):
            check_page(str(tmp_path / name))
    check_page(str(tmp_path / "report.html"))


def test_a_page_replaces_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(b"old")
    write_page(str(tmp_path / "report.html"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_bytes() == b"new"
    with pytest.raises(OutputError, match="choose another --out"):
        write_page(str(tmp_path / "none" / "report.html"), b"new")
