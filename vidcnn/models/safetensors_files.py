"""Reading safetensors files piece by piece: first what their header says, and then the tensors that are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vidcnn.models.pickles import MalformedError
from vidcnn.models.safetensors_header import PREFIX_BYTES, HeaderEntry, header_length, parse_header
from vidcnn.models.torch_files import Storage, StoredTensor, fill
from vidcnn.storage.ownership import open_regular

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@contextmanager
def open_safetensors(path: Path) -> Iterator[dict[str, StoredTensor]]:
    """Open a safetensors file and return its tensors, which take no memory until they are read.

    Raises:
        MalformedError: It is none, or is damaged.
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path, follow_links=True) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        length = header_length(file.read(PREFIX_BYTES), size_bytes)
        header = file.read(length)
        if len(header) != length:
            raise MalformedError("it ends in its header")

        def stored(entry: HeaderEntry) -> StoredTensor:
            def copy(start: int, target: memoryview) -> None:
                file.seek(entry.start + start)
                fill(file, target)

            strides = [1] * len(entry.shape)
            for axis in reversed(range(len(entry.shape) - 1)):
                strides[axis] = strides[axis + 1] * entry.shape[axis + 1]
            storage = Storage(_DTYPES[entry.dtype], entry.end - entry.start, copy)
            return StoredTensor(entry.shape, tuple(strides), 0, storage)

        yield {name: stored(entry) for name, entry in parse_header(header, size_bytes).items()}
