"""`Classifier`: clips in, probabilities and embeddings out, on the CPU or a GPU. It knows nothing of videos or of Ray.

The network always runs on batches of exactly `batch_size` clips; the last is padded, and what the padding gives is
dropped. So the scores of a clip depend on the clip, the model and the settings alone, to the last bit: not on what
shares its batch, on how many threads or workers there are, or on its position in a list. One exception is known: in
float32, networks with kernels along time alone (r2plus1d_18, s3d) give logits that differ by some 1e-7 between one
thread and several, because the CPU's library takes another kernel then. Other machines, versions of torch, and
compiling change bits too.

Letters: N clips, T frames, H height, W width, C = 3 channels, D values of the embedding, K classes.
"""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.choices import SAFER, UNCOMPILED, Precision, PrecisionOption, Switch
from vidcnn.errors import BundleError, CompileError, ModelError, PrecisionError, first_line
from vidcnn.inference.batch_sizes import choose_batch_size
from vidcnn.inference.compiled import compile_pays, keep_code_private, load_or_compile
from vidcnn.inference.devices import ieee_float32, resolve_device
from vidcnn.inference.fitting import lacks_memory, largest_fitting
from vidcnn.inference.golden import GoldenCheck
from vidcnn.inference.lanes import lanes_of
from vidcnn.inference.network import InferenceNetwork, best_precision
from vidcnn.inference.transfer import Network, Transfer
from vidcnn.models.bundle import Bundle
from vidcnn.models.cost import count_multiply_adds
from vidcnn.models.registry import architecture
from vidcnn.processes import SETTINGS
from vidcnn.sampling.preprocessing import resize_and_crop_tensor

