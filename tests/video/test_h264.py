from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged
from tests.limits import within
from tests.video.interlaced import BitWriter, field, picture_parameters, sequence_parameters
from tests.videos import numbered_frame
from vidcnn.video.h264 import FieldPairs

BOARD = numbered_frame(5)


def coded(number: int, *, bottom: bool, idr: bool = False) -> bytes:
    return field(BOARD, number, is_bottom=bottom, is_idr=idr)


def starts(pairs: FieldPairs, *packets: bytes) -> list[bool]:
    return [pairs.starts_frame(packet) for packet in packets]


def test_streams_of_whole_frames_have_no_pairs() -> None:
    pairs = FieldPairs(sequence_parameters(fields=False))
    assert not pairs.are_possible
    assert starts(pairs, b"anything", b"") == [True, True]
    assert not FieldPairs(None).are_possible
    assert not FieldPairs(b"").are_possible


def test_the_second_field_of_a_frame_starts_none() -> None:
    pairs = FieldPairs(sequence_parameters() + picture_parameters())
    assert pairs.are_possible
    packets = [coded(0, bottom=False, idr=True), coded(0, bottom=True), coded(1, bottom=False), coded(1, bottom=True)]
    assert starts(pairs, *packets) == [True, False, True, False]


def test_bottom_fields_may_come_first() -> None:
    packets = [coded(number, bottom=bottom) for number in (0, 1) for bottom in (True, False)]
    assert starts(FieldPairs(sequence_parameters()), *packets) == [True, False, True, False]


def test_a_field_whose_other_half_is_lost_is_a_frame_of_its_own() -> None:
    packets = [coded(0, bottom=False), coded(1, bottom=False), coded(1, bottom=True), coded(2, bottom=True)]
    assert starts(FieldPairs(sequence_parameters()), *packets) == [True, True, False, True]


def test_decoding_can_only_start_at_a_first_field() -> None:
    packets = [coded(0, bottom=False), coded(0, bottom=True, idr=True)]
    assert starts(FieldPairs(sequence_parameters()), *packets) == [True, True]


def test_packets_with_both_fields_are_frames() -> None:
    both = [coded(n, bottom=False) + coded(n, bottom=True) for n in range(3)]
    assert starts(FieldPairs(sequence_parameters()), *both) == [True, True, True]


def test_whole_frames_may_lie_between_fields() -> None:
    frame = BitWriter().unsigned(0, 7, 0).put(1, 4).put(0, 1).put(0, 8).unit(0x61)
    packets = [coded(0, bottom=False), coded(0, bottom=True), frame, frame, coded(1, bottom=True)]
    assert starts(FieldPairs(sequence_parameters()), *packets) == [True, False, True, True, True]


def test_parameters_and_slices_are_found_in_both_packings() -> None:
    parameters = sequence_parameters()[4:]
    avcc = b"\1\x4d\0\x1e\xff\xe1" + len(parameters).to_bytes(2, "big") + parameters + b"\1\0\0"
    pairs = FieldPairs(avcc)
    assert pairs.are_possible
    delimiter = b"\0\0\0\2\x09\x10"
    packets = [coded(0, bottom=bottom)[4:] for bottom in (False, True)]
    assert starts(pairs, *(delimiter + len(p).to_bytes(4, "big") + p for p in packets)) == [True, False]


def test_scaling_matrices_of_the_high_profile_are_passed_over() -> None:
    assert FieldPairs(sequence_parameters(profile=100)).are_possible
    assert not FieldPairs(sequence_parameters(profile=100, fields=False)).are_possible


@given(st.binary(max_size=100), st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_looked_through_without_failing(extradata: bytes, packets: list[bytes]) -> None:
    for head in (b"", b"\0\0\1\x67", b"\1\x4d\0\x1e\xff\xe1\0\x20\x67"):
        starts(FieldPairs(head + extradata), *packets)
    starts(FieldPairs(sequence_parameters()), *packets, *(b"\0\0\1\x61" + packet for packet in packets))


def test_a_frame_number_that_claims_a_billion_bits_costs_nothing() -> None:
    parameters = BitWriter().put(77, 8).put(0, 16).unsigned(0, 2**31, 0, 0, 0).put(0, 1).unsigned(3, 3).put(0, 1)
    pairs = FieldPairs(parameters.unit(0x67))
    assert pairs.are_possible
    with within(20):
        assert len(starts(pairs, coded(0, bottom=False), coded(0, bottom=True))) == 2


@pytest.mark.fuzz
@given(
    damaged(sequence_parameters(), sequence_parameters(profile=100) + picture_parameters()),
    st.lists(damaged(coded(3, bottom=True), coded(3, bottom=False, idr=True)), max_size=4),
)
def test_damaged_parameters_and_packets_are_looked_through_in_no_time(extradata: bytes, packets: list[bytes]) -> None:
    with within(20):
        for head in (b"", b"\1\x4d\0\x1e\xff\xe1\0\x20"):
            assert len(starts(FieldPairs(head + extradata), *packets)) == len(packets)
