"""The predictions table: its rows, and how they are committed so that the table is right at any moment."""

from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import BadVideo, Summary, error_rows, prediction_rows, prediction_schema
from vidcnn.sources.keys import SegmentKey, VideoKey

__all__ = [
    "BadVideo",
    "Output",
    "SegmentKey",
    "Summary",
    "VideoKey",
    "error_rows",
    "prediction_rows",
    "prediction_schema",
]
