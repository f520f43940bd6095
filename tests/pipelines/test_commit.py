"""What becomes of news from the stages, without any stage: committed once, left undone, or known to be lost."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from tests.inference.test_collector import SCHEMA, piece
from vidcnn.errors import SourceError, StorageError, VidcnnError, VideoError
from vidcnn.inference.scoring import Undone, video_without_plan
from vidcnn.pipelines import commit
from vidcnn.pipelines.commit import Committer, redo_lost
from vidcnn.pipelines.stages import pack_video, unpack_videos, video_table
from vidcnn.predictions.output import Output
from vidcnn.reporting.live import ProgressDisplay
from vidcnn.reporting.progress import RunProgress
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import VideoKey
from vidcnn.video.planning import video_key

VIDEO = SourceVideo("a.mp4", "/a.mp4", False, 1, 2, None, None)
KEY = VideoKey("a.mp4", 1, 2)


def todo_of(*videos: SourceVideo) -> Any:
    return SimpleNamespace(videos=[video_table(pack_video(video, None) for video in videos)])


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with Output.open(str(tmp_path / "preds"), schema=SCHEMA, settings={"model": "none"}) as output:
        yield output


def committer(output: Output) -> Committer:
    progress = RunProgress(1, 1)
    return Committer(output, progress, ProgressDisplay(lambda: (0.0, ""), enabled=False))


def given(news: list[list[Any]]) -> Generator[list[Any], None, None]:
    yield from news


def whole(attempt: str = "a") -> list[Any]:
    return [piece(attempt, [0, 1], 2, segment=index) for index in range(4)]


def test_segments_are_committed_when_one_attempt_has_made_them_whole(output: Output) -> None:
    taking = committer(output)
    taking.take(given([[piece("a", [0], 2)], [piece("b", [1], 2)], [piece("b", [0], 2)], whole("c")[1:]]))
    assert taking.num_segments == 4
    assert output.is_done(KEY)
    assert output.summary().num_clips == 8
    assert taking.lost(todo_of(VIDEO)) == []


def test_what_is_not_whole_is_lost_and_not_mixed_with_what_comes_later(output: Output) -> None:
    taking = committer(output)
    taking.take(given([[*whole()[1:], piece("a", [0], 2)]]))
    assert taking.lost(todo_of(VIDEO)) == [VIDEO]
    taking.take(given([[piece("a", [1], 2)]]))
    assert not output.is_done(KEY)


def test_what_is_left_undone_is_not_lost_and_keeps_its_reason(output: Output) -> None:
    taking = committer(output)
    taking.take(given([[Undone(KEY, "it cannot be read")]]))
    assert taking.undone == {"a.mp4": "it cannot be read"}
    assert taking.lost(todo_of(VIDEO)) == []
    assert not output.is_done(KEY)


def test_a_video_that_is_gone_has_its_row_and_is_done_again_whatever_comes_back(output: Output) -> None:
    taking = committer(output)
    taking.take(given([[video_without_plan(KEY, VideoError("changed", "the file does not exist"), SCHEMA)]]))
    assert taking.lost(todo_of(VIDEO)) == []
    assert output.summary().num_errors == {"changed": 1}
    assert not output.is_done(KEY)
    committer(output).take(given([whole()]))
    assert output.is_done(KEY)
    assert output.summary().num_errors == {"timeout": 8}


def test_storage_that_gives_nothing_any_more_ends_the_run(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_MAX_UNDONE_IN_A_ROW", 3)

    def undone(number: int) -> Undone:
        return Undone(VideoKey(f"{number}.mp4", 1, 1), "it cannot be read")

    taking = committer(output)
    taking.take(given([[undone(1), undone(2)], whole(), [undone(3), undone(4)]]))
    taking.take(given([[undone(4)]] * 5))  # further parts of one video
    with pytest.raises(StorageError, match=r"the last 3 videos could not be read, such as 5\.mp4: it cannot be read"):
        taking.take(given([[undone(5)]]))


def redo(output: Output, taking: Committer, monkeypatch: pytest.MonkeyPatch, *rounds: list[Any]) -> int:
    """Do again what is lost, with what each round gives; return the number of rounds, negative if it was given up."""
    given = iter(rounds)
    num_rounds = 0

    class Rounds:
        def score_videos(self, *_: Any) -> Iterator[list[Any]]:
            nonlocal num_rounds
            num_rounds += 1
            yield next(given, [])

    executor: Any = Rounds()
    monkeypatch.setattr(commit, "replace", lambda settings, **_: settings)
    try:
        redo_lost(executor, output, None, None, todo_of(VIDEO), taking)  # type: ignore[arg-type]
    except VidcnnError as error:
        return -num_rounds if "died again and again, last over clips of a.mp4" in error.message else 0
    return num_rounds


def test_what_is_lost_is_done_again_for_as_long_as_that_gives_rows(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = ([one] for one in whole())
    assert redo(output, committer(output), monkeypatch, first, [], second, [], third, [], fourth) == 7
    assert output.is_done(KEY)


def test_processes_that_give_nothing_twice_are_given_up(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    assert redo(output, committer(output), monkeypatch, whole()[:1], [], []) == -3
    assert not output.is_done(KEY)


def test_two_videos_of_one_name_are_told_instead_of_done_again_in_turn(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(VIDEO, location="/elsewhere/a.mp4", mtime_ns=3)
    taking = committer(output)
    rounds: list[Any] = []

    class InTurn:
        def score_videos(self, tables: Any, *_: Any) -> Iterator[list[Any]]:
            for video in [video for table in tables for video in unpack_videos(table)]:
                rounds.append(video)
                assert len(rounds) < 9
                yield [
                    replace(one, segment=replace(one.segment, video=video_key(video)))
                    for one in whole(f"round {len(rounds)}")
                ]

    monkeypatch.setattr(commit, "replace", lambda settings, **_: settings)
    executor: Any = InTurn()
    with pytest.raises(SourceError, match=r"two videos of the source have the name a\.mp4"):
        redo_lost(executor, output, None, None, todo_of(VIDEO, other), taking)  # type: ignore[arg-type]
    assert output.is_done(KEY) or output.is_done(video_key(other))


def test_nothing_is_done_again_where_nothing_is_lost(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    taking = committer(output)
    taking.take(given([[Undone(KEY, "it cannot be read")]]))
    assert redo(output, taking, monkeypatch) == 0


def test_clips_longer_than_their_video_are_counted_once_they_are_committed(output: Output) -> None:
    progress = RunProgress(1, 1)
    taking = Committer(output, progress, ProgressDisplay(lambda: (0.0, ""), enabled=False))
    taking.take(given([[replace(piece("a", [0], 2), is_short=True)]]))
    assert progress.num_short_clips == 0
    taking.take(given([[replace(one, is_short=number < 3) for number, one in enumerate(whole("b"))]]))
    assert (progress.num_short_clips, progress.num_clips) == (6, 8)


def test_whatever_ends_the_taking_ends_what_gives_news_first(output: Output) -> None:
    told: list[str] = []

    def giving() -> Generator[list[Any], None, None]:
        try:
            yield whole()[:2]
            yield whole()[2:]
        finally:
            told.append("ended")

    def look() -> None:
        if told or taking.num_segments:
            raise StorageError("the listing fails")

    progress = RunProgress(1, 1)
    taking = Committer(output, progress, ProgressDisplay(lambda: (0.0, ""), enabled=False), look)
    with pytest.raises(StorageError, match="the listing fails") as caught:
        taking.take(giving())
    assert told == ["ended"]
    assert caught.traceback  # which holds the frames: what gives news has not ended by being forgotten
    output.commit()
    assert output.partly_done(KEY) == (4, frozenset({0, 1}))


def test_nothing_is_remembered_of_videos_that_are_done(output: Output) -> None:
    taking = committer(output)
    names = [f"{number}.mp4" for number in range(50)]
    news = [[replace(one, segment=replace(one.segment, video=VideoKey(name, 1, 2)), rows=renamed(one, name))]
            for name in names for one in whole()]  # fmt: skip
    taking.take(given(news))
    assert taking.num_segments == 200
    assert not taking._open


def renamed(piece: Any, name: str) -> Any:
    return piece.rows.set_column(0, "video", pa.array([name] * piece.rows.num_rows, pa.string()))
