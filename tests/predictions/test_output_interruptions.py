"""What becomes of a table where a run is killed, or where what was written is not what arrives."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.predictions import cases
from tests.predictions.cases import hidden, open_output, rows_of, segment, video, visible_rows, write
from vidcnn.errors import OutputError
from vidcnn.predictions.files import write_file
from vidcnn.predictions.local_output import LocalStorage


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
    with open_output(out) as output, pytest.raises(OutputError, match=r"should contain|are read back") as raised:
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
        with pytest.raises(OutputError, match="should contain 3 rows, but 1 are there"):
            output.commit()
    assert visible_rows(out) == before


def test_a_part_that_lists_do_not_show_yet_is_in_the_table(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in object storage whose lists show what was written after a while only."""
    write(out, [segment("a")])
    listed = LocalStorage.list_parts
    with open_output(out) as output, monkeypatch.context() as patch:
        before = listed(output._storage)  # type: ignore[arg-type]
        patch.setattr(LocalStorage, "list_parts", lambda storage: before)
        output.add(segment("b"), rows_of(segment("b")))
        output.publish()
        assert output.summary().num_videos == 2
    assert cases.in_order(visible_rows(out)) == cases.expected_rows([segment("a"), segment("b")])
    assert list(out.parent.iterdir()) == [out]


def test_a_part_that_appears_while_a_run_works_is_an_error_and_costs_no_row(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [segment("a", index, 2) for index in (0, 1)]
    write(out, keys, publish=False)
    listed = LocalStorage.list_parts
    monkeypatch.setattr(LocalStorage, "list_parts", lambda storage: [])
    with open_output(out) as output:
        output.add(keys[0], rows_of(keys[0]))
        output.commit()
        monkeypatch.setattr(LocalStorage, "list_parts", listed)
        output.add(keys[1], rows_of(keys[1]))
        with pytest.raises(OutputError, match=r"part-\w+\.parquet has appeared, .* lists late") as raised:
            output.publish()
    assert "the same command continues" in raised.value.hint
    with open_output(out) as output:
        for key in keys:
            output.add(key, rows_of(key))
        output.publish()
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(keys)


def test_a_part_that_lists_still_show_and_that_is_deleted_is_not_missed(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in object storage whose lists show what was deleted for a while yet."""
    listed = LocalStorage.list_parts
    ever: set[str] = set()

    def list_parts(storage: LocalStorage) -> list[str]:
        ever.update(listed(storage))
        return sorted(ever)

    monkeypatch.setattr(LocalStorage, "list_parts", list_parts)
    write(out, [segment("a")])
    newer = [segment("a", version=1), segment("b")]
    for keys in (newer, []):
        with open_output(out) as output:
            for key in keys:
                output.add(key, rows_of(key))
            output.publish(lambda rows: rows)
            assert output.summary().num_videos == 2
    assert any(not Path(path).exists() for path in ever)
    assert cases.in_order(visible_rows(out)) == cases.expected_rows(newer)