_MOST_MULTIPLY_ADDS = 10**12
"""More than any network of the zoo needs for a clip: what does not pay with this need not be counted."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a `Classifier` returns for N clips.

    Args:
        probabilities: float32 ``(N, K)``; each row sums to 1, unless the model is multi-label.
        embeddings: float32 ``(N, D)``, the input of the network's last layer.
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


class Classifier:
    """A bundle's network, loaded and ready.

    Args:
        bundle: The model; nothing of its weights' bytes is kept.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``exact`` is the reference: float32, eager, the layers as published. ``bf16`` and ``fp32``
            are fast, ``int8`` is faster, for a bundle that was quantized; ``auto`` is the fastest of these that the
            hardware is good at.
        compile: ``on`` runs a compiled network, and nothing else: what runs is for the caller to record. Whether
            it pays is for the caller to decide too, with `compiling_pays`.
        batch_size: Clips that the network takes at once, as far as `most_clips` allows; by default 2 on the CPU
            and up to 32 on a GPU. Where a GPU's memory is too small for that, it is halved until it fits.
        num_threads: Threads of the CPU, for the whole process; by default those of torch.
        cache: Where compiled networks are kept; by default the user's cache directory.

    Attributes:
        labels: Names of the K classes.
        device: Name of the device in use.
        precision: ``exact``, ``fp32``, ``bf16`` or ``int8``.
        batch_size: Clips that the network takes at once.
        compiled: Whether the network in use is a compiled one.

    Raises:
        CompileError: The network cannot be compiled, as was asked, or gives other scores then.
        PrecisionError: It gives wrong scores in this precision, on this machine.
        ModelError: The device is absent, or the clips are of a size that the network cannot take; or the scores of its
            golden clips are not those that the bundle records, however they are computed.
        BundleError: The weights do not fit the architecture.
        ValueError: `batch_size` or `num_threads` is not positive.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        precision: PrecisionOption = "auto",
        compile: Switch = "off",
        batch_size: int | None = None,
        num_threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_threads", num_threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be > 0")
        entry = architecture(bundle.architecture)
        entry.check_input(bundle.sampling, bundle.preprocessing)
        self._num_threads = num_threads
        self._threaded: set[int] = set()
        self._set_num_threads()
        self._device = resolve_device(device)
        self.device = str(self._device)
        if precision == "auto":
            precision = best_precision(bundle, self._device)
        self.precision: Precision = precision
        self.labels = bundle.labels
        self._architecture = bundle.architecture
        self._multi_label = bundle.multi_label
        self._preprocessing = bundle.preprocessing
        self._num_frames = bundle.sampling.num_frames
        self._num_features = bundle.embedding_size
        self.compiled = compile == "on"
        self._lanes = lanes_of(self._device)
        self._transfers = threading.local()
        self.batch_size = choose_batch_size(bundle, device, batch_size)
        self._network = self._load(bundle, cache)

    def predict(self, clips: NDArray[np.uint8] | Tensor) -> Prediction:
        """Classify clips.

        Args:
            clips: uint8 ``(N, T, H, W, C)``, RGB. Clips of the crop's size have been resized and cropped
                already; others are, as torchvision's presets do it.

        Returns:
            Probabilities and embeddings, in the order of `clips`.

        Raises:
            ModelError: The network's output is not finite, or the device's memory is too small for a batch.
            ValueError: `clips` has another type or shape.
        """
        logits, embeddings = self._run(clips)
        return Prediction(to_probabilities(logits, multi_label=self._multi_label), embeddings.numpy())

    def logits(self, clips: NDArray[np.uint8] | Tensor) -> Tensor:
        """Return the scores before softmax or sigmoid, float32 ``(N, K)``; otherwise as `predict`."""
        return self._run(clips)[0]

    def _run(self, clips: NDArray[np.uint8] | Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K)`` and embeddings ``(N, D)``, both float32 on the CPU."""
        is_there = isinstance(clips, Tensor) and clips.device == self._lanes.device and self._lanes.is_apart
        frames = clips.cpu().numpy() if isinstance(clips, Tensor) and not is_there else clips
        is_bytes = frames.dtype in (np.uint8, torch.uint8)
        if not is_bytes or frames.ndim != 5 or tuple(frames.shape[1::3]) != (self._num_frames, 3):
            shape = tuple(frames.shape)
            raise ValueError(f"clips must be uint8 (N, {self._num_frames}, H, W, 3), not {frames.dtype} {shape}")
        self._set_num_threads()
        try:
            logits, embeddings = self._run_on(self._network, frames)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise ModelError(
                f"{self._architecture} needs more memory than {self.device} has for batches of {self.batch_size}",
                f"use --batch-size {max(1, self.batch_size // 2)}",
            ) from error
        if not (logits.isfinite().all() and embeddings.isfinite().all()):
            hint = "use --precision fp32" if self.precision == "bf16" else "check the model's weights"
            raise ModelError(f"{self._architecture} in {self.precision} gives scores that are not finite", hint)
        return logits, embeddings

    def _set_num_threads(self) -> None:
        """Set the number of threads, which OpenMP keeps for each calling thread apart."""
        caller = threading.get_ident()
        if self._num_threads is not None and caller not in self._threaded:
            torch.set_num_threads(self._num_threads)
            self._threaded.add(caller)

    def _run_on(self, network: Network, frames: NDArray[np.uint8] | Tensor) -> tuple[Tensor, Tensor]:
        """Run a network on clips, through the buffers of this thread."""
        exactly = ieee_float32() if self.precision == "exact" else nullcontext()
        with torch.inference_mode(), exactly:
            transfer: Transfer | None = getattr(self._transfers, "own", None)
            if transfer is None:
                geometry = partial(resize_and_crop_tensor, preprocessing=self._preprocessing)
                transfer = self._transfers.own = Transfer(self._lanes, geometry, self._batch_shape)
            return transfer.run(network, frames, len(self.labels), self._num_features)

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch: (N, T, h, w, C)."""
        return (self.batch_size, self._num_frames, *self._preprocessing.crop, 3)

    def _load(self, bundle: Bundle, cache: Path | None) -> Network:
        """Return the network; where memory is too small for its batches, make these smaller."""

        def attempt(batch_size: int) -> Network:
            self.batch_size = batch_size
            self._transfers = threading.local()
            check = GoldenCheck(bundle, self.precision, self._device, batch_size, compiled=self.compiled)
            if self.compiled:
                return self._compile(bundle, cache, check)
            network = InferenceNetwork(bundle, self.precision, self._device)
            if self._lanes.is_apart:  # what a batch takes is only known when one has run
                self._run_on(network, np.zeros(self._batch_shape, np.uint8))
            if wrong := check.difference(network):
                raise PrecisionError(wrong, f"use --precision {SAFER[self.precision]}")
            return network

        wanted = self.batch_size
        try:
            network = largest_fitting(wanted, attempt, release=self._lanes.release)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise ModelError(
                f"{self._architecture} needs more memory than {self.device} has free for a single clip",
                "end what else uses it, or use --device cpu",
            ) from error
        if self.batch_size < wanted:
            logger.warning(
                "%s takes %d clips at once, not %d: the memory of %s is too small",
                self._architecture,
                self.batch_size,
                wanted,
                self.device,
            )
        return network

    def _compile(self, bundle: Bundle, cache: Path | None, check: GoldenCheck) -> Network:
        """Return a compiled network that has run once."""
        if self.precision in UNCOMPILED:
            raise CompileError(f"{self.precision} precision is not compiled", "use --compile off")
        try:
            network: Network
            if self._device.type == "cpu":
                network = load_or_compile(bundle, self.precision, self.batch_size, cache, check.difference)
            else:
                eager = InferenceNetwork(bundle, self.precision, self._device)
                keep_code_private()
                network = torch.compile(eager, dynamic=False)
            # All that it runs on is made in this mode, or torch would compile it once more.
            with SETTINGS, torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._lanes.is_apart or not check.is_known:
                    self._run_on(network, np.zeros(self._batch_shape, np.uint8))
                if self._device.type != "cpu" and (wrong := check.difference(network)):
                    raise CompileError(wrong)
        except (ModelError, BundleError):
            raise
        # What torch's compilers raise has no common type; the network itself still works.
        except Exception as error:
            if lacks_memory(error):
                raise
            raise CompileError(f"compiling failed: {type(error).__name__}: {first_line(error)}") from error
        return network


def to_probabilities(logits: Tensor, *, multi_label: bool) -> NDArray[np.float32]:
    """Return the probabilities ``(N, K)`` of logits: of each class alone where a clip may have several."""
    scores: NDArray[np.float32] = (logits.sigmoid() if multi_label else logits.softmax(dim=1)).numpy()
    return scores


def compiling_pays(bundle: Bundle, device: str, num_clips: int | None) -> bool:
    """Decide whether a run is long enough to compile its network first (see `vidcnn.inference.compiled.compile_pays`).

    Args:
        bundle: The model, with the clips that it is to take.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        num_clips: Clips of the whole run, whoever computes them.
    """
    from vidcnn.models.build import build_network

    entry = architecture(bundle.architecture)
    # What compiling gives on a GPU has not been measured.
    if not entry.compiles or not compile_pays(num_clips, _MOST_MULTIPLY_ADDS) or resolve_device(device).type != "cpu":
        return False
    network = build_network(entry, len(bundle.labels), bundle.arguments)
    work = count_multiply_adds(network, bundle.sampling.num_frames, bundle.preprocessing.crop)
    return compile_pays(num_clips, work)
