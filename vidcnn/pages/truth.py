"""What a table of predictions is worth where the truth is known: how often it is right, and how sure it should be.

Takes annotations and pieces of the table; keeps counts and a few of the worst mistakes. A clip belongs to the sample of
its video in whose interval its middle is. Calibration is measured as by C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On
Calibration of Modern Neural Networks (ICML 2017): the expected calibration error (ECE) of top-1 scores, over 15 bins of
the same width.

Letters: K classes, those of the table and of the truth together.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.errors import DataError
from vidcnn.pages.pictures import Clip

NUM_BINS = 15
NUM_WORST = 24
_NUM_KEPT = 400
_COLUMNS = ("video", "label", "score", "start_seconds", "end_seconds")

Interval = tuple[float, float, tuple[str, ...]]


@dataclass(frozen=True)
class Truth:
    """What videos really are.

    Attributes:
        labels: Names of the classes.
        samples: The samples of each video by its name: ``[start, end)`` in seconds, and the classes.
    """

    labels: tuple[str, ...]
    samples: dict[str, list[Interval]]


@dataclass
class Score:
    """What came of the comparison.

    Attributes:
        labels: Names of the K classes.
        num_clips: Clips whose truth is known.
        num_right: Those whose best class is one of the true ones.
        num_videos: Videos of the truth that have a prediction.
        num_videos_right: Those of one class that most of their clips have as their best one.
        num_videos_of_one_class: Those of one class.
        confusion: ``confusion[true, predicted]`` clips of samples of one class, int64 (K, K).
        num_true: Clips that are of each class, int64 (K,).
        num_predicted: Clips whose best class it is, int64 (K,).
        num_hits: Clips of which both hold, int64 (K,).
        bins: For each of `NUM_BINS` bins of scores: clips, sum of scores, clips that are right; float64 (3, NUM_BINS).
        worst: The mistakes of which the model was most sure, each of another video.
    """

    labels: list[str]
    num_clips: int
    num_right: int
    num_videos: int
    num_videos_right: int
    num_videos_of_one_class: int
    confusion: NDArray[np.int64]
    num_true: NDArray[np.int64]
    num_predicted: NDArray[np.int64]
    num_hits: NDArray[np.int64]
    bins: NDArray[np.float64]
    worst: list[Clip]

    @property
    def calibration_error(self) -> float:
        """The ECE: how far scores are from the share that is right, in the mean over clips."""
        return calibration_error(self.bins)


def read_truth(data: str, root: str | None = None) -> Truth:
    """Read annotations, in any form that `vidcnn train` takes; of all their splits.

    Args:
        data: Folder or file.
        root: Folder that the paths in files of annotations are relative to; by default their own.

    Raises:
        DataError: They cannot be used.
        SourceError: They do not exist, or cannot be listed.
        UsageError: `data` is no annotations.
    """
    found = read_annotations(data, root=root, splits=SplitSettings(val_fraction=0.0), for_training=False)
    samples: dict[str, list[Interval]] = {}
    for split in found.splits.values():
        for one in split:
            start = 0.0 if one.start_seconds is None else one.start_seconds
            end = float("inf") if one.end_seconds is None else one.end_seconds
            names = tuple(found.labels[label] for label in one.labels)
            samples.setdefault(one.video.name, []).append((start, end, names))
    return Truth(found.labels, samples)


def check_classes(truth: Truth, labels: Sequence[str]) -> None:
    """Refuse a truth that is not of the classes of a model.

    Args:
        truth: What the videos really are.
        labels: The classes of the model; none where they are not known.

    Raises:
        DataError: They have no class in common.
    """
    if labels and not set(labels) & set(truth.labels):
        raise DataError(
            f"the truth and the table have no class in common ({truth.labels[0]} is not one of the table's)",
            "give the truth with the names of the classes that the model was trained on",
        )


def score_rows(pieces: Iterable[pa.Table], truth: Truth, labels: list[str]) -> Score:
    """Compare a table with the truth.

    Args:
        pieces: Tables of rows, with and without errors, dictionaries decoded.
        truth: What the videos really are.
        labels: The classes of the table.

    Raises:
        DataError: No video of the table is in the truth.
    """
    names = sorted({*labels, *truth.labels})
    tally = _Tally(names, truth)
    for piece in pieces:
        tally.add(piece)
    if not tally.num_clips:
        example = next(iter(truth.samples), "")
        raise DataError(
            f"no predicted clip of the table is in the truth, whose names are such as '{example}'",
            "names must be those of the table: give --truth-root, or the truth of the videos that were classified",
        )
    return tally.score()


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Return the expected calibration error: of each bin, how far its mean score is from the share that is right.

    Args:
        bins: Of each bin the number, the sum of scores, and the number that is right, (3, B).
    """
    number, scores, right = bins
    return float(np.abs(scores - right).sum() / max(1.0, number.sum()))


