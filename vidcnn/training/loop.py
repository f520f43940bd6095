"""The training loop's step, in plain torch.

From a bundle to begin with, a recipe and batches of numbered samples to weights. What happens in a step depends
on the samples' numbers and on nothing that a process remembers, so that the same steps give the same weights after an
interruption, and nearly the same (by the order of additions) with another number of workers.

Letters: N samples of a worker's share, C = 3 channels, T frames, H height, W width, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vidcnn.errors import CompileError, ModelError, first_line
from vidcnn.inference.compiled import keep_code_private
from vidcnn.inference.devices import ieee_float32
from vidcnn.inference.network import Normalisation
from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.continuing import check_state
from vidcnn.training.diagnosis import Findings
from vidcnn.training.dropout import SampleDropout, bind_dropout
from vidcnn.training.mixing import mix
from vidcnn.training.optimizer import build_optimizer, freeze, gradient_norm, set_rate
from vidcnn.training.padding import write_padding_out
from vidcnn.training.recipe import Recipe
from vidcnn.video.pixels import UInt8Array


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step gave on this worker.

    Attributes:
        losses: float32 (N,): loss of each sample; 0 for those that could not be decoded.
        num_correct: Samples whose class with the highest target has the highest score.
        is_finite: Whether the loss and the gradient of all workers together are numbers. If not, no weight was changed.
    """

    losses: Tensor
    num_correct: int
    is_finite: bool


