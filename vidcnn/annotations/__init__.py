"""What to learn from: from the DATA argument of a command to labelled videos with splits."""

from vidcnn.annotations.labelled import SPLITS, Annotations, LabelledVideo, SplitSettings
from vidcnn.annotations.reading import read_annotations
from vidcnn.choices import Split

__all__ = ["SPLITS", "Annotations", "LabelledVideo", "Split", "SplitSettings", "read_annotations"]
