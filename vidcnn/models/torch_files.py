"""Reading torch's checkpoints piece by piece: what is in them first, and only then the numbers that are wanted.

Torch's own loader makes whatever a file says. Here nothing of a file is called, and no tensor is made until someone who
has compared its shape with that of a network asks for it. Both formats of torch are read: the archive of today (a zip
archive with a pickle and a member for each storage) and the one of torch before 1.6, in which most of torchvision's
video networks are published (five pickles, then the storages one after another).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import torch
from torch import Tensor

from vidcnn.bounds import MAX_PICKLE_BYTES
from vidcnn.models.archives import called_malformed, open_stored
from vidcnn.models.pickles import Known, MalformedError, Opaque, read_pickle
from vidcnn.storage.ownership import open_regular

_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_BLOCK_BYTES = 2**20

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    # The integers of quantized tensors, which are not read.
    "QUInt8Storage": torch.uint8,
    "QInt8Storage": torch.int8,
    "QInt32Storage": torch.int32,
}


@dataclass(frozen=True)
class Storage:
    """A stretch of numbers in a file.

    Attributes:
        dtype: What they are.
        size_bytes: How long it is.
        copy: Copies the bytes from ``[start, start + len(target))`` of it into a target.
    """

    dtype: torch.dtype
    size_bytes: int
    copy: Callable[[int, memoryview], None] = field(repr=False, compare=False)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file that is open, which takes no memory until it is read.

    Attributes:
        shape: Its shape.
        strides: Distance between neighbours along each axis, in numbers.
        offset: Where in the storage it begins, in numbers.
        storage: Where its numbers are; they fill a stretch of it without a gap and without being used twice.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage = field(repr=False)

    def __post_init__(self) -> None:
        values = (*self.shape, *self.strides, self.offset)
        if (
            len(self.shape) != len(self.strides)
            or len(self.shape) > 16
            or not all(type(value) is int and value >= 0 for value in values)
        ):
            raise MalformedError("a tensor has a shape that cannot be")
        end = (self.offset + math.prod(self.shape)) * self.storage.dtype.itemsize
        if end > self.storage.size_bytes:
            raise MalformedError(
                f"a tensor of shape {shown_shape(self.shape)} reaches to byte {end:,} of {self.storage.size_bytes:,}"
            )
        step = 1
        for stride, size in sorted(zip(self.strides, self.shape, strict=True)):
            if size > 1 and 0 not in self.shape:
                if stride != step:
                    raise MalformedError(
                        f"a tensor of shape {shown_shape(self.shape)} is a view, expanded or cut out of another; save "
                        "a copy (tensor.clone())"
                    )
                step *= size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """What its numbers are."""
        return self.storage.dtype

    @property
    def size_bytes(self) -> int:
        """Memory that it takes when it is read."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """Read it, on the CPU.

        Raises:
            OSError: The file cannot be read.
            MalformedError: It ends early, or its numbers are not those that were written.
        """
        numbers = torch.empty(math.prod(self.shape), dtype=self.dtype)
        if numbers.numel():
            target = memoryview(numbers.view(torch.uint8).numpy().data)
            self.storage.copy(self.offset * self.dtype.itemsize, target)
        return numbers.as_strided(self.shape, self.strides)


@contextmanager
def open_checkpoint(path: Path, *, follow_links: bool = True) -> Iterator[Any]:
    """Open a checkpoint and return what was saved, with a `StoredTensor` in the place of each tensor.

    Args:
        path: The file.
        follow_links: Whether it may be a symbolic link.

    Raises:
        ForbiddenError: It contains other Python objects.
        MalformedError: It is not a torch checkpoint, or is damaged.
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path, follow_links=follow_links) as file:
        if file.read(4) == b"PK\x03\x04":
            with open_stored(file) as archive:
                yield _read_archive(archive)
        else:
            file.seek(0)
            yield _read_legacy(file)


def read_all(content: Any, max_bytes: int) -> Any:
    """Return the same with each `StoredTensor` read.

    Args:
        content: What `open_checkpoint` returned.
        max_bytes: Memory that all tensors may take together, such as the size of the file.

    Raises:
        MalformedError: They would take more, something else than tensors and plain values is in it, or its
            containers are in each other more than 16 deep.
    """
    left = max_bytes
    done: dict[int, Any] = {}

    def read(value: Any, depth: int) -> Any:
        nonlocal left
        if isinstance(value, str | int | float | None):
            return value
        if id(value) not in done:
            if isinstance(value, StoredTensor):
                left -= value.size_bytes
                if left < 0:
                    raise MalformedError("its tensors would take more memory than the file has bytes")
                done[id(value)] = value.read()
            elif not depth or not isinstance(value, dict | list | tuple) or isinstance(value, Opaque | Known):
                raise MalformedError("it has something else than tensors and plain values")
            elif isinstance(value, dict):
                done[id(value)] = {name: read(inner, depth - 1) for name, inner in value.items()}
            else:
                done[id(value)] = type(value)([read(inner, depth - 1) for inner in value])
        return done[id(value)]

    return read(content, 16)


def fill(source: Any, target: memoryview) -> None:
    """Read as many bytes as there is room for, block by block.

    Raises:
        OSError: They cannot be read.
        MalformedError: There are not so many, or they are not those that were written.
    """
    done = 0
    while done < len(target):
        block = source.read(min(_BLOCK_BYTES, len(target) - done))
        if not block:
            raise MalformedError("it ends before its numbers do")
        target[done : done + len(block)] = block
        done += len(block)


