from __future__ import annotations

import pytest

from vidcnn.annotations.labelled import Annotations, LabelledVideo, SplitSettings
from vidcnn.sources import SourceVideo

VIDEO = SourceVideo("a.mp4", "/a.mp4", False, 1, 1, None, None)


def test_a_sample_of_several_classes_counts_in_each() -> None:
    samples = tuple(LabelledVideo(VIDEO, labels) for labels in ((0,), (0, 2), (2,)))
    annotations = Annotations(("a", "b", "c"), True, {"train": samples, "val": (), "test": ()}, {})
    assert annotations.counts("train") == (2, 0, 2)
    assert annotations.counts("val") == (0, 0, 0)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), {}),
        (("fold=0",), {"fold": {"0"}}),
        ((" fold = 0 , 1 ",), {"fold": {"0", "1"}}),
        (("fold=0,1", "scene=x=y"), {"fold": {"0", "1"}, "scene": {"x=y"}}),
        (("fold=0,1", "fold=1,2"), {"fold": {"1"}}),
    ],
)
def test_conditions_on_a_column_admit_what_all_of_them_say(
    conditions: tuple[str, ...], expected: dict[str, set[str]]
) -> None:
    assert SplitSettings(val_where=conditions).conditions == expected


@pytest.mark.parametrize("condition", ["fold", "=1", "fold=", "fold=1,"])
def test_a_condition_that_is_not_column_and_value_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match=r"val_where \('.*'\) must be column=value or column=value,value"):
        SplitSettings(val_where=(condition,))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_share_for_validation_leaves_something_to_train_on(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"val_fraction \(.*\) must be at least 0 and less than 1"):
        SplitSettings(val_fraction=fraction)
