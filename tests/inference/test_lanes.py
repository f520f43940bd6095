from __future__ import annotations

from typing import Any

import pytest
import torch

from vidcnn.inference.lanes import AtOnce, lanes_of

CPU = torch.device("cpu")


def test_the_processor_does_at_once_what_it_is_given() -> None:
    lanes = lanes_of(CPU)
    assert isinstance(lanes, AtOnce)
    assert lanes.device == CPU
    assert not lanes.is_apart
    done: list[str] = []
    lanes.upload.run(lambda: done.append("copied"))
    lanes.compute.after(lanes.upload.mark())
    lanes.compute.run(lambda: done.append("computed"))
    lanes.compute.mark().wait()
    lanes.release()
    assert done == ["copied", "computed"]


def test_memory_that_cannot_be_locked_is_ordinary_memory_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vidcnn.inference import lanes

    def empty(*arguments: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return torch.zeros(*arguments, **options)

    monkeypatch.setattr(lanes.torch, "empty", empty)
    found = lanes._locked((2, 3))
    assert found.shape == (2, 3)
    assert found.dtype == torch.uint8
    assert caplog.messages == ["memory cannot be locked, so copies to the GPU are slower: CUDA error: out of memory"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_lanes_wait_for_marks_and_copy_from_locked_memory() -> None:
    lanes = lanes_of(torch.device("cuda"))
    assert lanes.is_apart
    assert lanes.device.index is not None
    buffer = lanes.buffer((64, 2**20))
    assert buffer.host.is_pinned()
    assert buffer.device.device == lanes.device
    result = torch.zeros(64, 2**20, dtype=torch.uint8, device=lanes.device)
    for value in range(20):
        buffer.host.fill_(value)
        lanes.upload.run(lambda: buffer.device.copy_(buffer.host, non_blocking=True))
        uploaded = lanes.upload.mark()
        lanes.compute.after(uploaded)
        lanes.compute.run(lambda: result.copy_(buffer.device))
        lanes.upload.after(lanes.compute.mark())
        uploaded.wait()  # the host's half is written again
        assert (result == value).all()
    lanes.release()