def shown_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as text, also where it has absurdly many or large numbers."""
    numbers = [str(size) if size < 10**20 else f"{size.bit_length()} bits" for size in shape[:8]]
    return f"({', '.join(numbers)}{', ...' if len(shape) > 8 else ''})"


def _read_archive(archive: ZipFile) -> Any:
    members = {one.filename.partition("/")[2]: one for one in archive.infolist()}
    if "data.pkl" not in members:
        raise MalformedError("it has no data.pkl")
    if members["data.pkl"].file_size > MAX_PICKLE_BYTES:
        raise MalformedError(f"its data.pkl is larger than {MAX_PICKLE_BYTES:,} bytes")
    order = members.get("byteorder")
    with called_malformed():
        if order is not None and (order.file_size > 16 or archive.read(order) != b"little"):
            raise MalformedError("its numbers are not in the order of bytes of this machine")
        content = archive.read(members["data.pkl"])

    def storage(key: Any) -> Storage:
        dtype, name, num_values = _parse_key(key)
        member = members[f"data/{name}"]
        if member.file_size < num_values * dtype.itemsize:
            raise MalformedError(f"it claims {num_values:,} numbers in {member.file_size:,} bytes")

        def copy(start: int, target: memoryview) -> None:
            with called_malformed(), archive.open(member) as source:
                source.seek(start)
                fill(source, target)

        return Storage(dtype, num_values * dtype.itemsize, copy)

    return read_pickle(io.BytesIO(content), _KNOWN, storage)


def _read_legacy(file: BinaryIO) -> Any:
    def read(load_storage: Callable[[Any], Any] = _no_storage) -> Any:
        return read_pickle(file, _KNOWN, load_storage)

    if read() != _MAGIC or read() != _LEGACY_VERSION:
        raise MalformedError("it is not a torch checkpoint")
    system = read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise MalformedError("its numbers are not in the order of bytes of this machine")
    starts: dict[str, int] = {}
    claimed: dict[str, int] = {}

    def storage(key: Any) -> Storage:
        if len(key) > 5 and key[5] is not None:
            raise MalformedError("it has views of storages, as torch wrote them before 0.4")
        dtype, name, num_values = _parse_key(key)
        size_bytes = num_values * dtype.itemsize
        if claimed.setdefault(name, size_bytes) != size_bytes:
            raise MalformedError("a storage has two sizes")

        def copy(start: int, target: memoryview) -> None:
            file.seek(starts[name] + start)
            fill(file, target)

        return Storage(dtype, size_bytes, copy)

    content = read(storage)
    names = read()
    if not isinstance(names, list) or not _are_names(names) or sorted(names) != sorted(claimed):
        raise MalformedError("its storages are not those that it names")
    position = file.tell()
    for name in names:
        starts[name] = position + 8  # after the number of its values
        position = starts[name] + claimed[name]
    if position > file.seek(0, os.SEEK_END):
        raise MalformedError("it ends before its numbers do")
    return content


def _are_names(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _no_storage(key: Any) -> Any:
    raise MalformedError("it has a storage where none can be")


def _parse_key(key: Any) -> tuple[torch.dtype, str, int]:
    """Return type, name and number of values of a storage; where it was, such as on a GPU, does not matter."""
    kind, known, name, _, num_values = key[:5]
    if kind != "storage" or not isinstance(known, Known) or not isinstance(name, str):
        raise MalformedError("it refers to something else than numbers")
    if type(num_values) is not int or num_values < 0:
        raise MalformedError("a storage has a size that cannot be")
    dtype = _DTYPES.get(known.name.removeprefix("torch."))
    if dtype is None:
        raise MalformedError(f"its numbers are of a kind that no network here has ({known.name})")
    return dtype, name, num_values


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise MalformedError("a tensor has no numbers")
    return StoredTensor(tuple(shape), tuple(strides), offset, storage)


def _empty(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise MalformedError("a dictionary is made of another one")
    return {}


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _opaque(name: str) -> Known:
    return Known(name, lambda *_: Opaque(name))


_KNOWN: Mapping[str, Known] = {
    known.name: known
    for known in (
        Known("torch._utils._rebuild_tensor", _tensor),
        Known("torch._utils._rebuild_tensor_v2", _tensor),
        Known("torch._utils._rebuild_parameter", _parameter),
        Known("torch._utils._rebuild_parameter_with_state", _parameter),
        Known("collections.OrderedDict", _empty),
        *(Known(f"torch.{name}") for name in _DTYPES),
        *(Known(f"torch.{dtype}".removeprefix("torch.")) for dtype in map(str, _DTYPES.values())),
        # What torch's own loader takes too, and no network here is made of.
        *(Known(f"torch.{name}") for name in ("per_tensor_affine", "per_channel_affine", "quint8", "qint8", "qint32")),
        *map(_opaque, ("torch.Size", "torch.device", "torch.serialization._get_layout", "_codecs.encode")),
        *map(_opaque, ("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor")),
        *map(_opaque, ("torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_tensor_v3")),
        *map(_opaque, ("collections.Counter", "__builtin__.set", "builtins.set", "__builtin__.frozenset")),
        *map(_opaque, ("__builtin__.bytearray", "builtins.bytearray", "__builtin__.complex", "builtins.complex")),
    )
}
"""What a checkpoint may name, and what stands for it here."""