@dataclass
class _Tally:
    names: list[str]
    truth: Truth
    num_clips: int = 0
    num_right: int = 0
    votes: Counter[tuple[int, int]] = field(default_factory=Counter)
    worst: list[tuple[float, int, Clip]] = field(default_factory=list)

    def __post_init__(self) -> None:
        num_classes = len(self.names)
        self.index = {name: index for index, name in enumerate(self.names)}
        self.videos = list(self.truth.samples)
        self.video_names = pa.array(self.videos, pa.string())
        self.samples = [
            [(start, end, tuple(self.index[name] for name in names)) for start, end, names in self.truth.samples[video]]
            for video in self.videos
        ]
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        self.num_true, self.num_predicted, self.num_hits = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.bins = np.zeros((3, NUM_BINS))

    def add(self, piece: pa.Table) -> None:
        place = pc.index_in(piece["video"], self.video_names)
        rows = piece.append_column("place", place)
        rows = rows.filter(pc.and_(pc.is_valid(place), pc.is_null(rows["error"])))
        rows = rows.filter(pc.is_valid(pc.index_in(rows["label"], pa.array(self.names, pa.string()))))
        for place, label, score, start, end in zip(
            *(rows[name].to_pylist() for name in ("place", *_COLUMNS[1:])), strict=True
        ):
            self._add_clip(place, self.index[label], score or 0.0, start or 0.0, end or 0.0)

    def _add_clip(self, place: int, predicted: int, score: float, start: float, end: float) -> None:
        middle = (start + end) / 2
        true = next((names for low, high, names in self.samples[place] if low <= middle < high), None)
        if true is None:
            return
        is_right = predicted in true
        self.num_clips += 1
        self.num_right += is_right
        self.num_predicted[predicted] += 1
        self.num_hits[predicted] += is_right
        for one in true:
            self.num_true[one] += 1
        if len(true) == 1:
            self.confusion[true[0], predicted] += 1
        number = min(NUM_BINS - 1, max(0, int(np.ceil(score * NUM_BINS)) - 1))
        self.bins[:, number] += (1, score, is_right)
        self.votes[place, predicted] += 1
        if not is_right:
            names = " or ".join(self.names[one] for one in true)
            clip = Clip(self.videos[place], start, end, self.names[predicted], score, names)
            keep = heapq.heappush if len(self.worst) < _NUM_KEPT else heapq.heappushpop
            keep(self.worst, (score, -self.num_clips, clip))

    def score(self) -> Score:
        best: dict[int, tuple[int, int]] = {}
        for (place, label), number in sorted(self.votes.items()):
            if place not in best or number > best[place][0]:
                best[place] = number, label
        of_one = {place for place in best if len({names for _, _, names in self.samples[place]}) == 1}
        of_one = {place for place in of_one if len(self.samples[place][0][2]) == 1}
        worst = {clip.video: clip for _, _, clip in sorted(self.worst)}  # the surest of each video is the last
        return Score(
            labels=self.names,
            num_clips=self.num_clips,
            num_right=self.num_right,
            num_videos=len(best),
            num_videos_right=sum(best[place][1] == self.samples[place][0][2][0] for place in of_one),
            num_videos_of_one_class=len(of_one),
            confusion=self.confusion,
            num_true=self.num_true,
            num_predicted=self.num_predicted,
            num_hits=self.num_hits,
            bins=self.bins,
            worst=sorted(worst.values(), key=lambda clip: (-clip.score, clip.video))[:NUM_WORST],
        )
