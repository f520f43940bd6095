"""What becomes of videos and segments whose process dies, hangs, or is let down by the storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.test_scoring import Scores
from tests.sampling.test_segments import constant_rate
from tests.video.decoding import WHOLE_FRAME
from vidcnn.errors import StorageError, VideoError
from vidcnn.inference.collector import SegmentCollector
from vidcnn.inference.scoring import RowFormat, SegmentRows, Undone, score_rows
from vidcnn.predictions import prediction_schema
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import VideoKey
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.video.attempts import attempt, decode_in_cell, plan_in_cell
from vidcnn.video.batching import ClipBatch, ClipRef, DecodeSettings
from vidcnn.video.cell import CellError
from vidcnn.video.grants import Grant
from vidcnn.video.planning import Plan, PlannedSegment, PlanSettings
from vidcnn.video.stopwatch import StageTimes

SETTINGS = PlanSettings(ClipSpec(Sampling(2, stride=1)), image_fps=10, max_pixels=10**6)
DECODE = DecodeSettings(replace(WHOLE_FRAME, resize=4, crop=(4, 4)), exact=False, batch_size=4, max_pixels=10**6)
SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
FORMAT = RowFormat(SCHEMA, ("run", "jump", "fall"), top_k=2)
FAULT = StorageError("it cannot be read: input/output error")

Fate = Callable[[Any, int], Any]
"""What happens to an item at its n-th try: an error to give as its outcome, a kind of death, or None."""


class FakeCell:
    """Runs work in this process, with deaths as they are told.

    Args:
        fate: What happens to each item.
    """

    def __init__(self, fate: Fate) -> None:
        self.fate = fate
        self.tries: dict[str, int] = {}

    def happens(self, item: Any) -> Any:
        name = item.name if isinstance(item, SourceVideo) else item.video.name
        self.tries[name] = self.tries.get(name, 0) + 1
        return self.fate(item, self.tries[name])

    def run(
        self, work: Any, items: Sequence[Any], *arguments: Any, seconds: Callable[[Any], float], **options: Any
    ) -> Iterator[Any]:
        assert options["grant"] == Grant.of(items)
        assert all(seconds(item) > 0 for item in items)
        yield from work(self, items)

    def nonsense(self, what: str) -> CellError:
        return CellError(0, "crash", f"it sent {what}")


def video(name: str, *, remote: bool = False) -> SourceVideo:
    return SourceVideo(name, f"{'s3://bucket' if remote else ''}/{name}", False, 10, 1, None, None)


def plans_for(cell: FakeCell, videos: Sequence[SourceVideo]) -> Iterator[list[Plan]]:
    for position, one in enumerate(videos):
        deed = cell.happens(one)
        if isinstance(deed, str):
            raise CellError(position, deed, "told to")  # type: ignore[arg-type]
        yield [deed if isinstance(deed, Exception) else (segment(one.name, 6, one.location),)]


def segment(name: str, num_clips: int, location: str | None = None) -> PlannedSegment:
    (planned,) = plan_segments(constant_rate(2 * num_clips), SETTINGS.clips)
    return PlannedSegment(VideoKey(name, 10, 1), location or f"/{name}", False, "pts", planned)


def planned(names: str, fate: Fate, *, remote: bool = False) -> tuple[dict[str, Any], list[float], FakeCell]:
    videos, slept, cell = [video(name, remote=remote) for name in names], [], FakeCell(fate)
    told: list[float] = []
    found = list(plan_in_cell(videos, SETTINGS, cell, work=plans_for, sleep=told.append))  # type: ignore[arg-type]
    assert sorted(index for index, _ in found) == list(range(len(names)))
    slept += told
    said = {names[index]: "plan" if isinstance(plan, tuple) else plan for index, plan in found}
    return said, slept, cell


@pytest.mark.parametrize(
    ("kind", "tries", "said"),
    [("crash", 3, "decoder_crash"), ("timeout", 2, "timeout"), ("storage", 2, None)],
)
def test_a_video_that_takes_its_process_along_is_tried_again_and_then_judged(
    kind: str, tries: int, said: str | None
) -> None:
    found, _, cell = planned("abcde", lambda item, n: kind if item.name == "c" else None)
    assert {name: plan for name, plan in found.items() if name != "c"} == dict.fromkeys("abde", "plan")
    assert cell.tries["c"] == tries
    if said is None:
        assert isinstance(found["c"], StorageError)
    else:
        assert isinstance(found["c"], VideoError)
        assert found["c"].kind == said


def test_one_death_is_an_accident() -> None:
    found, slept, _ = planned("abc", lambda item, n: "crash" if n == 1 else None)
    assert found == dict.fromkeys("abc", "plan")
    assert slept == []


def test_storage_is_asked_again_after_pauses_that_grow() -> None:
    found, slept, cell = planned("ab", lambda item, n: FAULT if item.name == "b" else None)
    assert found == {"a": "plan", "b": FAULT}
    assert cell.tries == {"a": 1, "b": 4}
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_storage_that_comes_back_costs_nothing() -> None:
    found, slept, _ = planned("ab", lambda item, n: FAULT if n < 3 else None)
    assert found == {"a": "plan", "b": "plan"}
    assert len(slept) == 2


def test_a_bad_file_is_judged_at_once_and_one_in_object_storage_after_another_look() -> None:
    bad = VideoError("unreadable", "noise")
    found, _, cell = planned("ab", lambda item, n: bad if item.name == "b" else None)
    assert (found["b"], cell.tries["b"]) == (bad, 1)
    found, _, cell = planned("ab", lambda item, n: bad if item.name == "b" else None, remote=True)
    assert (found["b"], cell.tries["b"]) == (bad, 2)
    found, _, cell = planned("ab", lambda item, n: bad if item.name == "b" and n == 1 else None, remote=True)
    assert found == {"a": "plan", "b": "plan"}


def test_of_videos_read_at_the_same_time_the_one_that_kills_is_found() -> None:
    found, _, _ = planned("abcdefgh", lambda item, n: "crash" if item.name == "f" else None, remote=True)
    assert {name for name, plan in found.items() if plan != "plan"} == {"f"}


def batches_for(cell: FakeCell, unit: Sequence[PlannedSegment]) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Yield batches of four clips that go across segments; a fate (kind, clip) happens before that clip."""
    segments: list[PlannedSegment] = []
    clips: list[ClipRef] = []
    failures: list[tuple[ClipRef, Any]] = []

    def take() -> tuple[ClipBatch, StageTimes]:
        numbers = [cell.tries[segments[ref.segment].video.name] for ref in clips]  # pixels show which try they are from
        pixels = np.array(numbers, np.uint8).reshape(-1, 1, 1, 1, 1) * np.ones((1, 2, 4, 4, 3), np.uint8)
        batch = ClipBatch(tuple(segments), tuple(clips), pixels, tuple(failures))
        segments.clear()
        clips.clear()
        failures.clear()
        return batch, StageTimes(decode_seconds=1.0)

    for position, one in enumerate(unit):
        fate = cell.happens(one)
        for clip in range(one.segment.num_clips):
            if not segments or segments[-1] is not one:
                segments.append(one)
            ref = ClipRef(len(segments) - 1, clip)
            if fate is not None and clip >= fate[1]:
                if isinstance(fate[0], str):
                    raise CellError(position, fate[0], "told to")  # type: ignore[arg-type]
                failures.append((ref, fate[0]))
            else:
                clips.append(ref)
            if len(clips) == 4:
                yield take()
    if clips or failures:
        yield take()


