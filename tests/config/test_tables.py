from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from vidcnn.config.tables import RedoErrors, TablePath, kinds_of


@pytest.mark.parametrize("out", ["t.parquet", "folder", "s3://bucket/t.parquet?region=x", "a.b/c", "t.csv?x"])
def test_a_table_is_a_parquet_file_or_a_folder(out: str) -> None:
    assert TypeAdapter(TablePath).validate_python(out) == out


@pytest.mark.parametrize("out", ["t.csv", "t?x.csv", "s3://bucket/t.csv?region=x"])
def test_other_kinds_of_tables_are_refused(out: str) -> None:
    with pytest.raises(ValidationError, match=r"must be a \.parquet file or a folder"):
        TypeAdapter(TablePath).validate_python(out)


def test_kinds_are_told_by_their_names_or_all_of_them() -> None:
    read = TypeAdapter(RedoErrors).validate_python
    assert (read(True), read(False), read(["timeout", "changed"])) == ("all", None, "timeout,changed")
    assert kinds_of(read(True)) is None
    assert kinds_of(read("timeout,changed")) == {"timeout", "changed"}
    with pytest.raises(ValidationError, match="must be all, or some of unreadable"):
        read("hangs")
