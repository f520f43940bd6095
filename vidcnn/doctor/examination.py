"""All checks of a machine, one after the other; what one of them raises is a finding, too."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vidcnn.cluster.control_groups import read_limits
from vidcnn.doctor import decoding, folders, gpus, limits, memory, processors, software, speed, storage
from vidcnn.doctor.imports import try_imports
from vidcnn.errors import first_line
from vidcnn.reporting.findings import Examination, Finding, plain
from vidcnn.version import __version__

_NEEDED = {"torch": ("numpy", "torch"), "decoding": ("numpy", "av", "cv2"), "storage": ("pyarrow",)}
_ALL = ("numpy", "av", "cv2", "torch", "pyarrow", "safetensors")


@dataclass(frozen=True)
class Wishes:
    """What is to be looked at.

    Attributes:
        model: Name of the model that is measured, or a bundle; None takes a small network with random weights.
        storage: Where a small file is written; None leaves that out.
        quick: Leave the measurement out.
        is_node: Whether this is a node of a cluster, whose Ray runs already.
    """

    model: str | None = None
    storage: str | None = None
    quick: bool = False
    is_node: bool = False


def examine(wishes: Wishes, tell: Callable[[str], object] = lambda topic: None) -> Examination:
    """Look at this machine.

    Args:
        wishes: What is to be looked at.
        tell: Is called with each topic before it is looked at.
    """
    tell(software.TOPIC)
    container = read_limits()
    cores = processors.usable_cores(container)
    imports = try_imports()
    broken = {name for name, reason in imports.items() if reason is not None}
    findings: list[Finding] = []

    def look(topic: str, check: Callable[[], Finding | Iterable[Finding]], needs: tuple[str, ...] = ()) -> None:
        if lacking := [name for name in needs if name in broken]:
            findings.append(Finding(topic, "not looked at", f"{', '.join(lacking)} cannot be loaded", "note"))
            return
        tell(topic)
        try:
            found = check()
        except Exception as error:
            problem = f"looking at {topic} failed: {type(error).__name__}: {plain(first_line(error))}"
            found = Finding(topic, "not known", "", "warning", problem, "--debug shows where")
        findings.extend([found] if isinstance(found, Finding) else found)

    look(software.TOPIC, lambda: software.check_software(_wanted(), imports, _ffmpeg(broken)))
    look(processors.TOPIC, lambda: processors.check_processors(container))
    look(processors.TOPIC, processors.check_arithmetic, _NEEDED["torch"])
    look(gpus.TOPIC, gpus.check_gpus, _NEEDED["torch"])
    look(decoding.TOPIC, decoding.check_codecs, _NEEDED["decoding"])
    look(decoding.TOPIC, decoding.check_child, _NEEDED["decoding"])
    look(memory.TOPIC, lambda: memory.check_memory(container))
    _look_at_room(look, wishes)
    look(limits.TOPIC, limits.check_files)
    look(limits.TOPIC, lambda: limits.check_processes(container, cores))
    if (location := wishes.storage) is not None:
        look(storage.TOPIC, lambda: storage.check_storage(location), _NEEDED["storage"])
    if not wishes.quick:
        look(speed.TOPIC, lambda: speed.check_speed(wishes.model, cores), _ALL)
    return Examination(platform.node() or "this machine", _system(), tuple(findings))


def _look_at_room(look: Callable[..., None], wishes: Wishes) -> None:
    """Look at the folders of a run, and at the shared memory of the Ray that it starts."""
    import tempfile

    from vidcnn.cluster.embedded import room_wanted

    base, store_bytes = room_wanted()
    temporary = Path(tempfile.gettempdir())
    look(memory.TOPIC, lambda: memory.check_shared_memory(store_bytes))
    look(folders.TOPIC, lambda: folders.check_folder("temporary", temporary))
    if wishes.is_node:
        return
    if base.resolve() != temporary.resolve():
        look(folders.TOPIC, lambda: folders.check_folder("Ray's", base))
    look(folders.TOPIC, lambda: folders.check_folder("working", Path(os.getcwd()), is_needed=False))
    look(limits.TOPIC, lambda: folders.check_socket_path(base))


def _wanted() -> Mapping[str, str]:
    return software.requirements()


def _ffmpeg(broken: set[str]) -> str | None:
    if broken.intersection(_NEEDED["decoding"]):
        return None
    from vidcnn.video.abilities import ffmpeg_version

    return ffmpeg_version()


def _system() -> str:
    release = platform.release()
    return plain(f"vidcnn {__version__}, {platform.system()} {release} on {platform.machine()}")
