from __future__ import annotations

import io
import os
import zipfile

import pytest

from vidcnn.models.archives import called_malformed, open_stored
from vidcnn.models.pickles import MalformedError


def test_a_stored_archive_is_opened() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"content")
    with open_stored(file) as archive:
        assert archive.read("a") == b"content"


def test_an_error_of_the_disk_is_not_taken_for_damage() -> None:
    with pytest.raises(OSError, match="Input/output"), called_malformed():
        raise OSError(5, os.strerror(5))
    with pytest.raises(MalformedError, match="before its beginning"), called_malformed(), open(__file__, "rb") as file:
        file.seek(-1)


def test_an_archive_whose_members_overlap_or_are_too_many_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"\0" * 1000)
    content = bytearray(file.getvalue())
    at = content.rfind(b"PK\x01\x02")
    content[at + 20 : at + 28] = (10**6).to_bytes(4, "little") * 2  # the sizes that the table of contents claims
    with pytest.raises(MalformedError, match="larger than the file"), open_stored(io.BytesIO(bytes(content))):
        pass
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = (2**31).to_bytes(4, "little")
    with pytest.raises(MalformedError, match="table of contents has"), open_stored(io.BytesIO(bytes(content))):
        pass
