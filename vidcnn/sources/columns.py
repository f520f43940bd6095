"""Names of a table's columns: the same one however it is spelt, and those that mean what another name is known for."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BLANKS = " \t\r\n\ufeff\xa0"
_SEPARATORS = re.compile(r"[\s\-.]+")

_MEANINGS: dict[str, tuple[str, ...]] = {
    "path": (
        "clip", "clip_path", "file", "file_name", "file_path", "filename", "filepath", "location", "src", "uri", "url",
        "video_file", "video_filename", "video_location", "video_name", "video_path", "video_uri", "video_url",
        "videopath",
    ),
    "label": (
        "action", "action_class", "action_label", "activity", "annotation", "category", "class", "class_id",
        "class_index", "class_label", "class_name", "classes", "classname", "label_id", "label_index", "label_name",
        "labels", "tag", "tags", "target",
    ),
    "split": ("data_split", "partition", "set", "split_name", "subset"),
    "start_seconds": (
        "begin", "begin_s", "begin_sec", "begin_seconds", "begin_time", "clip_start", "from", "onset", "segment_start",
        "start", "start_s", "start_sec", "start_second", "start_time", "start_time_seconds", "start_timestamp",
        "starttime", "t0", "t_begin", "t_start", "time_begin", "time_start", "timestamp_start",
    ),
    "end_seconds": (
        "clip_end", "end", "end_s", "end_sec", "end_second", "end_time", "end_time_seconds", "end_timestamp", "endtime",
        "finish", "segment_end", "stop", "stop_seconds", "stop_time", "t1", "t_end", "t_stop", "time_end", "time_stop",
        "timestamp_end", "to",
    ),
}  # fmt: skip
_MEANT = {name: known for known, names in _MEANINGS.items() for name in names}

_OTHER_UNITS = {
    **dict.fromkeys(
        ("begin_frame", "first_frame", "frame_start", "start_frame", "start_ms", "start_time_ms"), "start_seconds"
    ),
    **dict.fromkeys(("end_frame", "end_ms", "end_time_ms", "frame_end", "last_frame", "stop_frame"), "end_seconds"),
}


def column_name(text: str) -> str:
    """Return a heading as it is compared: in lower case, without blanks around it, and ``_`` for those inside."""
    return _SEPARATORS.sub("_", text.strip(_BLANKS).lower())


def meant_columns(names: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Return columns that look like known ones that a table does not have, and these.

    Args:
        names: Columns of the table that are not used, as `column_name` returns them.
        known: Names of known columns that it does not have.
    """
    meant = {name: _MEANT.get(name) or _OTHER_UNITS.get(name, "") for name in names}
    return {name: column for name, column in meant.items() if column in known}


def renaming_hint(meant: dict[str, str]) -> str:
    """Return what columns should be called.

    Args:
        meant: Columns, and the known ones that they look like.
    """
    parts = []
    for column in dict.fromkeys(meant.values()):
        names = [name for name in meant if meant[name] == column]
        shown = " or ".join(f"'{name}'" for name in names)
        if set(names) & _OTHER_UNITS.keys():
            parts.append(f"give the times of {shown} in seconds, in a column '{column}'")
        else:
            parts.append(f"rename {shown} to '{column}'")
    return "; ".join(parts)
