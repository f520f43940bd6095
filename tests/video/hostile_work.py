"""What a decoder that was taken over would try, from inside a decoding process."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vidcnn.video import file_client, files

NEIGHBOURS = Path("/proc/self/fd")


class Runs:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self._mark),)


def try_all(items: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """Try deeds, by name and what they are done to; yield how each went."""
    for name, target in items:
        try:
            _DEEDS[name](target)
        except PermissionError as error:
            yield name, f"refused with {error.errno}"
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, "done"


def _ptrace(pid: int) -> None:
    _call("ptrace", 16, pid, None, None)  # PTRACE_ATTACH


def _peek(pid: int) -> None:
    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here, there = (Vector(ctypes.addressof(ctypes.create_string_buffer(8)), 8) for _ in range(2))
    _call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


def _call(name: str, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, name)
    function.restype = ctypes.c_long
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _connect(address: Any) -> None:
    with socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) as made:
        made.connect(address)


def _ask_parent(location: str) -> None:
    files.open_file(location).close()


def _ask_parent_to_list(location: str) -> None:
    client = file_client.client()
    assert client is not None
    client.list_folder(location)


_DEEDS: dict[str, Callable[[Any], object]] = {
    "read": lambda path: Path(path).read_bytes(),
    "write": lambda path: Path(path).write_bytes(b"changed"),
    "append": lambda path: os.open(path, os.O_WRONLY | os.O_APPEND),
    "remove": os.unlink,
    "rename": lambda path: os.rename(path, f"{path}.moved"),
    "permit": lambda path: os.chmod(path, 0o777),
    "list": os.listdir,
    "connect": _connect,
    "execve": lambda path: os.execv(path, [path]),
    "run": lambda path: subprocess.run([path], check=True),
    "fork": lambda _: os.fork() or os._exit(0),
    "ptrace": _ptrace,
    "peek": _peek,
    "kill": lambda pid: os.kill(pid, signal.SIGTERM),
    "ask": _ask_parent,
    "ask to list": _ask_parent_to_list,
}


def send_pickle(marks: Sequence[str]) -> Iterator[None]:
    """Send the parent a pickle that runs, in the place of a value."""
    content = pickle.dumps(Runs(marks[0]))
    _channel().sendall(struct.pack("<QIB", len(content), 0, 0) + content)
    yield None


def send_raw(messages: Sequence[bytes]) -> Iterator[None]:
    """Send the parent bytes, in the place of a value."""
    _channel().sendall(messages[0])
    yield None


def send_changing_memory(sizes: Sequence[int]) -> Iterator[None]:
    """Hand over memory that can be taken back, as that of an array."""
    memory = os.memfd_create("pixels")
    os.ftruncate(memory, sizes[0])
    text = json.dumps(["t", "value", ["a", 0, "|u1", [sizes[0]]]]).encode()
    channel = _channel()
    socket.send_fds(channel, [struct.pack("<QIB", len(text), 1, 1)], [memory])
    channel.sendall(struct.pack("<Q", sizes[0]) + text)
    yield None


def pid(items: Sequence[Any]) -> Iterator[int]:
    yield os.getpid()


def _channel() -> socket.socket:
    """Return the socket to the parent, which is the first of this process's."""
    numbers = sorted(number for number in range(3, 200) if _is_socket(number))
    return socket.socket(fileno=min(numbers, key=lambda number: number))


def _is_socket(number: int) -> bool:
    import stat

    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
