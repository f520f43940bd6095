from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.predictions import cases
from tests.predictions.cases import open_output, rows_of, segment, video, visible_rows, write
from vidcnn import __version__
from vidcnn.errors import OutputBusyError, OutputError, SettingsDifferError
from vidcnn.predictions.files import metadata, read_ledger, write_file
from vidcnn.predictions.local_output import LocalStorage
from vidcnn.predictions.rows import prediction_schema
from vidcnn.predictions.section import LedgerWriter
from vidcnn.sources.keys import SegmentKey

MODES = ["preds.parquet", "preds"]


@pytest.fixture(params=MODES)
def out(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / request.param


def hidden(out: Path) -> Path:
    return out.with_name(f".{out.name}.vidcnn")


# What a table holds, and what is done


def test_every_segment_added_is_in_the_table_once_and_nothing_else_is_left(out: Path) -> None:
    keys = [segment("b", 1, 2), segment("a"), segment("bad"), segment("b", 0, 2)]
    with open_output(out) as output:
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


# Interruptions


def check_is_whole(out: Path) -> None:
    """Check what a reader sees: whole segments, no clip twice, one version of each video."""
    rows = cases.in_order(visible_rows(out))
    assert len({(row["video"], row["clip"]) for row in rows}) == len(rows)
    segments = {}
    for key in [*cases.OLD, *cases.NEW]:
        for row in cases.row_dicts(key):
            segments[json.dumps(row)] = key
    held = {segments[json.dumps(row)] for row in rows}
    assert rows == cases.expected_rows(held)
    for name in {key.video.name for key in held}:
        assert len({(key.video, key.count) for key in held if key.video.name == name}) == 1


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # What a child would import, pyarrow's pandas included: each then starts in milliseconds.
    context.set_forkserver_preload(["pandas", "pytest", "vidcnn.predictions.output"])
    return context


def undisturbed(tmp_path: Path, mode: str) -> Path:
    out = tmp_path / "undisturbed" / mode
    write(out, cases.OLD)
    write(out, cases.NEW)
    return out


def assert_same(out: Path, other: Path) -> None:
    assert cases.in_order(visible_rows(out)) == cases.in_order(visible_rows(other))
    if out.suffix:
        assert out.read_bytes() == other.read_bytes()
    assert list(out.parent.iterdir()) == [out]


def test_a_kill_at_any_step_of_the_file_system_loses_nothing_but_work(
    tmp_path: Path, out: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    expected = undisturbed(tmp_path, out.name)
    write(tmp_path / "start" / out.name, cases.OLD)
    num_kills = 0
    for step in range(1, 1000):
        place = tmp_path / f"{step}"
        shutil.copytree(tmp_path / "start", place)
        run = processes.Process(target=cases.resume_and_die, args=(str(place / out.name), 7, step))
        run.start()
        run.join()
        check_is_whole(place / out.name)
        if run.exitcode == 0:
            break
        num_kills += 1
        write(place / out.name, cases.NEW)
        assert_same(place / out.name, expected)
    assert num_kills > 20


def test_kills_at_random_moments_end_in_the_table_of_an_undisturbed_run(
    tmp_path: Path, out: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    expected = undisturbed(tmp_path, out.name)
    moments = random.Random(3)
    num_kills = num_runs = 0
    while num_kills < 15:
        num_runs += 1
        out = tmp_path / f"{num_runs}" / out.name
        write(out, cases.OLD)
        exit_code = None
        while exit_code != 0:
            run = processes.Process(target=cases.resume, args=(str(out), num_kills, 0.01))
            run.start()
            deadline = time.monotonic() + (moments.uniform(0.02, 0.25) if num_kills < 15 else 60)
            while run.is_alive() and time.monotonic() < deadline:
                check_is_whole(out)
            run.kill()
            run.join()
            exit_code = run.exitcode
            assert exit_code in (0, -signal.SIGKILL)
            num_kills += exit_code != 0
            check_is_whole(out)
        assert_same(out, expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_single_file_does_not_depend_on_how_segments_were_grouped(tmp_path: Path, seed: int) -> None:
    for name in ("once", "resumed"):
        write(tmp_path / name / "preds.parquet", cases.OLD)
    write(tmp_path / "once" / "preds.parquet", cases.NEW)
    cases.resume(str(tmp_path / "resumed" / "preds.parquet"), seed)
    assert_same(tmp_path / "resumed" / "preds.parquet", tmp_path / "once" / "preds.parquet")


def test_publishing_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD)
    before = out.stat()
    write(out, cases.OLD)
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_parts_left_by_a_run_killed_while_it_published_are_removed_and_not_done_again(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    for index in range(2):
        write(out, [segment("a", index, 2)], publish=False)
    shutil.copytree(hidden(out), tmp_path / "copy")
    write(out, [])
    hidden(out).mkdir()
    part = min((tmp_path / "copy").glob("part-*"))
    shutil.copy(part, hidden(out))
    with open_output(out) as output:
        assert output.is_done(video("a"))
    assert not hidden(out).exists()


def test_an_output_of_an_earlier_version_goes_on_as_before(out: Path) -> None:
    write(out, cases.OLD, publish=False)
    for path in sorted(out.iterdir() if out.is_dir() else hidden(out).glob("part-*")):
        cases.make_old(path)
    write(out, [])
    if out.suffix:
        cases.make_old(out)
    with open_output(out) as output:
        assert output.done_segments(video("a"), 2) == {0, 1}
        assert output.is_done(video("bad-0"))
    write(out, cases.NEW)
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(
        [*cases.NEW, *(segment("c", index, 2) for index in (0, 1))]
    )


def test_a_table_of_an_earlier_version_that_arrow_refuses_to_open_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD)
    cases.make_old(out, padding=120_000_000)
    with pytest.raises(OSError, match="Exceeded size limit"):
        pq.ParquetFile(out)
    write(out, [segment("z")])
    assert len(pq.read_table(out)) == len(cases.expected_rows(cases.OLD)) + 3
    assert pq.read_metadata(out).serialized_size < 100_000


def test_what_is_new_is_deleted_only_once_the_table_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD)
    before = out.read_bytes()
    write(out, [segment("z")], publish=False)
    (part,) = hidden(out).glob("part-*")

    def lossy(sink: IO[bytes], tables: Iterable[pa.Table], *arguments: Any) -> None:
        write_file(sink, (table.slice(1) for table in tables), *arguments)

    monkeypatch.setattr("vidcnn.predictions.output.write_file", lossy)
    with open_output(out) as output, pytest.raises(OutputError, match=r"should hold|are read back") as raised:
        output.publish()
    assert "delete" not in raised.value.hint.replace("nothing was deleted", "")
    assert out.read_bytes() == before
    assert part.exists()
    monkeypatch.undo()
    write(out, [])
    assert cases.visible_rows(out) == cases.expected_rows([*cases.OLD, segment("z")])


@pytest.mark.parametrize("damage", ["cut short", "overwritten"])
def test_what_is_new_is_deleted_only_once_what_is_stored_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """As on object storage, where what was checked before it was sent need not be what arrived."""
    out = tmp_path / "preds.parquet"
    write(out, [segment("z")], publish=False)
    (part,) = hidden(out).glob("part-*")
    whole = LocalStorage.write

    def spoil(self: LocalStorage, path: str, *arguments: Any) -> None:
        whole(self, path, *arguments)
        with open(path, "r+b") as file:
            if damage == "cut short":
                file.truncate(100)
            else:
                file.seek(4)
                file.write(bytes(200))

    monkeypatch.setattr(LocalStorage, "write", spoil)
    with open_output(out) as output, pytest.raises(OutputError):
        output.publish()
    assert part.exists()


def test_the_footer_does_not_grow_with_the_videos(out: Path) -> None:
    def footer(number: int) -> int:
        write(out, [segment(f"{index:05}") for index in range(number)])
        (path,) = [out] if out.is_file() else out.glob("part-*")
        size = pq.read_metadata(path).serialized_size
        path.unlink()
        return int(size)

    assert footer(2000) < footer(20) + 2000  # less than a byte for each


def test_rows_are_taken_out_of_a_part_only_once_the_rest_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "preds"
    write(out, [segment("a"), segment("b")])
    before = visible_rows(out)
    monkeypatch.setattr("vidcnn.predictions.output.read_rows", lambda *_, **__: rows_of(segment("b")).slice(2))
    with open_output(out) as output:
        output.add(segment("a", version=1), rows_of(segment("a", version=1)))
        with pytest.raises(OutputError, match="should hold 3 rows, but 1 are there"):
            output.commit()
    assert visible_rows(out) == before


# Errors that are done again


ODD = [segment("long", index, 3) for index in range(3)]  # of which the second has an error row
ERRORS = [segment("bad-0"), segment("a"), segment("b"), *ODD]


def test_videos_with_errors_of_some_kinds_count_as_not_done_until_they_are_whole_again(out: Path) -> None:
    write(out, ERRORS)
    before = visible_rows(out)
    with open_output(out) as output:
        assert output.redo_errors(["timeout"]) == 0
        assert output.redo_errors(["timeout", "unreadable"]) == 1
        assert [output.is_done(key.video) for key in ERRORS] == [False, *[True] * 5]
        assert output.redo_errors() == 2
        assert not output.is_done(video("long"))
        assert output.partly_done(video("long")) is None
        assert output.done_segments(video("long"), 3) == set()
        for key in ODD[:2]:
            assert output.add(key, rows_of(key))
            output.commit()
            output.publish()
            assert visible_rows(out) == before, "old rows stay until the new ones are whole"
        assert not output.add(ODD[0], rows_of(ODD[0])), "taken already"
    with open_output(out) as output:
        assert output.is_done(video("long")), "what was begun is forgotten, and the old rows are there"
    assert visible_rows(out) == before


def good(key: SegmentKey) -> pa.Table:
    """The rows that a segment would have without its errors."""
    return rows_of(SegmentKey(key.video, 0, 1)) if key.index == 0 else rows_of(key).slice(0, 2)


def test_new_rows_take_the_place_of_errors(out: Path) -> None:
    write(out, ERRORS)
    with open_output(out) as output:
        output.redo_errors()
        for key in ODD:
            assert output.add(key, good(key))
        output.commit()
        assert output.is_done(video("long"))
        assert not output.is_done(video("bad-0"))
        assert not output.add(ODD[1], good(ODD[1])), "committed again already"
        summary = output.summary()
    with open_output(out) as output:  # a run that was interrupted before it published goes on
        assert output.is_done(video("long"))
        assert output.summary() == summary
        output.publish()
        assert output.summary() == summary
    rows = [row for row in visible_rows(out) if row["video"] == "long"]
    assert cases.in_order(rows) == cases.in_order(row for key in ODD for row in good(key).to_pylist())
    assert len(visible_rows(out)) == 1 + 3 + 3 + len(rows)
    assert summary.num_errors == {"unreadable": 1}
    assert summary.num_videos == 4


def test_rows_are_in_order_within_each_commit(tmp_path: Path) -> None:
    keys = [segment("b", 1, 2), segment("a"), segment("bad"), segment("b", 0, 2)]
    write(tmp_path / "preds", keys)
    assert visible_rows(tmp_path / "preds") == cases.expected_rows(keys)


def test_videos_that_two_part_files_both_hold_are_done_again(tmp_path: Path) -> None:
    write(tmp_path / "one" / "preds", [segment("a"), segment("b")])
    write(tmp_path / "two" / "preds", [segment("a", version=1), segment("c")])
    (part,) = (tmp_path / "two" / "preds").iterdir()
    shutil.copy(part, tmp_path / "one" / "preds")
    out = tmp_path / "one" / "preds"
    with open_output(out, settings=None) as output:
        assert not output.is_done(video("a")), "though nothing may be written yet"
    with open_output(out) as output:
        assert not output.is_done(video("a"))
        assert not output.is_done(video("a", version=1))
        assert output.is_done(video("b"))
        assert output.is_done(video("c"))
    assert cases.in_order(visible_rows(out)) == cases.expected_rows([segment("b"), segment("c")])


# What readers see


def test_pandas_polars_and_duckdb_read_the_table(out: Path) -> None:
    write(out, [key for key in cases.OLD if not key.video.name.startswith("bad")])
    write(out, cases.NEW)
    expected = cases.in_order(visible_rows(out))
    pattern = str(out) if out.suffix else f"{out}/*.parquet"
    pandas = pd.read_parquet(out).sort_values(["video", "clip"], na_position="first")
    polars = pl.read_parquet(out).sort("video", "clip", nulls_last=False)
    duck = duckdb.sql(f"select * from '{pattern}' order by video, clip nulls first").fetchall()
    columns = list(expected[0])
    assert list(pandas.columns) == polars.columns == columns
    for name, values in (
        ("pandas", pandas.astype(object).where(pandas.notna(), None).to_dict("records")),
        ("polars", polars.to_dicts()),
        ("duckdb", [dict(zip(columns, row, strict=True)) for row in duck]),
    ):
        assert len(values) == len(expected)
        for row, wanted in zip(values, expected, strict=True):
            for column in columns:
                assert plain(row[column]) == plain(wanted[column]), (name, column)
    kinds = duckdb.sql(f"select error_kind, count(*) from '{pattern}' where error is not null group by 1")
    assert dict(kinds.fetchall()) == {"unreadable": 2, "truncated": 5}
    assert polars["error_kind"].dtype == pl.Categorical
    assert pandas["error_kind"].dtype == "category" or not out.suffix


def plain(value: object) -> object:
    """Make what the readers return comparable: numpy's arrays and numbers to Python's."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, int | float) else value


def test_the_files_metadata_say_what_made_them(out: Path) -> None:
    write(out, cases.NEW)
    for path in [out] if out.suffix else out.iterdir():
        metadata = pq.read_metadata(path).metadata
        assert metadata[b"vidcnn.version"] == __version__.encode()
        assert metadata[b"vidcnn.model"] == b"tiny"
        assert metadata[b"vidcnn.weights_sha256"] == b"ab" * 32
        assert metadata[b"vidcnn.run_id"] == b"test"
        assert json.loads(metadata[b"vidcnn.settings"]) == cases.SETTINGS


# Outputs that cannot be used


def test_other_settings_are_refused_by_name(out: Path) -> None:
    write(out, cases.OLD)
    changed = {**cases.SETTINGS, "stride": 2, "fps": 1.5}
    with pytest.raises(SettingsDifferError, match=r"was written with other clips: fps none, now 1\.5, stride 4, now 2"):
        open_output(out, settings=changed)
    with pytest.raises(SettingsDifferError, match=r"was written with other columns: embedding .*, now none") as raised:
        open_output(out, schema=prediction_schema(num_classes_for_probabilities=3, embedding_size=None))
    assert "another --out" in raised.value.hint
    write(out, cases.OLD)


def test_settings_of_parts_that_wait_to_be_merged_count_too(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD, publish=False)
    with pytest.raises(SettingsDifferError):
        open_output(out, settings={})


def test_a_file_that_vidcnn_did_not_write_is_left_alone(out: Path) -> None:
    path = out if out.suffix else out / "part-0.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows_of(segment("a")), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="was not written by vidcnn"):
        open_output(out)
    assert path.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_file_cut_short_is_named(out: Path) -> None:
    write(out, cases.OLD)
    path = out if out.suffix else next(out.iterdir())
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(OutputError, match=f"{path.name} is damaged") as raised:
        open_output(out)
    assert "\n" not in str(raised.value)


def test_a_part_that_lost_rows_is_not_merged(tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    write(out, cases.OLD, publish=False)
    (part,) = hidden(out).glob("part-*")
    rows = pq.read_table(part, schema=cases.SCHEMA)
    with LedgerWriter.of(read_ledger(pa.OSFile, str(part))) as ledger, part.open("wb") as sink:
        write_file(sink, [rows.slice(1)], cases.SCHEMA, metadata(cases.SETTINGS, "run", 1), ledger)
    with pytest.raises(OutputError, match=f"{part.name} should hold 19 rows, but 18 are there"):
        open_output(out)
    assert not out.exists()
    assert part.exists()


def test_a_second_run_on_the_same_output_is_refused_while_the_first_one_lives(out: Path) -> None:
    with open_output(out):
        with pytest.raises(OutputBusyError, match=f"held by another run .process {os.getpid()} on "):
            open_output(out)
        (out.parent / "alias").symlink_to(out.parent)
        with pytest.raises(OutputBusyError):
            open_output(out.parent / "alias" / out.name)
    open_output(out).close()
