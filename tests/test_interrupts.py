from __future__ import annotations

import os
import signal
import threading

import pytest

from vidcnn.errors import RunInterruptedError
from vidcnn.interrupts import interruptible


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_a_run_as_an_interrupt_that_says_what_becomes_of_the_work(sent: signal.Signals) -> None:
    def run() -> None:
        with interruptible("the same command goes on"):
            os.kill(os.getpid(), sent)
            signal.pause()

    with pytest.raises(RunInterruptedError, match="interrupted") as raised:
        run()
    assert raised.value.hint == "the same command goes on"
    assert raised.value.exit_code == 130


def test_the_end_of_a_process_by_another_handler_is_an_interrupt_too() -> None:
    with pytest.raises(RunInterruptedError), interruptible(""):
        raise SystemExit(1)


def test_other_errors_pass_and_the_handler_is_put_back() -> None:
    def run() -> None:
        with interruptible(""):
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
            raise ValueError("mine")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="mine"):
        run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    seen = []

    def run() -> None:
        with interruptible(""):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
