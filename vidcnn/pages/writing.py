"""Where a page is written: a file on this machine, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from vidcnn.errors import OutputError, UsageError, describe_reason
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.uris import is_remote, public_location


def check_page(out: str) -> None:
    """Refuse a place for a page before work is done for it.

    Raises:
        UsageError: It is no name of a page.
        OutputError: It cannot be written there.
    """
    if is_remote(out):
        shown = public_location(out)
        raise UsageError(f"--out ({shown}) must be a file on this machine", "copy the page to where it is to be")
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out ({out}) must end in .html", "a table or a run is never overwritten by a page")
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the page cannot be written to '{out}'", "name a file in a folder that is there")


def write_page(out: str, page: bytes) -> None:
    """Write a page.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        write_whole(Path(out), page)
    except OSError as error:
        reason = describe_reason(error)
        raise OutputError(f"the page cannot be written to '{out}': {reason}", "choose another --out") from error
