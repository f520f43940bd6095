"""Networks compiled ahead of time for the CPU, kept in a cache that later processes load at once.

Takes a bundle with the shape and precision of its batches; returns a callable with the contract of
`InferenceNetwork`. Compiling takes some twenty seconds, 1.3 GB and a C++ compiler; it happens in a child
process, so that neither the compiler's messages nor its memory reach this one. Loading a cached package takes
less than a second.

What compiling gives depends on the network: some 5 % where convolutions are all the work (r3d_18), up to a third where
memory traffic counts (s3d). `compile_pays` returns when that is worth the wait.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from vidcnn.errors import CompileError
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.processes import SETTINGS, run_module
from vidcnn.storage.disks import cache_directory
from vidcnn.storage.ownership import is_own, open_regular, why_foreign
from vidcnn.storage.private import make_private
from vidcnn.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from vidcnn.choices import Precision
    from vidcnn.inference.transfer import Network

MAX_CACHED_PACKAGES = 8
"""Packages kept, the least recently used removed first; one has the size of the network's weights."""

COMPILE_TIMEOUT_SECONDS = 900

_CODE_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Variable with the folder in which torch keeps the code that it compiles."""

# Measured in bfloat16 on r3d_18, which gains least by being compiled.
_MULTIPLY_ADDS_PER_CORE_SECOND = 2e11
_LEAST_SAVING = 0.02
_COMPILE_CORE_SECONDS = 30

logger = logging.getLogger(__name__)


def compile_pays(num_clips: int | None, multiply_adds: int) -> bool:
    """Decide whether a run is long enough to compile its network first.

    The decision depends on the whole run's clips and on nothing else: not on what is cached, on how many
    threads there are or on what an interrupted run has already done. So every process of a run, and its
    resumption, decides alike, and their scores are equal to the last bit.

    Args:
        num_clips: Clips of the whole run; None if unknown, which never pays.
        multiply_adds: Arithmetic of one clip.
    """
    if num_clips is None:
        return False
    return num_clips * multiply_adds / _MULTIPLY_ADDS_PER_CORE_SECOND * _LEAST_SAVING > _COMPILE_CORE_SECONDS


def load_or_compile(
    bundle: Bundle,
    precision: Precision,
    batch_size: int,
    cache: Path | None = None,
    difference: Callable[[Network], str | None] = lambda network: None,
) -> Network:
    """Return the compiled network of a bundle, compiling it if it is not in the cache.

    Of several processes that ask at once, one compiles and the others wait for it.

    Args:
        bundle: The model.
        precision: ``fp32`` or ``bf16``.
        batch_size: Clips in each call, N.
        cache: Directory of packages; by default ``vidcnn`` in the user's cache directory. A package is code: one that
            belongs to another user, or that others could have written, is not loaded but compiled again.
        difference: Returns in words what is wrong with the scores of a network; None where nothing is. A package in the
            cache that is wrong is removed, and the network is compiled again.

    Returns:
        A callable from uint8 ``(N, T, H, W, C)`` to logits ``(N, K)`` and embeddings ``(N, D)``, both
        float32.

    Raises:
        CompileError: It cannot be compiled here; the message has the reason. The network itself still works.
    """
    if not architecture(bundle.architecture).compiles:
        raise CompileError(f"{bundle.architecture} is not a network that torch compiles correctly")
    cache = cache or cache_directory()
    package = cache / f"{_key(bundle, precision, batch_size)}.pt2"

    def compile_unless(is_good: Callable[[], bool]) -> None:
        _check_compiler()
        try:
            if cache.is_symlink() or not cache.exists():
                make_private(cache)
            _check_folder(cache)
            with _locked(package.with_suffix(".lock")):
                if not is_good():
                    package.unlink(missing_ok=True)
                    _compile_in_child(bundle, precision, batch_size, package)
            _prune(cache)
        except OSError as error:
            raise CompileError(f"the network cannot be compiled: {error}") from error

    was_there = _is_trusted(package)
    if not was_there:
        compile_unless(lambda: _is_trusted(package))
    _check_folder(cache)
    network = _load(package)
    wrong = difference(network)
    if wrong is not None and was_there:
        logger.info("%s is wrong, and is compiled again", package)
        # Another process may have done that meanwhile.
        compile_unless(lambda: _is_trusted(package) and difference(_load(package)) is None)
        network = _load(package)
        wrong = difference(network)
    if wrong is not None:
        package.unlink(missing_ok=True)
        raise CompileError(wrong)
    return network


def keep_code_private() -> None:
    """Let torch keep the code that it compiles in this process where nobody else can put any.

    Of itself it takes a folder of the temporary folder, with a name that anybody can have taken before.
    """
    if _CODE_FOLDER in os.environ:
        return
    folder = Path(tempfile.gettempdir(), f"vidcnn-code-{os.geteuid()}")
    try:
        make_private(folder)
    except OSError as error:
        logger.info("%s is not used: %s", folder, error)
        own = tempfile.TemporaryDirectory(prefix="vidcnn-code-", ignore_cleanup_errors=True)
        atexit.register(own.cleanup)
        folder = Path(own.name)
    os.environ[_CODE_FOLDER] = str(folder)


def compile_package(bundle: Bundle, precision: Precision, batch_size: int, package: Path) -> None:
    """Compile a bundle's network into the file `package`, and see that it computes what the network does.

    Raises:
        CompileError: The compiled network's logits are not those of the network.
    """
    import torch
    import torch._inductor

    from vidcnn.inference.network import InferenceNetwork

    network = InferenceNetwork(bundle, precision, torch.device("cpu"))
    shape = (batch_size, bundle.sampling.num_frames, *bundle.preprocessing.crop, 3)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exported = torch.export.export(network, (clips,))
        # Freezing lays the weights out for the kernels; dynamic threads let one package serve any number of
        # them.
        options = {"freezing": True, "cpp.dynamic_threads": True}
        torch._inductor.aoti_compile_and_package(exported, package_path=str(package), inductor_configs=options)
        expected, _ = network(clips)
        found, _ = _load(package)(clips)
    spread = max(float(expected.std()), 1e-6)
    if not (found - expected).abs().max() <= 0.05 * spread:
        raise CompileError(f"compiling changes the scores of {bundle.architecture}")


def _key(bundle: Bundle, precision: Precision, batch_size: int) -> str:
    """Name everything that a package depends on, so that a cache can be shared and a change is never missed."""
    import torch
    import torchvision

    from vidcnn.inference.devices import cpu_features

    parts = {
        "weights": bundle.weights_sha256,
        "architecture": [bundle.architecture, bundle.arguments],
        "clips": [batch_size, bundle.sampling.num_frames, *bundle.preprocessing.crop],
        "normalisation": [bundle.preprocessing.mean, bundle.preprocessing.std],
        "precision": precision,
        "versions": [__version__, torch.__version__, torchvision.__version__],
        "cpu": [platform.machine(), platform.libc_ver(), sorted(cpu_features())],
    }
    return f"{bundle.architecture}-{sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]}"


def _is_trusted(package: Path) -> bool:
    """Return whether a package is there that nobody but this user, or root, can have written."""
    if not os.path.lexists(package):
        return False
    try:
        with open_regular(package) as file:
            reason = why_foreign(os.fstat(file.fileno()))
    except OSError as error:
        reason = error.strerror or str(error)
    if reason is not None:
        logger.warning("the compiled network '%s' is not loaded, as %s: it is compiled again", package, reason)
    return reason is None


def _check_folder(cache: Path) -> None:
    """Refuse a folder in which others can put code, between a look at it and its use.

    One of this user that others can write to, as a wide umask makes it, is closed to them.

    Raises:
        CompileError: It is one of another user.
    """
    status = cache.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o022:
        cache.chmod(status.st_mode & 0o7755)
    reason = why_foreign(cache.stat())
    if reason is not None:
        raise CompileError(
            f"compiled networks are not kept in '{cache}', as {reason}",
            "set XDG_CACHE_HOME to a folder of your own",
        )


def _check_compiler() -> None:
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(map(shutil.which, candidates)):
        raise CompileError(f"there is no C++ compiler ({' or '.join(candidates)})", "install one, or set CXX")


def _compile_in_child(bundle: Bundle, precision: Precision, batch_size: int, package: Path) -> None:
    with tempfile.TemporaryDirectory(dir=package.parent, prefix="compiling-", ignore_cleanup_errors=True) as aside:
        replace(bundle, golden=None).save(Path(aside, "bundle"))  # its clips may be of another length than these
        command, environment = run_module("vidcnn.inference.compiled")
        environment |= {
            _CODE_FOLDER: str(Path(aside, "inductor")),
            "TMPDIR": aside,
            "CUDA_VISIBLE_DEVICES": "",
        }
        command += [aside, precision, str(batch_size)]
        logger.info("compiling %s", bundle.architecture)
        try:
            child = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMPILE_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CompileError(f"compiling took longer than {COMPILE_TIMEOUT_SECONDS} s") from error
        if child.returncode:
            logger.debug("the compiling process wrote:\n%s", child.stderr)
            lines = child.stderr.strip().splitlines() or [f"exit {child.returncode}"]
            raise CompileError(f"compiling failed: {lines[-1].removeprefix('vidcnn.errors.CompileError: ')}")
        Path(aside, "model.pt2").chmod(0o644)
        os.replace(Path(aside, "model.pt2"), package)


def _load(package: Path) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Load a package; torch unpacks it into a directory of its own, which is gone when this returns."""
    import torch._inductor

    with (
        SETTINGS,
        tempfile.TemporaryDirectory(prefix="vidcnn-", ignore_cleanup_errors=True) as unpacked,
        _quiet_torch(),
    ):
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = unpacked
        try:
            network: Callable[[Tensor], tuple[Tensor, Tensor]] = torch._inductor.aoti_load_package(str(package))
        except RuntimeError as error:
            package.unlink(missing_ok=True)
            raise CompileError(f"the compiled network '{package}' cannot be loaded: {error}") from error
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
    package.touch()
    return network


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Hide what torch's compiler prints when it is loaded, about CUDA tools that are not used."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which the system releases if this process dies."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _prune(cache: Path) -> None:
    """Remove the least recently used packages of this user, and what killed processes left behind."""
    own = [path for path in cache.glob("*.pt2") if is_own(path.lstat())]
    packages = sorted(own, key=lambda path: path.lstat().st_mtime, reverse=True)
    for package in packages[MAX_CACHED_PACKAGES:]:
        package.unlink(missing_ok=True)
        package.with_suffix(".lock").unlink(missing_ok=True)
    for directory in cache.glob("compiling-*"):
        if time.time() - directory.stat().st_mtime > 86_400:
            shutil.rmtree(directory, ignore_errors=True)


def _main(aside: str, precision: Precision, batch_size: str) -> None:
    """Compile the bundle in the directory `aside` into ``model.pt2`` beside it; what the child process runs."""
    with _quiet_torch():
        bundle = Bundle.load(Path(aside, "bundle"))
        compile_package(bundle, precision, int(batch_size), Path(aside, "model.pt2"))


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
