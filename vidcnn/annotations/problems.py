"""Everything that is wrong with annotations, gathered for one message.

Single findings, each of a kind, become one `DataError` that counts each kind and shows its first few. What is
not wrong, but may not be what the user expects, is noted beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from vidcnn.errors import DataError
from vidcnn.logins import hide_logins
from vidcnn.sources.names import shown_name

_NUM_SHOWN = 5


class Kind(NamedTuple):
    """A kind of problem: its words after the numbers one and many, and how to put it right."""

    one: str
    many: str
    fix: str


class Problems:
    """The problems found so far.

    Args:
        shown: The data as messages name it.

    Attributes:
        notices: What is only worth a word, a line each.
    """

    def __init__(self, shown: str) -> None:
        self.notices: list[str] = []
        self._shown = shown
        self._counts: dict[Kind, int] = {}
        self._examples: dict[Kind, list[str]] = {}

    def add(self, kind: Kind, example: str) -> None:
        """Note a problem: of what kind, and where or with what."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _NUM_SHOWN:
            examples.append(printable(example))

    def note(self, notice: str) -> None:
        """Note what a user should know and may be as it is meant; once, however often it is found."""
        if notice not in self.notices:
            self.notices.append(notice)

    def raise_if_any(self) -> None:
        """Raise what was noted.

        Raises:
            DataError: There is a problem. Its first line is a summary; the others, indented, are about the kinds.
        """
        if not self._counts:
            return
        total = sum(self._counts.values())
        lines = [f"{total:,} problem{'' if total == 1 else 's'} in '{self._shown}'"]
        for kind, count in self._counts.items():
            lines.append(f"  {count:,} {kind.one if count == 1 else kind.many}")
            lines += [f"    {example}" for example in self._examples[kind] if example]
            if count > _NUM_SHOWN:
                lines.append(f"    and {count - _NUM_SHOWN:,} more")
        raise DataError("\n".join(lines), "; ".join(dict.fromkeys(kind.fix for kind in self._counts if kind.fix)))


def printable(text: str) -> str:
    """Return a text of the data so that it stays on its line, whatever bytes it contains."""
    return hide_logins(shown_name(text))


_PATHS = "paths are relative to the folder of the annotations, or to --root"
_LABELS = "labels are names of the labels file, or indexes into it from 0"
_LEAK = "what is trained on cannot be validated on: give each of them one split"

MISSING = Kind("file does not exist", "files do not exist", _PATHS)
UNREADABLE = Kind(
    "file cannot be read", "files cannot be read", "look at what keeps them from being read, and try again"
)
LEADS_OUT_OF_DATA = Kind(
    "symbolic link leads out of the data",
    "symbolic links lead out of the data",
    "--follow-links reads what such links lead to",
)
NO_PATH = Kind("row has no path", "rows have no path", "each row names a video")
EXTRA_CELLS = Kind(
    "row has more cells than the heading", "rows have more cells than the heading", "put a cell with commas in quotes"
)
NO_LABEL = Kind("row has no label", "rows have no label", "give each row a label, or take it out")
NO_TEXT = Kind("label is not UTF-8", "labels are not UTF-8", "write the file of annotations in UTF-8")
NO_INDEX = Kind(
    "line does not end in a class index",
    "lines do not end in a class index",
    "write 'path index', or give the file the heading path,label",
)
BAD_INTERVAL = Kind(
    "interval is impossible",
    "intervals are impossible",
    "intervals are [start_seconds, end_seconds) with 0 <= start < end",
)
BAD_TIME = Kind(
    "row without times in seconds", "rows without times in seconds", "time_start and time_end are whole seconds"
)
UNKNOWN_SPLIT = Kind("row has an unknown split", "rows have an unknown split", "splits are train, val and test")
NO_SPLIT = Kind("row has no split, others have", "rows have no split, others have", "give all rows a split, or none")
OTHER_SPLIT = Kind(
    "row has another split than its file",
    "rows have another split than their file",
    "move it to the file of its split, or leave the column out",
)
NO_GROUP = Kind("row has no value to split by", "rows have no value to split by", "fill the column of --split-by")
LOOSE = Kind(
    "video is not in a class folder",
    "videos are not in class folders",
    "put videos below a folder named like the class",
)
NO_SEQUENCE = Kind(
    "folder has images that are not one numbered sequence",
    "folders have images that are not one numbered sequence",
    "name frames like img_00001.jpg, one video a folder",
)
EMPTY_CLASS = Kind(
    "class folder contains no video", "class folders contain no video", "add videos, or take the folder out"
)
UNKNOWN_LABEL = Kind(
    "row has a label that is not in the labels file", "rows have labels not in the labels file", _LABELS
)
INDEX_BEYOND = Kind("row has an index beyond the labels file", "rows have indexes beyond the labels file", _LABELS)
CONFLICT = Kind(
    "sample is there twice, with different labels",
    "samples are there twice, with different labels",
    "several labels of one sample belong in one row, separated by |",
)
LEAK = Kind("sample is in two splits", "samples are in two splits", _LEAK)
GROUP_OVERLAP = Kind(
    "sample is in two groups", "samples are in two groups", "what overlaps in time has to be in one group"
)
STRADDLE = Kind("group is in several splits", "groups are in several splits", _LEAK)
NO_MATCH = Kind("condition for validation that no row meets", "conditions that no row meets", "check --val-where")
NOT_TRAINED = Kind(
    "class to be validated or tested without a training sample",
    "classes to be validated or tested without a training sample",
    "add training samples of it, or take it out",
)
UNUSED_LABEL = Kind(
    "class of the labels file without a training sample",
    "classes of the labels file without a training sample",
    "add samples of it, or take its name out of the labels file",
)
FEW_CLASSES = Kind("class is not enough", "classes are not enough", "a classifier needs at least two")
NO_TRAINING = Kind("split is empty: train", "splits are empty: train", "give training samples")
