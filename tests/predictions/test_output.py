"""What a table holds, and what is done."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.predictions import cases
from tests.predictions.cases import MODES, open_output, rows_of, segment, video, visible_rows, write
from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import prediction_schema
from vidcnn.sources.keys import SegmentKey


def test_every_segment_added_is_in_the_table_once_and_nothing_else_is_left(out: Path) -> None:
    keys = [segment("b", 1, 2), segment("a"), segment("bad"), segment("b", 0, 2)]
    with Output.open(str(out), schema=cases.SCHEMA, settings=cases.SETTINGS) as output:
        assert output.add(keys[0], rows_of(keys[0]))
        assert not output.add(keys[0], rows_of(keys[0])), "buffered already"
        output.commit()
        assert not output.add(keys[0], rows_of(keys[0])), "committed already"
        for key in keys[1:]:
            assert output.add(key, rows_of(key))
        output.publish()
        assert not output.add(keys[1], rows_of(keys[1])), "published already"
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(keys)
    assert list(out.parent.iterdir()) == [out]


def test_a_later_run_knows_what_is_done(out: Path) -> None:
    write(out, [segment("a"), segment("long", 2, 3), segment("long", 0, 3)], publish=False)
    with open_output(out) as output:
        assert output.is_done(video("a"))
        assert not output.is_done(video("a", version=1)), "changed since"
        assert not output.is_done(video("long"))
        assert output.done_segments(video("long"), 3) == {0, 2}
        assert output.done_segments(video("long", version=1), 3) == set()
        assert output.done_segments(video("long"), 4) == set(), "planned in another way"
        assert output.done_segments(video("unknown"), 1) == set()
        assert output.partly_done(video("long")) == (3, {0, 2})
        assert output.partly_done(video("long", version=1)) is None
        assert not output.add(segment("long", 2, 3), rows_of(segment("long", 2, 3)))
        assert output.add(segment("long", 1, 3), rows_of(segment("long", 1, 3)))
        assert not output.is_done(video("long")), "only buffered"
        output.commit()
        assert output.is_done(video("long"))


def test_what_is_buffered_but_not_committed_is_lost_when_the_run_ends(out: Path) -> None:
    with open_output(out) as output:
        output.add(segment("a"), rows_of(segment("a")))
    with open_output(out) as output:
        assert not output.is_done(video("a"))
    assert list(out.parent.iterdir()) == []


def test_a_dataset_shows_each_commit_and_a_single_file_only_what_is_published(tmp_path: Path) -> None:
    for out in (tmp_path / name for name in MODES):
        with open_output(out) as output:
            output.add(segment("a"), rows_of(segment("a")))
            assert visible_rows(out) == []
            output.commit()
            assert len(visible_rows(out)) == (0 if out.suffix else 3)
            output.publish()
            assert len(visible_rows(out)) == 3


def test_a_changed_video_is_replaced(out: Path) -> None:
    write(out, [segment("a", 0, 2), segment("b"), segment("a", 1, 2)])
    changed = [segment("a", 0, 2, version=1), segment("a", 1, 2, version=1)]
    write(out, changed[:1])
    assert cases.in_order(visible_rows(out)) == cases.expected_rows([changed[0], segment("b")])
    write(out, changed[1:])
    assert cases.in_order(visible_rows(out)) == cases.expected_rows([*changed, segment("b")])


def test_a_video_planned_in_another_number_of_segments_is_replaced(out: Path) -> None:
    write(out, [segment("a", 0, 2), segment("a", 1, 2)])
    write(out, [segment("a", 0, 1)])
    assert visible_rows(out) == cases.expected_rows([segment("a", 0, 1)])


def test_a_single_file_shows_old_rows_until_new_ones_take_their_place(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, [segment("a")])
    write(out, [segment("a", version=1)], publish=False)
    assert visible_rows(out) == cases.expected_rows([segment("a")])
    write(out, [])
    assert visible_rows(out) == cases.expected_rows([segment("a", version=1)])


def test_a_video_that_changes_back_is_in_the_table_once(out: Path) -> None:
    write(out, [segment("a", 0, 2), segment("a", 1, 2), segment("b")])
    write(out, [segment("a", 0, 2, version=1), segment("c")], publish=False)
    write(out, [segment("a", 1, 2), segment("d")], publish=False)
    with open_output(out) as output:
        for index in {0, 1} - output.done_segments(video("a"), 2):
            output.add(segment("a", index, 2), rows_of(segment("a", index, 2)))
        output.publish()
        assert output.is_done(video("a"))
    keys = [segment("a", 0, 2), segment("a", 1, 2), segment("b"), segment("c"), segment("d")]
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(keys)


def test_of_two_versions_in_one_commit_the_last_one_stays(out: Path) -> None:
    write(out, [segment("b"), segment("a", 0, 2), segment("a", 0, 2, version=1), segment("c")])
    keys = [segment("a", 0, 2, version=1), segment("b"), segment("c")]
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(keys)


def test_a_name_that_is_not_unicode_is_done_under_the_same_name(out: Path) -> None:
    key = segment("caf\udce9.mp4")
    write(out, [key])
    with open_output(out) as output:
        assert output.is_done(key.video)
    assert visible_rows(out)[0]["video"] == "caf\\xe9.mp4"


def test_a_commit_is_due_some_time_after_the_last_one(out: Path) -> None:
    with open_output(out) as output:
        assert not output.should_commit(time.monotonic() + 60), "nothing is buffered"
        output.add(segment("a"), rows_of(segment("a")))
        assert not output.should_commit(time.monotonic() + 5)
        assert output.should_commit(time.monotonic() + 10)
        output.commit()
        assert not output.should_commit(time.monotonic() + 60)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    other = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
    with open_output(tmp_path / "preds") as output:
        with pytest.raises(ValueError, match="must have"):
            output.add(segment("a"), rows_of(segment("a"), other))
        with pytest.raises(ValueError, match="all of 'b'"):
            output.add(segment("b"), rows_of(segment("a")))
        with pytest.raises(ValueError, match="one or more"):
            output.add(segment("a"), rows_of(segment("a")).slice(0, 0))


def test_the_summary_counts_the_rows_of_the_table_before_and_after_publishing(out: Path) -> None:
    write(out, cases.OLD)
    with open_output(out) as output:
        for key in cases.NEW:
            output.add(key, rows_of(key))
        output.commit()
        before = output.summary()
        output.publish()
        assert output.summary() == before
    rows = visible_rows(out)
    assert before.num_videos == len({row["video"] for row in rows}) == 6
    assert before.num_clips == sum(row["clip"] is not None for row in rows)
    assert before.num_predictions == sum(row["error"] is None for row in rows)
    assert before.num_errors == Counter(row["error_kind"] for row in rows if row["error"])
    assert before.num_bad_videos == len({row["video"] for row in rows if row["error"]})
    assert [bad.video for bad in before.bad_videos] == ["a", "b", "bad-0", "bad-1", "c"]
    assert before.bad_videos[2].error == "version 1"


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 2)),
        st.tuples(st.just("change"), st.sampled_from("abc")),
        st.tuples(st.sampled_from(["commit", "reopen", "publish"])),
    ),
    max_size=25,
)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=100, deadline=None)
@given(operations=operations)
def test_any_sequence_of_operations_gives_what_a_dictionary_gives(
    tmp_path_factory: pytest.TempPathFactory, mode: str, operations: list[tuple]
) -> None:
    out = tmp_path_factory.mktemp("model") / mode
    plans = dict.fromkeys("abc", 0)  # even steps change the number of segments, odd ones the video
    buffered: dict[str, dict[int, SegmentKey]] = {}
    committed: dict[str, dict[int, SegmentKey]] = {}
    visible: list[SegmentKey] = []

    def key_of(name: str, index: int) -> SegmentKey:
        count = 2 + plans[name] % 2
        return segment(name, index % count, count, version=plans[name] // 2)

    def same_plan(held: dict[int, SegmentKey], key: SegmentKey) -> bool:
        return all((other.video, other.count) == (key.video, key.count) for other in held.values())

    output = open_output(out)
    try:
        for operation, *arguments in operations:
            if operation == "add":
                key = key_of(*arguments)
                name = key.video.name
                if not same_plan(buffered.get(name, {}), key):
                    del buffered[name]
                held = committed.get(name, {})
                known = key.index in buffered.get(name, {}) or (same_plan(held, key) and key.index in held)
                assert output.add(key, rows_of(key)) == (not known)
                if not known:
                    buffered.setdefault(name, {})[key.index] = key
            elif operation == "change":
                plans[arguments[0]] += 1
            elif operation == "reopen":
                output.close()
                output = open_output(out)
                buffered = {}
            else:
                getattr(output, operation)()
                for name, keys in buffered.items():
                    held = committed.get(name, {})
                    fits = same_plan(held, next(iter(keys.values())))
                    committed[name] = held | keys if fits else keys
                buffered = {}
                if operation == "publish" or mode == "preds":
                    visible = [key for keys in committed.values() for key in keys.values()]
            assert cases.in_order(visible_rows(out)) == cases.expected_rows(visible)
            for name in "abc":
                key, held = key_of(name, 0), committed.get(name, {})
                done = set(held) if same_plan(held, key) else set()
                assert output.done_segments(key.video, key.count) == done
    finally:
        output.close()