class Trainer:
    """A network in training.

    Args:
        bundle: The network to begin with.
        recipe: How it is trained.
        worker: Which of the processes this is; with more than one, torch's process group must be there.

    Attributes:
        step: Steps done.

    Raises:
        ModelError: What is to be frozen is not there, or batch statistics cannot be synchronised on this device.
    """

    def __init__(self, bundle: Bundle, recipe: Recipe, worker: Worker) -> None:
        self._bundle = bundle
        self._recipe = recipe
        self._worker = worker
        self.step = 0
        entry = architecture(bundle.architecture)
        network = build_model(bundle).requires_grad_(True).to(worker.device)
        network.to(memory_format=torch.channels_last_3d)
        if worker.device.type == "cpu" and recipe.precision == "bf16":
            write_padding_out(network)
        self._dropouts = bind_dropout(network, recipe.seed)
        self._frozen = freeze(network, entry.head, recipe.frozen)
        if recipe.sync_batch_norm and worker.count > 1:
            if worker.device.type != "cuda":
                raise ModelError("batch statistics can be synchronised between GPUs only", "leave --sync-bn out")
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self._network = network
        self._last_losses = torch.zeros(0)
        self._normalise = Normalisation(bundle.preprocessing).to(worker.device)
        self._optimizer = build_optimizer(network, entry.head, recipe)
        self._average: AveragedModel | None = None
        if recipe.ema_decay is not None:
            self._average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))  # type: ignore[no-untyped-call]
        if recipe.compile:
            keep_code_private()
        compiled = torch.compile(network) if recipe.compile else network
        self._forward = DistributedDataParallel(compiled) if worker.count > 1 else compiled

    @property
    def trained(self) -> nn.Module:
        """The network whose weights count: the moving average, if there is one."""
        return self._average.module if self._average is not None else self._network

    def train_step(self, batch: Batch) -> StepResult:
        """Do one step on this worker's share of the samples, in step with the other workers.

        Raises:
            CompileError: The network is to be compiled, and cannot be.
        """
        recipe = self._recipe
        self._network.train()
        for module in self._frozen:
            module.eval()
        torch.manual_seed(_seed(recipe.seed, self.step, self._worker.rank))  # of what draws without a sample's number
        set_rate(self._optimizer, recipe.rate(self.step))
        self._optimizer.zero_grad(set_to_none=True)
        losses, num_correct = [], 0
        chunks = list(_chunks(batch, recipe.accumulation_steps))
        for index, chunk in enumerate(chunks):
            # Gradients are exchanged once, with the last chunk.
            with self._apart() if index < len(chunks) - 1 else nullcontext():
                with _compiler_failures():
                    loss, correct = self._forward_chunk(chunk, self._autocast_forward, self._dropouts)
                # The mean over all workers' samples: DDP divides by the number of workers.
                with _compiler_failures():
                    (loss.sum() / len(batch.samples)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            num_correct += correct
        is_finite = self._update()
        self.step += is_finite
        self._last_losses = torch.cat(losses)
        return StepResult(self._last_losses, num_correct, is_finite)

    def find_out(self, batch: Batch) -> Findings:
        """Find out why the step that was just done on this batch gave no numbers, in step with the other workers."""
        step_losses = self._last_losses
        bad_gradients = tuple(
            name
            for name, weight in self._network.named_parameters()
            if weight.grad is not None and not weight.grad.isfinite().all()
        )
        self._optimizer.zero_grad(set_to_none=True)
        network = copy.deepcopy(self._network).to(memory_format=torch.contiguous_format)
        weights = torch.stack([weight.detach().abs().max() for weight in network.parameters()])
        losses, is_finite = self._repeat(network, batch)
        began = build_model(self._bundle).state_dict()
        network.load_state_dict(began)
        began_losses, began_finite = self._repeat(network, batch)
        return Findings(
            bad_losses=_no_numbers(step_losses),
            bad_gradients=bad_gradients,
            is_finite=is_finite and bool(losses.isfinite().all()),
            began_finite=began_finite and bool(began_losses.isfinite().all()),
            bad_plain_losses=_no_numbers(began_losses),
            largest_weight=float(weights.max()),
            begins_finite=all(bool(value.isfinite().all()) for value in began.values()),
        )

    def _repeat(self, network: nn.Module, batch: Batch) -> tuple[Tensor, bool]:
        """Return the losses of a step in plain float32, and whether its gradient is finite."""
        torch.manual_seed(_seed(self._recipe.seed, self.step, self._worker.rank))
        network.zero_grad(set_to_none=True)
        dropouts = [module for module in network.modules() if isinstance(module, SampleDropout)]
        losses = []
        with ieee_float32():
            for chunk in _chunks(batch, self._recipe.accumulation_steps):
                loss, _ = self._forward_chunk(chunk, lambda clips: network(clips.contiguous()), dropouts)
                (loss.sum() / len(batch.samples)).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
        return torch.cat(losses), bool(gradient_norm(network).isfinite())

    def share_statistics(self) -> None:
        """Give all workers the batch statistics of the first, which are those that are saved: call it before `scores`.

        Each worker's layers keep statistics of its own samples; the next step starts from the first worker's anyway.
        """
        if self._worker.count > 1:
            for statistics in self.trained.buffers():
                dist.broadcast(statistics, 0)

    def scores(self, clips: UInt8Array, *, plainly: bool = False) -> Tensor:
        """Return probabilities of clips, by the weights that count.

        Args:
            clips: uint8 (N, T, H, W, 3).
            plainly: Compute in float32, whatever the recipe asks for.

        Returns:
            float32 (N, K), on the CPU.
        """
        network = self.trained.eval()
        with torch.inference_mode(), nullcontext() if plainly else self._autocast():
            logits = network(self._normalise(torch.from_numpy(clips).to(self._worker.device))).float()
        scores: Tensor = logits.sigmoid() if self._recipe.multi_label else logits.softmax(dim=1)
        return scores.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return all that continuing needs, as copies on the CPU that further steps do not change."""
        state = {
            "step": self.step,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }
        copied: dict[str, Any] = _to_cpu(state)
        return copied

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: It is the state of another training; the message says what differs.
        """
        check_state(state, self._network, self._optimizer, self._average)
        self.step = state["step"]
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _forward_chunk(
        self, chunk: Batch, forward: Callable[[Tensor], Tensor], dropouts: Iterable[SampleDropout]
    ) -> tuple[Tensor, int]:
        """Return the loss of each sample, float32 (N,), and how many are right."""
        recipe, device = self._recipe, self._worker.device
        clips = self._normalise(torch.from_numpy(chunk.pixels).to(device, non_blocking=True))  # (N, C, T, H, W)
        targets = torch.from_numpy(chunk.targets).to(device, non_blocking=True)
        weights = torch.from_numpy(chunk.weights).to(device, non_blocking=True)
        mixed = targets
        if recipe.mixing.is_on:
            clips, mixed = mix(clips, targets, chunk.samples.start, recipe.seed, recipe.mixing)
        for layer in dropouts:
            layer.samples = chunk.samples
        logits = forward(clips).float()
        if recipe.multi_label:
            smoothed = mixed * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
            losses = binary_cross_entropy_with_logits(logits, smoothed, reduction="none").mean(dim=1)
        else:
            losses = cross_entropy(logits, mixed, reduction="none", label_smoothing=recipe.label_smoothing)
        # Not a product: what a sample without pixels gives may not even be a number.
        losses = torch.where(weights > 0, losses, torch.zeros_like(losses))
        is_right = (logits.argmax(dim=1) == targets.argmax(dim=1)) & (weights > 0)
        return losses, int(is_right.sum())

    def _update(self) -> bool:
        """Move the weights, unless the gradient is not a number."""
        norm = gradient_norm(self._network)
        if not torch.isfinite(norm):
            return False
        if self._recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._network.parameters(), self._recipe.clip_norm, norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self._network)
        return True

    def _autocast_forward(self, clips: Tensor) -> Tensor:
        with self._autocast():
            logits: Tensor = self._forward(clips)
        return logits

    def _autocast(self) -> AbstractContextManager[Any]:
        is_on = self._recipe.precision == "bf16"
        return torch.autocast(self._worker.device.type, torch.bfloat16, enabled=is_on)

    def _apart(self) -> AbstractContextManager[Any]:
        if isinstance(self._forward, DistributedDataParallel):
            return cast(AbstractContextManager[Any], self._forward.no_sync())
        return nullcontext()


@contextmanager
def _compiler_failures() -> Iterator[None]:
    """Raise an error in plain words where the network cannot be compiled."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise CompileError(
            f"the network cannot be compiled here: {first_line(error)[:300]}",
            "train with --compile off into another --out: the run directory continues with its own settings only",
        ) from error


def _no_numbers(losses: Tensor) -> tuple[int, ...]:
    return tuple(losses.isfinite().logical_not().nonzero().flatten().tolist())


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _chunks(batch: Batch, accumulation_steps: int) -> Iterator[Batch]:
    size = len(batch.samples) // accumulation_steps
    for start in range(0, len(batch.samples), size):
        part = slice(start, start + size)
        yield Batch(batch.samples[part], batch.pixels[part], batch.targets[part], batch.weights[part])


def _to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    return [_to_cpu(item) for item in value] if isinstance(value, list | tuple) else value
