"""What to learn from: from the DATA argument of a command to labelled videos with splits."""

from vidcnn.annotations.labelled import SPLITS, Annotations, LabelledVideo, Split, SplitSettings
from vidcnn.annotations.reading import read_annotations

__all__ = ["SPLITS", "Annotations", "LabelledVideo", "Split", "SplitSettings", "read_annotations"]
