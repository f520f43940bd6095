from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.video import cell_channel
from vidcnn.video.cell_channel import receive, send


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def through(value: Any) -> Any:
    """Send a value, and return what arrives."""
    one, other = socket.socketpair()
    with one, other:
        sending = threading.Thread(target=send, args=(one, value))
        sending.start()
        arrived = receive(other)
        sending.join()
    return arrived


@given(st.recursive(st.none() | st.integers() | st.binary() | st.text(), lambda inner: st.lists(inner, max_size=4)))
def test_what_is_sent_arrives(value: Any) -> None:
    assert through(value) == value


@given(st.lists(st.integers(0, 2**20), max_size=5))
def test_arrays_small_and_large_arrive_in_order(sizes: list[int]) -> None:
    arrays = [np.arange(size, dtype=np.uint8) for size in sizes]
    assert all(np.array_equal(found, sent) for found, sent in zip(through(arrays), arrays, strict=True))


def test_a_large_array_lies_in_memory_that_nobody_writes_to(pair: tuple[socket.socket, socket.socket]) -> None:
    array = np.zeros((16, 16, 112, 112, 3), np.uint8)
    send(pair[0], array)  # it is more than a socket holds, so it cannot have gone through it
    found = receive(pair[1])
    assert not found.flags.writeable
    assert np.array_equal(found, array)


def test_memory_that_the_kernel_holds_is_sealed_later_or_written_anew(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, held = os.pipe(), []
    write = cell_channel._write_all

    def write_and_hold(memory: int, buffers: list[memoryview | bytes]) -> None:
        write(memory, buffers)
        if len(held) < 3:  # a pipe that contains its pages holds them
            held.append(os.splice(memory, pipe[1], 4096, offset_src=0))

    monkeypatch.setattr(cell_channel, "_write_all", write_and_hold)
    array = np.arange(1 << 20, dtype=np.uint8)
    cell_channel.send_plain(pair[0], array)
    assert np.array_equal(cell_channel.receive_plain(pair[1]), array)
    assert len(held) == 3
    for end in pipe:
        os.close(end)


def test_values_follow_each_other(pair: tuple[socket.socket, socket.socket]) -> None:
    for value in (1, "two", np.ones(300_000, np.uint8), 4):
        send(pair[0], value)
    assert [receive(pair[1]) for _ in range(2)] == [1, "two"]
    assert receive(pair[1]).sum() == 300_000
    assert receive(pair[1]) == 4


@pytest.mark.parametrize("num_bytes", [0, 1, 15, 16, 20])
def test_a_process_that_goes_in_the_middle_of_a_value_is_told(
    pair: tuple[socket.socket, socket.socket], num_bytes: int
) -> None:
    sender, taker = socket.socketpair()
    with sender, taker:
        send(sender, "a value of some length")
        pair[0].sendall(taker.recv(1 << 16)[:num_bytes])
    pair[0].close()
    with pytest.raises(EOFError):
        receive(pair[1])


def test_waiting_can_be_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    def give_up(channel: socket.socket) -> None:
        raise TimeoutError("no headway")

    with pytest.raises(TimeoutError, match="no headway"):
        receive(pair[1], give_up)


def test_sending_to_a_process_that_has_gone_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(OSError, match="Broken pipe"):
        send(pair[0], "anybody?")
