"""The network, the copies, and the `Classifier` that puts them together.

Letters: N clips, T frames, H height, W width, C = 3 channels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from on_device.report import Figures, LeftOutError
from vidcnn.inference.batch_sizes import default_batch_size
from vidcnn.inference.classifier import Classifier
from vidcnn.inference.devices import ieee_float32
from vidcnn.inference.lanes import lanes_of
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.bundle import Bundle

Network = Callable[[Tensor], tuple[Tensor, Tensor]]


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(work: Callable[[], int], device: torch.device, seconds: float) -> float:
    """Return how much `work` does per second; the device has done all of it when the clock is read."""
    for _ in range(2):
        work()
    wait_for(device)
    repeats = 4 if device.type == "cuda" else 1
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        done += sum(work() for _ in range(repeats))
        wait_for(device)
    return done / (time.perf_counter() - began)


def in_turns(ways: dict[str, Callable[[], int]], device: torch.device, seconds: float) -> Figures:
    """Measure ways of doing the same in turns, each for some seconds, and return the median of each."""
    rounds = 3 if seconds > 1 else 1
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            measured[name].append(rate(way, device, seconds / rounds))
    return {name: median(values) for name, values in measured.items()}


def random_clips(bundle: Bundle, num_clips: int, seed: int = 0) -> Any:
    """Return noise, uint8 (N, T, H, W, C)."""
    shape = (num_clips, bundle.sampling.num_frames, *bundle.preprocessing.crop, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def copies(bundle: Bundle, device: torch.device, seconds: float) -> Figures:
    """Copies alone, in clips/s: into locked memory, from there to the device, and straight from ordinary memory."""
    batch_size = default_batch_size(bundle, str(device))
    clips = random_clips(bundle, batch_size)
    ordinary = torch.from_numpy(clips)
    buffer = lanes_of(device).buffer(tuple(clips.shape))
    target = torch.empty_like(ordinary, device=device)

    def fill() -> int:
        buffer.host.numpy()[:] = clips
        return batch_size

    def upload(source: Tensor) -> int:
        target.copy_(source, non_blocking=True)
        return batch_size

    ways = {
        "into_locked_memory": fill,
        "from_locked_memory": lambda: upload(buffer.host),
        "from_ordinary_memory": lambda: upload(ordinary),
    }
    figures = in_turns(ways, device, seconds / len(ways))
    figures["gigabytes_per_second"] = {name: figures[name] * clips[0].nbytes / 1e9 for name in ways}
    figures["is_locked"] = device.type == "cuda" and buffer.host.is_pinned()
    return figures


def batch_sizes(bundle: Bundle, device: torch.device, seconds: float, sizes: tuple[int, ...]) -> Figures:
    """The network alone on batches that are on the device, in clips/s by batch size and precision."""
    chosen = default_batch_size(bundle, str(device))
    figures: Figures = {"chosen": chosen}
    for precision in ("bf16", "fp32"):
        network = InferenceNetwork(bundle, precision, device)
        rates = {}
        for size in sizes if precision == "bf16" else (chosen,):
            try:
                with torch.inference_mode():
                    batch = torch.from_numpy(random_clips(bundle, size)).to(device)
                    rates[size] = rate(_counter(network, batch), device, seconds)
            except torch.OutOfMemoryError:
                figures["no_memory_from"] = size
                break
        figures[precision] = rates
    rates = figures["bf16"]
    figures["best_size"] = max(rates, key=rates.__getitem__)
    if chosen in rates:
        figures["chosen_to_best"] = rates[chosen] / max(rates.values())
    return figures


def variants(bundle: Bundle, device: torch.device, seconds: float) -> Figures:
    """Ways to run the network in bfloat16, in clips/s, and how far each is from float32 as it is published."""
    size = default_batch_size(bundle, str(device))
    batch = torch.from_numpy(random_clips(bundle, size)).to(device)
    eager = InferenceNetwork(bundle, "bf16", device)
    networks: dict[str, Network] = {"eager": eager}
    contiguous = InferenceNetwork(bundle, "bf16", device)
    contiguous.backbone.to(memory_format=torch.contiguous_format)
    networks["contiguous"] = contiguous
    figures: Figures = {}
    with torch.inference_mode():
        expected = _exact(bundle, device, batch)
        few = batch[:2].cpu()
        figures["exact_drift_from_cpu"] = drift(expected[:2].cpu(), _exact(bundle, torch.device("cpu"), few))
        ways = {name: _counter(network, batch) for name, network in networks.items()}
        ways["normalisation_alone"] = lambda: len(eager.normalise(batch))
        figures["clips_per_second"] = in_turns(ways, device, seconds)
        figures["drift"] = {name: drift(network(batch)[0], expected) for name, network in networks.items()}
        if device.type == "cuda":
            figures |= _searched(eager, batch, device, seconds, expected)
    return figures


def _searched(eager: Network, batch: Tensor, device: torch.device, seconds: float, expected: Tensor) -> Figures:
    """The same where cuDNN tries its kernels: what that would give, though each process may then take another."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        speed = rate(_counter(eager, batch), device, seconds / 3)
        return {"searched_kernels": speed, "searched_kernels_drift": drift(eager(batch)[0], expected)}
    finally:
        torch.backends.cudnn.benchmark = before


