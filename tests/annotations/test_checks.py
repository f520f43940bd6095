from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vidcnn.annotations.checks import Sample, check_leaks, merge
from vidcnn.annotations.labelled import SPLITS, LabelledVideo
from vidcnn.annotations.problems import CONFLICT, LEAK, Problems
from vidcnn.sources import SourceVideo

NAMES = st.sampled_from(["a.mp4", "b.mp4"])
TIMES = st.none() | st.integers(0, 12).map(float)


class Noted(Problems):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("data")
        self.kinds: list[object] = []

    def add(self, kind: object, example: str) -> None:  # type: ignore[override]
        self.kinds.append(kind)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    name = draw(NAMES)
    video = SourceVideo(name, f"/{name}", False, 1, 0, None, None)
    labelled = LabelledVideo(video, (draw(st.integers(0, 1)),), draw(TIMES), draw(TIMES))
    return Sample(labelled, name, draw(st.sampled_from(SPLITS)), "")


@given(st.lists(samples(), max_size=12))
def test_a_sample_leaks_if_it_overlaps_with_an_earlier_one_of_another_split(found: list[Sample]) -> None:
    ordered = sorted((sample for sample in found if sample.start < sample.end), key=lambda sample: sample.start)
    leaking = [
        sample
        for index, sample in enumerate(ordered)
        if any(
            (other.file, other.start < sample.end, sample.start < other.end) == (sample.file, True, True)
            and other.split != sample.split
            for other in ordered[:index]
        )
    ]
    problems = Noted()
    check_leaks(found, problems)
    assert problems.kinds == [LEAK] * len(leaking)


@given(st.lists(samples(), max_size=12))
def test_samples_that_say_the_same_are_one(found: list[Sample]) -> None:
    found = [sample for sample in found if sample.split == "train" and sample.start < sample.end]
    problems = Noted()
    merged = merge(found, problems)
    keys = [(sample.file, sample.start, sample.end) for sample in merged]
    assert sorted(set(keys)) == sorted(keys)
    assert set(keys) == {(sample.file, sample.start, sample.end) for sample in found}
    labels = {(sample.file, sample.start, sample.end): set[tuple[int, ...]]() for sample in found}
    for sample in found:
        labels[sample.file, sample.start, sample.end].add(sample.labelled.labels)
    assert (CONFLICT in problems.kinds) == any(len(each) > 1 for each in labels.values())