def committed(unit: list[PlannedSegment], cell: FakeCell) -> tuple[dict[str, list[Any]], set[str]]:
    """Return the rows of whole segments by video, as numbers of clips and kinds of errors; and what is left undone."""
    collector, rows, undone = SegmentCollector(), {}, set()
    for batch, _ in decode_in_cell(unit, DECODE, cell, work=batches_for, sleep=lambda _: None):  # type: ignore[arg-type]
        probabilities = batch.pixels[:, :1, :1, :1].reshape(-1, 3) / np.float32(100)
        for one in score_rows(batch, Scores(probabilities, None), FORMAT):
            if isinstance(one, Undone):
                undone.add(one.video.name)
            elif isinstance(one, SegmentRows) and (whole := collector.add(one)) is not None:
                assert one.segment.video.name not in rows, "committed twice"
                assert len(set(whole["score"].drop_null().to_pylist())) <= 1, "attempts are mixed"
                rows[one.segment.video.name] = list(
                    zip(whole["clip"].to_pylist(), whole["error_kind"].to_pylist(), strict=True)
                )
    return rows, undone


def good(num_clips: int) -> list[tuple[int, None]]:
    return [(clip, None) for clip in range(num_clips)]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["crash", "timeout"]), st.integers(0, 19)), max_size=6),
)
def test_every_segment_is_whole_once_wherever_the_decoder_dies(
    lengths: list[int], deaths: list[tuple[int, str, int]]
) -> None:
    unit = [segment("abcde"[number], length) for number, length in enumerate(lengths)]
    fates: dict[str, list[tuple[str, int]]] = {}
    for number, kind, clip in deaths:
        fates.setdefault("abcde"[number], []).append((kind, clip))

    def fate(item: PlannedSegment, n: int) -> Any:
        mine = fates.get(item.video.name, [])
        return mine[n - 1] if n <= len(mine) and mine[n - 1][1] < item.segment.num_clips else None

    rows, undone = committed(unit, FakeCell(fate))
    assert undone == set()
    for one in unit:
        clips = rows[one.video.name]
        assert [clip for clip, _ in clips] == list(range(one.segment.num_clips))
        assert len({kind for _, kind in clips}) == 1
        kinds = {kind for kind, _ in fates.get(one.video.name, [])}
        assert clips[0][1] in {None, *("decoder_crash" if kind == "crash" else kind for kind in kinds)}