def compiled(bundle: Bundle, device: torch.device, seconds: float, mode: str | None) -> Figures:
    """The network compiled, as `--compile on` does it on a GPU or in another mode, beside the eager one."""
    if device.type != "cuda":
        raise LeftOutError("networks of the processor are compiled ahead of time")
    size = default_batch_size(bundle, str(device))
    batch = torch.from_numpy(random_clips(bundle, size)).to(device)
    eager = InferenceNetwork(bundle, "bf16", device)
    network: Network = torch.compile(eager, dynamic=False, mode=mode)
    with torch.inference_mode():
        began = time.perf_counter()
        network(batch)
        wait_for(device)
        compiling_seconds = time.perf_counter() - began
        expected = _exact(bundle, device, batch)
        figures = in_turns({"eager": _counter(eager, batch), "compiled": _counter(network, batch)}, device, seconds)
        figures |= {"compiled_to_eager": figures["compiled"] / figures["eager"], "compiling": compiling_seconds}
        return figures | {"drift": drift(network(batch)[0], expected)}


def graph(bundle: Bundle, device: torch.device, seconds: float) -> Figures:
    """The network launched as one graph, beside the same launched kernel by kernel."""
    if device.type != "cuda":
        raise LeftOutError("only a GPU has graphs")
    batch = torch.from_numpy(random_clips(bundle, default_batch_size(bundle, str(device)))).to(device)
    eager = InferenceNetwork(bundle, "bf16", device)
    with torch.inference_mode():
        expected = eager(batch)[0].clone()
        network = captured(eager, batch)
        figures = in_turns({"eager": _counter(eager, batch), "graph": _counter(network, batch)}, device, seconds)
        figures["graph_to_eager"] = figures["graph"] / figures["eager"]
        figures["same_bits"] = bool(torch.equal(network(batch)[0], expected))
    return figures


def captured(network: Network, example: Tensor) -> Network:
    """Return a network that is launched as one graph."""
    batch = example.clone()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            network(batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = network(batch)

    def replay(clips: Tensor) -> tuple[Tensor, Tensor]:
        batch.copy_(clips)
        graph.replay()
        return results

    return replay


def classifier(bundle: Bundle, device: torch.device, seconds: float) -> Figures:
    """Clips in the processor's memory to scores there, in clips/s; and whether scores depend on the clip alone."""
    judge = Classifier(bundle, device=str(device), precision="bf16")
    size = judge.batch_size
    clips = random_clips(bundle, (6 if device.type == "cuda" else 2) * size)
    on_device = torch.from_numpy(clips).to(device)
    network = InferenceNetwork(bundle, "bf16", device)

    def one_after_the_other() -> int:
        with torch.inference_mode():
            for start in range(0, len(clips), size):
                network(torch.from_numpy(clips[start : start + size]).to(device))[0].softmax(1).cpu()
        return len(clips)

    def in_calls_of(num_clips: int) -> int:
        for start in range(0, len(clips), num_clips):
            judge.predict(clips[start : start + num_clips])
        return len(clips)

    ways = {
        "many_batches": lambda: len(judge.predict(clips).probabilities),
        "two_batches_a_call": lambda: in_calls_of(2 * size),  # as decoders hand them over
        "a_batch_a_call": lambda: in_calls_of(size),
        "clips_on_the_device": lambda: len(judge.predict(on_device).probabilities),
        "copy_then_compute": one_after_the_other,
        "network_alone": lambda: sum(
            _count_inferring(network, on_device[start : start + size]) for start in range(0, len(clips), size)
        ),
    }
    figures = in_turns(ways, device, seconds)
    figures["batch_size"] = size
    figures["to_network_alone"] = {
        name: figures[name] / figures["network_alone"] for name in ways if name != "network_alone"
    }
    scores = judge.logits(clips)
    order = np.random.default_rng(1).permutation(len(clips))[: size + 1]
    figures["scores_depend_on_the_clip_alone"] = bool(torch.equal(judge.logits(clips[order]), scores[order]))
    return figures


def drift(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of logits, as a share of how far these are spread."""
    return float((found.float() - expected).abs().max() / expected.std().clamp(min=1e-9))


def _exact(bundle: Bundle, device: torch.device, batch: Tensor) -> Tensor:
    with ieee_float32():
        return InferenceNetwork(bundle, "exact", device)(batch)[0]  # type: ignore[no-any-return]


def _counter(network: Network, batch: Tensor) -> Callable[[], int]:
    return lambda: _count(network, batch)


def _count(network: Network, batch: Tensor) -> int:
    network(batch)
    return len(batch)


def _count_inferring(network: Network, batch: Tensor) -> int:
    with torch.inference_mode():
        return _count(network, batch)
