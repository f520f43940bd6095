from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzzing import damaged
from tests.limits import within
from tests.training.disk import files_no_larger_than
from vidcnn.errors import OutputError
from vidcnn.training.journal import Journal, note_run, read_journal


def steps(directory: Path) -> list[tuple[str, int]]:
    return [(note["kind"], note["step"]) for note in read_journal(directory)]


def test_notes_are_read_as_they_were_written_whatever_a_video_is_called(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []
    names = ["ordinary.mp4", "two\nlines.mp4", "odd \u2028 and \x85.mp4", "größer.mp4"]
    with Journal(tmp_path, 0) as journal:
        journal.note("train", 3, loss=0.5, bad_samples=[{"video": name} for name in names])
        journal.note("validation", 3, top1=1.0)
    first, second = read_journal(tmp_path)
    assert first == {"kind": "train", "step": 3, "loss": 0.5, "bad_samples": [{"video": name} for name in names]}
    assert second == {"kind": "validation", "step": 3, "top1": 1.0}
    with Journal(tmp_path, 3):
        assert read_journal(tmp_path) == [first, second]


def test_what_a_command_came_to_is_noted_behind_what_its_workers_noted(tmp_path: Path) -> None:
    with Journal(tmp_path, 0) as journal:
        journal.note("train", 3, loss=0.5)
    note_run(tmp_path, 3, seconds=2.5, confinement={"a": {"seccomp": True}})
    assert steps(tmp_path) == [("train", 3), ("run", 3)]
    assert read_journal(tmp_path)[-1] == {
        "kind": "run", "step": 3, "seconds": 2.5, "confinement": {"a": {"seccomp": True}},
    }  # fmt: skip
    with Journal(tmp_path, 3):
        assert steps(tmp_path) == [("train", 3), ("run", 3)]
    with pytest.raises(OutputError, match="cannot write notes to"):
        note_run(tmp_path / "missing", 3)


def test_what_came_after_the_checkpoint_is_dropped_and_noted_again(tmp_path: Path) -> None:
    with Journal(tmp_path, 0) as journal:
        for step in (2, 4, 6):
            journal.note("train", step, loss=1.0)
        journal.note("validation", 6, top1=0.5)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "step": 8, "lo')  # the process ended here
    with Journal(tmp_path, 4) as journal:
        assert steps(tmp_path) == [("train", 2), ("train", 4)]
        journal.note("train", 6, loss=2.0)
    assert steps(tmp_path) == [("train", 2), ("train", 4), ("train", 6)]
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())


def test_numbers_become_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Journal(tmp_path, 0) as journal:
        for step in (1, 2, 3):
            journal.note("train", step, loss=1 / step, note="text")
    with Journal(tmp_path, 2) as journal:
        journal.note("train", 3, loss=0.25)
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    assert curves.Tags()["scalars"] == ["train/loss"]
    assert [(event.step, event.value) for event in curves.Scalars("train/loss")] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_a_full_disk_is_said_in_plain_words_and_what_was_noted_stays(tmp_path: Path) -> None:
    with Journal(tmp_path, 0) as journal:
        journal.note("train", 1, loss=1.0)
        with files_no_larger_than(2000):
            reason = os.strerror(errno.EFBIG)
            with pytest.raises(
                OutputError, match=f"cannot write notes to {tmp_path}: {reason}: make room, and the same"
            ):
                journal.note("train", 2, loss=1.0, bad_samples=["x" * 100] * 30)
            journal.__exit__()  # what is left of the note cannot be written either
    assert steps(tmp_path) == [("train", 1)]


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"cannot write notes to .*: Is a directory"):
        Journal(tmp_path, 0)


LINES = b'{"kind": "train", "step": 1, "loss": 0.5}\n{"kind": "validation", "step": 2, "top1": 1.0}\n'


def test_lines_that_are_no_notes_are_left_out(tmp_path: Path) -> None:
    strange = [
        b"[1]",
        b"3",
        b"null",
        b'"step"',
        b'{"step": "9"}',
        b'{"step": null}',
        b"{}",
        b"[" * 100_000,
        b"9" * 5000,
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*strange, LINES]))
    with Journal(tmp_path, 1):
        assert steps(tmp_path) == [("train", 1)]


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged(LINES))
def test_a_damaged_journal_is_continued(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with within(20), Journal(tmp_path, 1):
        assert all(note["step"] <= 1 for note in read_journal(tmp_path))
