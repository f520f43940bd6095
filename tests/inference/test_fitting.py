from __future__ import annotations

import gc
import weakref

import pytest
import torch

from vidcnn.inference.fitting import lacks_memory, largest_fitting


class Memory:
    """What an attempt holds."""


@pytest.mark.parametrize(("room", "expected"), [(100, [32]), (32, [32]), (31, [32, 16]), (1, [32, 16, 8, 4, 2, 1])])
def test_sizes_are_halved_until_one_fits(room: int, expected: list[int]) -> None:
    tried: list[int] = []

    def attempt(size: int) -> str:
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError("out of memory")
        return f"{size} fit"

    assert largest_fitting(32, attempt, release=lambda: None) == f"{expected[-1]} fit"
    assert tried == expected


def test_a_device_without_room_for_one_is_an_error() -> None:
    def attempt(size: int) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        largest_fitting(3, attempt, release=lambda: None)


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED when"]
)
def test_libraries_that_say_so_in_their_own_words_are_understood(text: str) -> None:
    def attempt(size: int) -> int:
        if size > 2:
            raise RuntimeError(text)
        return size

    assert largest_fitting(8, attempt, release=lambda: None) == 2
    assert lacks_memory(RuntimeError(text))
    assert not lacks_memory(ValueError(text))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def attempt(size: int) -> None:
        raise RuntimeError("a wrong kernel")

    with pytest.raises(RuntimeError, match="a wrong kernel"):
        largest_fitting(8, attempt, release=lambda: None)


def test_what_a_failed_attempt_held_is_free_before_memory_is_given_back() -> None:
    held: list[weakref.ref[Memory]] = []
    seen: list[bool] = []

    def attempt(size: int) -> int:
        memory = Memory()
        held.append(weakref.ref(memory))
        if size > 1:
            raise torch.OutOfMemoryError("out of memory")
        return size

    gc.disable()  # it must not take the collector
    try:
        largest_fitting(4, attempt, release=lambda: seen.append(held[-1]() is None))
    finally:
        gc.enable()
    assert seen == [True, True]
