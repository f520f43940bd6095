from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from vidcnn.video.damage import FrameJudge


class Coded(NamedTuple):
    time: int
    is_keyframe: bool = False


def judge(coded: list[Coded], *, flagged: set[int] = frozenset(), refused: set[int] = frozenset()) -> dict[int, bool]:  # type: ignore[assignment]
    """Decode packets as libav does: a frame comes out when all frames before it in time have been fed.

    Returns:
        The verdict on each frame, in the order in which the judge let them go.
    """
    frames = FrameJudge()
    verdicts: dict[int, bool] = {}
    waiting: list[int] = []
    order = sorted(packet.time for packet in coded)
    for index, packet in enumerate(coded):
        frames.feed(packet.time, is_keyframe=packet.is_keyframe)
        if packet.time in refused:
            frames.note_damage(packet.time)
        else:
            waiting.append(packet.time)
        fed = {earlier.time for earlier in coded[: index + 1]}
        while waiting and fed.issuperset(time for time in order if time <= min(waiting)):
            time = min(waiting)
            waiting.remove(time)
            for judged in frames.add(time, time, is_damaged=time in flagged):
                verdicts[judged.time] = judged.is_sound
    for judged in frames.finish():
        verdicts[judged.time] = judged.is_sound
    return verdicts


TWO_GOPS = [
    Coded(0, True),
    Coded(4),
    Coded(2),
    Coded(1),
    Coded(3),
    Coded(8),
    Coded(6),
    Coded(5),
    Coded(7),
    Coded(12, True),
    Coded(13),
]
OPEN_GOP = [Coded(0, True), Coded(2), Coded(1), Coded(6, True), Coded(4), Coded(3), Coded(5), Coded(8), Coded(7)]


def unsound(verdicts: dict[int, bool]) -> list[int]:
    return [time for time, is_sound in verdicts.items() if not is_sound]


def test_frames_come_back_in_order_and_sound_where_nothing_is_damaged() -> None:
    verdicts = judge(TWO_GOPS)
    assert list(verdicts) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13]
    assert unsound(verdicts) == []


def test_damage_reaches_the_frames_before_it_that_were_predicted_from_it_and_all_up_to_the_next_keyframe() -> None:
    assert unsound(judge(TWO_GOPS, flagged={4})) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert unsound(judge(TWO_GOPS, flagged={8})) == [5, 6, 7, 8]


def test_damage_leaves_alone_what_was_coded_before_it() -> None:
    assert unsound(judge(TWO_GOPS, flagged={3})) == [3, 5, 6, 7, 8]
    assert unsound(judge(TWO_GOPS, flagged={2})) == [1, 2, 3, 5, 6, 7, 8]


def test_a_damaged_keyframe_spoils_its_own_frames_and_those_shown_before_it_that_need_it() -> None:
    assert unsound(judge(TWO_GOPS, flagged={12})) == [12, 13]
    assert unsound(judge(OPEN_GOP, flagged={6})) == [3, 4, 5, 6, 7, 8]


def test_frames_shown_before_a_keyframe_need_the_ones_before_too() -> None:
    assert unsound(judge(OPEN_GOP, flagged={2})) == [1, 2, 3, 4, 5]


def test_a_refused_packet_spoils_what_follows_it_up_to_the_next_keyframe() -> None:
    assert unsound(judge(TWO_GOPS, refused={8})) == [5, 6, 7]
    frames = FrameJudge()
    frames.feed(0, is_keyframe=True)
    list(frames.add("a", 0, is_damaged=False))
    frames.note_damage(1)
    assert not frames.is_clear
    frames.feed(4, is_keyframe=True)
    (judged,) = frames.add("b", 4, is_damaged=False)
    assert (judged.is_sound, judged.is_gap_sound) == (True, False)
    assert frames.is_clear