@pytest.mark.parametrize(("kind", "said"), [("crash", "decoder_crash"), ("timeout", "timeout")])
def test_what_always_kills_its_decoder_becomes_rows_and_costs_nothing_else(kind: str, said: str) -> None:
    unit = [segment("a", 6), segment("b", 10), segment("c", 3)]
    rows, _ = committed(unit, FakeCell(lambda item, n: (kind, 5) if item.video.name == "b" else None))
    assert rows == {"a": good(6), "b": [(clip, said) for clip in range(10)], "c": good(3)}


def test_what_the_storage_keeps_back_is_left_undone_and_has_no_row() -> None:
    unit = [segment("a", 6), segment("b", 10), segment("c", 3)]
    cell = FakeCell(lambda item, n: (FAULT, 5) if item.video.name == "b" else None)
    assert committed(unit, cell) == ({"a": good(6), "c": good(3)}, {"b"})
    assert cell.tries == {"a": 1, "b": 4, "c": 1}


def test_storage_that_fails_in_the_middle_once_leaves_no_trace() -> None:
    unit = [segment("a", 6), segment("b", 10), segment("c", 3)]
    rows, undone = committed(unit, FakeCell(lambda item, n: (FAULT, 5) if n == 1 else None))
    assert (rows, undone) == ({"a": good(6), "b": good(10), "c": good(3)}, set())


def test_damage_in_object_storage_is_looked_at_twice() -> None:
    damage = VideoError("corrupt_frames", "damaged")
    unit = [replace(segment("a", 9), location="s3://bucket/a")]
    cell = FakeCell(lambda item, n: (damage, 7) if n == 1 else None)
    assert committed(unit, cell) == ({"a": good(9)}, set())
    cell = FakeCell(lambda item, n: (damage, 7))
    assert committed(unit, cell) == ({"a": [*good(7), (7, "corrupt_frames"), (8, "corrupt_frames")]}, set())
    assert cell.tries == {"a": 2}


def test_a_single_piece_of_work_is_tried_until_it_is_clear_why_it_fails() -> None:
    at_once = RetryPolicy(num_tries=3, first_wait_seconds=0)
    for kind, said in (("crash", "decoder_crash"), ("timeout", "timeout")):

        def die(kind: Any = kind) -> str:
            raise CellError(0, kind, "told to")

        found = attempt(die, at_once)
        assert isinstance(found, VideoError)
        assert found.kind == said
    assert attempt(lambda: "done", at_once) == "done"

    def fail() -> str:
        raise FAULT

    with pytest.raises(StorageError):
        attempt(fail, at_once)
