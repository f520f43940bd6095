"""What a power failure may leave: a recorder of what a program does to files, and the trees that may be left of it.

A disk keeps for certain what was synchronised: the content of a file as of its last fsync(2), and the names in a
directory as of the last fsync of that directory. All else it may keep or not, in any order.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

Whim = Literal["keeps nothing", "keeps all names", "keeps removals", "chance"]
"""Which changes of names are kept that were not synchronised. Contents that were not are always lost."""
WHIMS: tuple[Whim, ...] = ("keeps nothing", "keeps all names", "keeps removals", "chance")


@dataclass
class Change:
    """A change of a name in a directory.

    Attributes:
        folder: The directory.
        name: The name.
        target: What it names from now on: number of a file, "folder", or None for nothing.
    """

    folder: str
    name: str
    target: int | str | None


@dataclass
class Recorder:
    """What was done to files below a folder, in order.

    Attributes:
        base: The folder, which is there for certain.
        events: A `Change`; a directory that was synchronised; a file that was, with its content; or a note.
    """

    base: str
    events: list[Change | str | tuple[int, bytes] | list[Any]] = field(default_factory=list)

    def note(self, value: Any) -> None:
        """Note that something was promised by now."""
        self.events.append([value])

    def notes(self, number: int) -> list[Any]:
        """Return what was noted within the first events."""
        return [event[0] for event in self.events[:number] if isinstance(event, list)]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process does through `os`."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "mkdir", "replace", "unlink", "rmdir", "fsync"):
                patch.setattr(os, name, self._recorded(name, getattr(os, name)))
            yield

    def leave(self, number: int, whim: Whim, place: Path, seed: int = 0) -> None:
        """Make the tree that is left when the power fails after so many events.

        Args:
            number: Events that have happened.
            whim: Of the disk.
            place: A folder that is made, and takes the place of the base.
            seed: For what is left to chance.
        """
        choose = random.Random(seed)
        happened = self.events[:number]
        last_sync = {event: position for position, event in enumerate(happened) if isinstance(event, str)}
        contents = {event[0]: event[1] for event in happened if isinstance(event, tuple)}
        names: dict[str, dict[str, int | str]] = {}
        for position, event in enumerate(happened):
            if not isinstance(event, Change):
                continue
            is_kept = {
                "keeps nothing": False,
                "keeps all names": True,
                "keeps removals": event.target is None,
                "chance": choose.random() < 0.5,
            }[whim]
            if is_kept or position < last_sync.get(event.folder, -1):
                if event.target is None:
                    names.setdefault(event.folder, {}).pop(event.name, None)
                else:
                    names.setdefault(event.folder, {})[event.name] = event.target
        self._make(self.base, names, contents, place)

    def _make(
        self, folder: str, names: dict[str, dict[str, int | str]], contents: dict[int, bytes], place: Path
    ) -> None:
        place.mkdir()
        for name, target in names.get(folder, {}).items():
            if isinstance(target, int):
                (place / name).write_bytes(contents.get(target, b""))
            else:
                self._make(os.path.join(folder, name), names, contents, place / name)

    def _recorded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def record(path: Any, *args: Any, **options: Any) -> Any:
            if name == "fsync":
                result = call(path)
                self._sync(path)
                return result
            if not self._is_ours(path):
                return call(path, *args, **options)
            is_new = name != "open" or not os.path.lexists(path)
            result = call(path, *args, **options)
            if name == "open":
                if is_new:
                    self._change(path, os.fstat(result).st_ino)
            elif name == "mkdir":
                self._change(path, "folder")
            elif name == "replace":
                self._change(args[0], os.stat(args[0]).st_ino)
                self._change(path, None)
            else:
                self._change(path, None)
            return result

        return record

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(self.base + os.sep)

    def _change(self, path: Any, target: int | str | None) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        self.events.append(Change(folder, name, target))

    def _sync(self, file: int) -> None:
        path, status = os.readlink(f"/proc/self/fd/{file}"), os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            self.events.append(path)
        else:
            with open(f"/proc/self/fd/{file}", "rb") as again:
                self.events.append((status.st_ino, again.read()))
