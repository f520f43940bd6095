from __future__ import annotations

import errno
import os

import pyarrow as pa
import pytest

from vidcnn.errors import OutputError
from vidcnn.predictions.output_layout import explained, is_single_file, part_names


@pytest.mark.parametrize(
    ("name", "is_single"), [("preds.parquet", True), ("PREDS.Parquet", True), ("preds", False), ("parquet", False)]
)
def test_a_name_says_whether_an_output_is_a_file_or_a_folder(name: str, is_single: bool) -> None:
    assert is_single_file(name) == is_single


def test_part_files_are_found_among_files_that_are_hidden_or_being_written() -> None:
    entries = ["part-b.parquet", "part-a.parquet", ".hidden", "_SUCCESS", "tmp-part-c.parquet", "lock-1"]
    assert part_names(entries, "preds") == ["part-a.parquet", "part-b.parquet"]


def test_foreign_files_are_named_but_no_more_than_three() -> None:
    with pytest.raises(OutputError, match=r"preds contains files that vidcnn did not write \(a, b, c\)"):
        part_names(["d", "c", "b", "a", "part-a.parquet"], "preds")


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, "x"), "cannot write preds: No space left on device", "free some space"),
        (OSError(errno.EROFS, "x"), "cannot write preds: Read-only file system", "can be written"),
        (OSError("only words\nand more"), "cannot write preds: only words", ""),
        (pa.ArrowInvalid("broken\nin two lines"), "cannot write preds: broken", ""),
    ],
)
def test_a_failure_of_the_storage_is_one_line_with_what_to_do(error: Exception, message: str, hint: str) -> None:
    with pytest.raises(OutputError) as raised, explained("preds"):
        raise error
    assert (raised.value.message, hint in raised.value.hint) == (message, True)
    assert raised.value.__cause__ is error


def test_the_words_of_the_system_are_used_for_an_error_with_a_number() -> None:
    with pytest.raises(OutputError, match=os.strerror(errno.EDQUOT)), explained("preds"):
        raise OSError(errno.EDQUOT, "something else")