def test_a_refused_packet_leaves_alone_what_was_coded_before_it() -> None:
    assert unsound(judge(TWO_GOPS, refused={2})) == [1, 3, 5, 6, 7, 8]  # 4 comes out after it, but was coded before
    assert unsound(judge(TWO_GOPS, refused={1})) == [3, 5, 6, 7, 8]


def counted(*, refused: int | None = None, flagged: int | None = None) -> list[bool]:
    """Judge six frames that are only counted, with a decoder that holds two back."""
    frames = FrameJudge(by_order=True)
    verdicts = []
    for number in range(6):
        frames.feed(number, is_keyframe=number == 0)
        if number == refused:
            frames.note_damage(number)
        if number >= 2:
            verdicts += [*frames.add(None, number - 2, is_damaged=flagged == number - 2)]
    for number in (4, 5):
        verdicts += [*frames.add(None, number, is_damaged=flagged == number)]
    return [judged.is_sound for judged in [*verdicts, *frames.finish()]]


def test_frames_that_are_only_counted_may_be_of_any_packet_in_the_decoder() -> None:
    assert counted() == [True] * 6
    assert counted(refused=4) == [True, True, False, False, False, False]  # 2 came out with packet 4
    assert counted(flagged=3) == [True, False, False, False, False, False]  # 1 came out with packet 3 in the decoder


def test_unreadable_places_before_anything_was_read_count() -> None:
    frames = FrameJudge()
    frames.note_damage()
    frames.feed(0, is_keyframe=False)
    (judged,) = frames.add("a", 0, is_damaged=False)
    assert not judged.is_sound


def test_few_frames_are_held_even_where_times_are_absurd() -> None:
    frames = FrameJudge()
    frames.feed(10**12, is_keyframe=True)
    released = [judged.time for time in range(1000) for judged in frames.add(None, time, is_damaged=False)]
    assert released == list(range(len(released)))
    assert len(released) > 900


def test_fewer_large_frames_are_held() -> None:
    frames = FrameJudge()
    frames.feed(10**12, is_keyframe=True)
    released = [
        judged.time
        for time in range(100)
        for judged in frames.add(None, time, is_damaged=False, num_pixels=8192 * 8192)
    ]
    assert released == list(range(len(released)))
    assert len(released) == 100 - 8
    assert len(frames.finish()) == 8


@st.composite
def streams(draw: st.DrawFn) -> list[Coded]:
    """Groups of a keyframe and of P frames with B frames before each; open and closed ones."""
    coded: list[Coded] = []
    time = 0
    for _ in range(draw(st.integers(1, 4))):
        num_leading = draw(st.integers(0, 3)) if coded else 0
        key = time + num_leading
        coded += [Coded(key, True), *(Coded(time + index) for index in draw(st.permutations(range(num_leading))))]
        time = key + 1
        for _ in range(draw(st.integers(0, 3))):
            num_b = draw(st.integers(0, 4))
            coded += [Coded(time + num_b), *(Coded(time + index) for index in draw(st.permutations(range(num_b))))]
            time += num_b + 1
    return coded


@given(streams(), st.data())
def test_no_frame_that_may_build_on_damage_passes_and_other_groups_are_clear(
    coded: list[Coded], data: st.DataObject
) -> None:
    damaged = data.draw(st.sampled_from(coded))
    position = coded.index(damaged)
    verdicts = judge(coded, flagged={damaged.time})
    assert sorted(verdicts) == sorted(packet.time for packet in coded)
    keyframes = [packet for packet in coded if packet.is_keyframe]
    recovers = min((key.time for key in keyframes if key.time > damaged.time), default=float("inf"))
    own_key = max((key for key in keyframes if key.time <= damaged.time), key=coded.index)
    for index, packet in enumerate(coded):
        if index >= position and packet.time < recovers:
            assert not verdicts[packet.time]  # coded after it, and shown before decoding can start anew
        if packet.time >= recovers or index < coded.index(own_key):
            assert verdicts[packet.time]
