"""The table of `vidcnn scan`: its rows, one for each video, and what they come to."""

from vidcnn.scans.columns import scan_row, scan_schema

__all__ = ["scan_row", "scan_schema"]
