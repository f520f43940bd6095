"""Folders, lists and their videos, for tests of listing."""

from __future__ import annotations

from pathlib import Path

from vidcnn.sources import Listing


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 10)


def names_of(*sources: object) -> list[str]:
    return [video.name for video in Listing([str(source) for source in sources])]


def write_list(path: Path, *entries: object) -> Path:
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return path
