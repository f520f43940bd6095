from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.inference.idle_lanes import IdleLanes
from vidcnn.inference import transfer
from vidcnn.inference.lanes import AtOnce
from vidcnn.inference.transfer import Transfer
from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop_tensor

FRAMES, SIDE = 2, 4
CLIP_BYTES = FRAMES * SIDE * SIDE * 3
PREPROCESSING = Preprocessing(SIDE, (SIDE, SIDE), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def clips_of(num: int, side: int = SIDE, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(1, 256, (num, FRAMES, side, side, 3), dtype=np.uint8)


def geometry(clips: Tensor) -> Tensor:
    return resize_and_crop_tensor(clips, PREPROCESSING)


class Sums:
    """A network that has the sum of a clip for its score, and all its pixels for an embedding."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(batch.clone())
        pixels = batch.flatten(1).float()
        return pixels.sum(dim=1, keepdim=True), pixels


def run(device: Transfer, clips: Any) -> tuple[Tensor, Tensor]:
    return device.run(Sums(), clips, 1, CLIP_BYTES)


def transfer_of(lanes: Any, batch_size: int) -> Transfer:
    return Transfer(lanes, geometry, (batch_size, FRAMES, SIDE, SIDE, 3))


def expected(clips: Any) -> Tensor:
    return geometry(torch.from_numpy(clips)).flatten(1).float()


def assert_clips_arrive(lanes: Any, batch_size: int, clips: Any) -> None:
    sums, pixels = run(transfer_of(lanes, batch_size), clips)
    assert torch.equal(pixels, expected(clips))
    assert torch.equal(sums[:, 0], expected(clips).sum(dim=1))


@given(
    num_clips=st.integers(0, 23),
    batch_size=st.integers(1, 7),
    piece=st.integers(1, 5),
    ring=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    eagerness=st.sampled_from([0.0, 0.3, 0.8]),
)
def test_every_clip_arrives_however_late_copies_and_the_network_are(
    num_clips: int, batch_size: int, piece: int, ring: int, seed: int, eagerness: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_PIECE_BYTES", piece * CLIP_BYTES)
        patch.setattr(transfer, "_RING_BYTES", ring * piece * CLIP_BYTES)
        lanes = IdleLanes(seed, eagerness=eagerness)
        device = transfer_of(lanes, batch_size)
        for call in range(2):  # the second finds the buffers of the first
            clips = clips_of(num_clips, seed=seed + call)
            sums, pixels = run(device, clips)
            assert torch.equal(pixels, expected(clips))
            assert torch.equal(sums[:, 0], expected(clips).sum(dim=1))


def test_lanes_that_do_not_wait_for_each_other_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PIECE_BYTES", CLIP_BYTES)
    clips = clips_of(20)
    wrong = 0
    for seed in range(20):
        found = run(transfer_of(IdleLanes(seed, is_careless=True), 3), clips)[1]
        wrong += not torch.equal(found, expected(clips))
    assert wrong > 10, "the test of late copies would not notice what it is for"


def test_the_next_batch_is_on_its_way_before_the_network_has_computed_the_first() -> None:
    lanes = IdleLanes(0, eagerness=0.0)
    filled: list[int] = []
    device = transfer_of(lanes, 2)

    def network(batch: Tensor) -> tuple[Tensor, Tensor]:
        host = [buffer.host for buffer in lanes.buffers]
        filled.append(sum(bool((clip != 171).any()) for piece in host for clip in piece))
        return batch.flatten(1).float().sum(dim=1, keepdim=True), batch.flatten(1).float()

    device.run(network, clips_of(8), 1, CLIP_BYTES)
    assert filled[0] == 4, "two batches of two"


def test_on_the_processor_the_network_reads_what_was_written_without_another_copy() -> None:
    buffer = AtOnce(torch.device("cpu")).buffer((2, 3))
    assert buffer.host is buffer.device
    assert_clips_arrive(AtOnce(torch.device("cpu")), 3, clips_of(7))


def test_the_last_batch_is_full_and_what_fills_it_is_black() -> None:
    network = Sums()
    clips = clips_of(5)
    transfer_of(AtOnce(torch.device("cpu")), 4).run(network, clips, 1, CLIP_BYTES)
    assert [len(batch) for batch in network.batches] == [4, 4]
    assert torch.equal(network.batches[1][0], torch.from_numpy(clips[4]))
    assert not network.batches[1][1:].any()


@pytest.mark.parametrize("side", [SIDE, 7, 9])
def test_clips_of_any_size_are_resized_on_the_device_as_they_are_by_themselves(side: int) -> None:
    clips = clips_of(5, side)
    for lanes in (IdleLanes(0), AtOnce(torch.device("cpu"))):
        assert_clips_arrive(lanes, 2, clips)


def test_clips_that_are_on_the_device_are_taken_from_there() -> None:
    lanes = IdleLanes(3)
    clips = clips_of(5, 7)
    _, pixels = run(transfer_of(lanes, 2), torch.from_numpy(clips))
    assert torch.equal(pixels, expected(clips))
    assert not lanes.buffers


def test_clips_may_be_read_only_or_lie_in_memory_in_any_way() -> None:
    clips = clips_of(5)
    frozen = clips.copy()
    frozen.setflags(write=False)
    for form in (frozen, np.asfortranarray(clips), np.flip(clips.copy(), 2)[:, :, ::-1]):
        _, pixels = run(transfer_of(IdleLanes(1), 2), form)
        assert torch.equal(pixels, expected(clips))


def test_a_network_may_give_its_results_in_the_same_memory_again() -> None:
    scores, features = torch.empty(2, 1), torch.empty(2, CLIP_BYTES)

    def network(batch: Tensor) -> tuple[Tensor, Tensor]:
        torch.sum(batch.flatten(1).float(), dim=1, keepdim=True, out=scores)
        features.copy_(batch.flatten(1))
        return scores, features

    clips = clips_of(7)
    found = transfer_of(IdleLanes(2), 2).run(network, clips, 1, CLIP_BYTES)
    assert torch.equal(found[1], expected(clips))


def test_after_a_network_that_fails_the_next_clips_are_right() -> None:
    device = transfer_of(IdleLanes(5), 2)
    calls = 0

    def network(batch: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("out of memory")
        return Sums()(batch)

    with pytest.raises(torch.OutOfMemoryError):
        device.run(network, clips_of(9), 1, CLIP_BYTES)
    clips = clips_of(9, seed=1)
    assert torch.equal(run(device, clips)[1], expected(clips))


def test_buffers_are_bounded_and_large_ones_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PIECE_BYTES", 2 * CLIP_BYTES)
    small = IdleLanes(0)
    device = transfer_of(small, 8)
    run(device, clips_of(20))
    run(device, clips_of(20))
    assert len(small.buffers) == 8, "two batches in pieces of two clips, made once"
    monkeypatch.setattr(transfer, "_RING_BYTES", 6 * CLIP_BYTES)
    monkeypatch.setattr(transfer, "_KEPT_BYTES", 0)
    large = IdleLanes(0)
    device = transfer_of(large, 8)
    run(device, clips_of(20))
    run(device, clips_of(20))
    assert len(large.buffers) == 6, "a ring of three, made for each call"
