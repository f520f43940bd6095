from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vidcnn.models.pickles import MalformedError
from vidcnn.models.safetensors_files import open_safetensors


def test_tensors_are_those_that_were_saved(tmp_path: Path) -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16)
    values = {
        "a": torch.randn(2, 3, 4),
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 2),
        **{str(kind): torch.tensor([1, 0, 1]).to(kind) for kind in (*kinds, torch.int8, torch.uint8, torch.bool)},
    }
    save_file(values, tmp_path / "w.safetensors")
    with open_safetensors(tmp_path / "w.safetensors") as found:
        assert found.keys() == values.keys()
        for name, value in values.items():
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name].read(), value), name


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes((2**40).to_bytes(8, "little") + content[8:])
    with (
        pytest.raises(MalformedError, match="a header of 1,099,511,627,776 bytes"),
        open_safetensors(tmp_path / "w.safetensors"),
    ):
        pass


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(OSError, match="regular"), open_safetensors(tmp_path / "w.safetensors"):
        pass
