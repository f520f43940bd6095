"""What the readers of all formats make of their files: rows, and rows with the videos they mean."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import NamedTuple

from vidcnn.choices import Split
from vidcnn.sources import SourceVideo
from vidcnn.sources.names import extension
from vidcnn.storage.uris import is_remote, split_uri

_SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_named(name: str) -> Split | None:
    """Return the split that a folder, a file or a cell names, in any of the usual spellings, or None."""
    return _SPLIT_NAMES.get(name.lower())


class ListFile(NamedTuple):
    """A file of annotations.

    Attributes:
        location: Where it is.
        shown: The file as messages name it.
        prefix: What precedes a line's number in messages: empty where there is only one file.
        split: The split of all its rows, from its name; None where the name has none.
    """

    location: str
    shown: str
    prefix: str = ""
    split: Split | None = None

    @property
    def kind(self) -> str:
        """Its extension, in lower case."""
        path = split_uri(self.location).path if is_remote(self.location) else self.location
        return extension(posixpath.basename(path))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of annotations, checked as far as it can be without looking at the video.

    Attributes:
        place: Where it is, for messages; empty where its path is enough.
        path: The video as it is written; of Kinetics, the name of its file without folder and extension.
        labels: As they are written, without blanks around them.
        is_indexed: Whether the labels are indexes and come from an index list.
        is_stem: Whether `path` is only the name of a file that may be in several places.
        is_multi_label: Whether a sample may have several classes.
        split: Given by the data, or by conditions.
        start_seconds: As in `LabelledVideo`; an empty interval means an impossible one.
        end_seconds: As in `LabelledVideo`.
        group: As in `LabelledVideo`.
    """

    place: str
    path: str
    labels: tuple[str, ...]
    is_indexed: bool = False
    is_stem: bool = False
    is_multi_label: bool = False
    split: Split | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    group: str | None = None

    @property
    def where(self) -> str:
        """The row as messages name it."""
        return f"{self.place}: {self.path}" if self.place else self.path


class Entry(NamedTuple):
    """A row and the video that it means, which may have an error."""

    row: Row
    video: SourceVideo
