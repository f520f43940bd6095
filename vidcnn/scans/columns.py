"""The columns of a scan, and the row of a video.

Takes what was found out about a video, or what is wrong with it; returns an Arrow table of one row.
`vidcnn.predictions.output` commits it, as it commits predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from vidcnn.errors import SettingsDifferError, VideoError
from vidcnn.predictions.rows import ERROR_KIND_TYPE
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import video_text
from vidcnn.sources.lists import SCAN
from vidcnn.storage.uris import public_location
from vidcnn.video.encryption import is_reason
from vidcnn.video.likeness import PRINT_BYTES

_STRETCH = pa.struct([pa.field("start_seconds", pa.float64()), pa.field("end_seconds", pa.float64())])
_STRETCHES = pa.list_(pa.field("element", _STRETCH))

_SCHEMA = pa.schema(
    [
        pa.field("video", pa.string()),
        pa.field("readable", pa.bool_()),
        pa.field("size_bytes", pa.int64()),
        pa.field("modified", pa.timestamp("us", tz="UTC")),
        pa.field("container", pa.string()),
        pa.field("video_codec", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("pixel_format", pa.string()),
        pa.field("bit_depth", pa.int32()),
        pa.field("is_hdr", pa.bool_()),
        pa.field("duration_seconds", pa.float64()),
        pa.field("num_frames", pa.int64()),
        pa.field("frame_rate", pa.float64()),
        pa.field("is_variable_rate", pa.bool_()),
        pa.field("num_gaps", pa.int64()),
        pa.field("longest_gap_seconds", pa.float64()),
        pa.field("num_keyframes", pa.int64()),
        pa.field("longest_keyframe_seconds", pa.float64()),
        pa.field("num_audio_streams", pa.int32()),
        pa.field("is_encrypted", pa.bool_()),
        pa.field("num_samples", pa.int64()),
        pa.field("num_damaged", pa.int64()),
        pa.field("black", _STRETCHES),
        pa.field("black_seconds", pa.float64()),
        pa.field("frozen", _STRETCHES),
        pa.field("frozen_seconds", pa.float64()),
        pa.field("content_hash", pa.string()),
        pa.field("perceptual_hash", pa.binary(PRINT_BYTES)),
        pa.field("duplicate_of", pa.string()),
        pa.field("near_duplicate_of", pa.string()),
        pa.field("error", pa.string()),
        pa.field("error_kind", ERROR_KIND_TYPE),
    ]
)


def scan_schema() -> pa.Schema:
    """Return the columns of the table."""
    return _SCHEMA


def check_kind(recorded: Mapping[str, Any] | None, out: str, *, is_scan: bool) -> None:
    """Check that an output is a scan, or that it is none.

    Args:
        recorded: The settings that it was written with; None for a new one.
        out: The output.
        is_scan: What it is to be.

    Raises:
        SettingsDifferError: It is the other one.
    """
    if recorded is not None and (recorded.get("table") == SCAN) is not is_scan:
        kinds = ["a table of predictions", "a scan"]
        raise SettingsDifferError(
            f"{public_location(out)} is {kinds[not is_scan]}, not {kinds[is_scan]}", "choose another --out"
        )


def scan_row(video: SourceVideo, facts: dict[str, Any], error: VideoError | None) -> pa.Table:
    """Return the row of a video.

    Args:
        video: As it was listed.
        facts: What was found out, by column; what is missing is not known, and becomes null.
        error: What is wrong with it; None where nothing is.
    """
    message = None if error is None else error.message.encode(errors="backslashreplace").decode()
    values = {
        "readable": False,
        **facts,
        "video": video_text(video.name),
        "size_bytes": video.size_bytes,
        "modified": video.mtime_ns // 1000,
        "is_encrypted": error is not None and is_reason(error.message),
        "error": message,
        "error_kind": None if error is None else error.kind,
    }
    for name in ("black", "frozen"):
        if values.get(name) is not None:
            values[name] = [{"start_seconds": start, "end_seconds": end} for start, end in values[name]]
    columns = [_column(values.get(field.name), field.type) for field in _SCHEMA]
    return pa.table(columns, schema=_SCHEMA)


def _column(value: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array([value], kind.value_type).cast(kind)
    return pa.array([value], kind)
