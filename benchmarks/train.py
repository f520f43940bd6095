"""How near `vidcnn train` comes to what the machine can do, and how it stands beside a plain DDP script.

Measures, in one run, on one set of videos, with the same network, batch and number of workers:

- the ceiling: the training step alone, on clips in memory;
- the whole command, from a quarter of its steps on, validation left out, with decoded frames kept and without;
- a plain script: DistributedDataParallel, a DataLoader whose workers decode with PyAV, torchvision's transforms.

In steps per second, and in seconds of processors: each step, and all before the first. Those of the command are of the
whole machine, which should do nothing else.

    python benchmarks/train.py --data DIR [--model r3d_18] [--workers 1]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("torch", "torchvision", "ray", "av", "opencv-python-headless", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="class folders, or a table")
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60, help="steps of the command")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for each part measured alone")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all parts; medians are reported")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        {"ceiling": ceiling, "plain": plain}[arguments.part](arguments)
        return
    rounds = []
    for number in range(arguments.rounds):
        figures = measure(arguments)
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)
        rounds.append(figures)
    result = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "model": arguments.model,
        "crop": arguments.crop,
        "batch_size": arguments.batch_size,
        "workers": arguments.workers,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "median": result,
        "rounds": rounds,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Measure every part once, in steps per second."""
    with tempfile.TemporaryDirectory() as scratch:
        uncached = run_command(arguments, Path(scratch, "uncached"), None)
        run_command(arguments, Path(scratch, "filling"), Path(scratch, "cache"))
        cached = run_command(arguments, Path(scratch, "cached"), Path(scratch, "cache"))
    best, network_cpu = run_part("ceiling", arguments)
    script, _ = run_part("plain", arguments)
    return {
        "ceiling": best,
        "command_cached": cached["steady"],
        "command": uncached["steady"],
        "plain": script,
        "cached_to_ceiling": cached["steady"] / best,
        "command_to_ceiling": uncached["steady"] / best,
        "command_to_plain": uncached["steady"] / script,
        "waiting_cached": cached["waiting"],
        "waiting": uncached["waiting"],
        "seconds_to_first_step": cached["first"],
        "cpu_seconds_per_step_ceiling": network_cpu,
        "cpu_seconds_per_step_cached": cached["cpu_per_step"],
        "cpu_seconds_per_step": uncached["cpu_per_step"],
        "cpu_seconds_to_first_step": uncached["cpu_first"],
    }


def run_command(arguments: argparse.Namespace, run: Path, cache: Path | None) -> dict[str, float]:
    """Run the whole command as a user does."""
    line = [sys.executable, "-m", "vidcnn", "train", "--quiet", "--json", *options(arguments, run)]
    line += ["--cache-dir", str(cache)] if cache else ["--cache-gb", "0"]
    began, busy_before = time.time(), busy_seconds()
    seen = watch_notes(line, run / "metrics.jsonl")
    notes = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    notes = [{**note, **seen[index]} for index, note in enumerate(notes) if note["kind"] == "train"]
    num_steps = notes[-1]["step"]
    steady = [
        note for note in notes if num_steps / 4 <= note["step"] <= num_steps * 0.9
    ]  # at the end, nothing is loaded
    first, last = steady[0], steady[-1]
    seconds = last["seconds"] - first["seconds"]
    waited = last["waiting"] * last["seconds"] - first["waiting"] * first["seconds"]
    per_step = seconds / (last["step"] - first["step"])
    cpu_per_step = (last["busy"] - first["busy"]) / (last["step"] - first["step"])
    return {
        "cpu_per_step": cpu_per_step,
        "cpu_first": notes[0]["busy"] - busy_before - (notes[0]["step"] - 1) * cpu_per_step,
        "steady": 1 / per_step,
        "waiting": waited / seconds,
        "first": notes[0]["written"] - began - (notes[0]["step"] - 1) * per_step,
    }


def watch_notes(line: list[str], metrics: Path) -> list[dict[str, float]]:
    """Run a command, and return when each line of a file was written, and how long the processors had been busy."""
    seen: list[dict[str, float]] = []
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=said, text=True) as process,
    ):
        while process.poll() is None:
            num_notes = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            seen += [{"written": time.time(), "busy": busy_seconds()}] * (num_notes - len(seen))
            time.sleep(0.02)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"the command failed: {said.read()}")
    num_notes = metrics.read_bytes().count(b"\n")
    return seen + [{"written": time.time(), "busy": busy_seconds()}] * (num_notes - len(seen))


def busy_seconds() -> float:
    """Return how long the processors of the machine have been busy, all together, since it started."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
    ticks = dict(zip(names, map(int, Path("/proc/stat").read_text().split()[1:8]), strict=True))
    return (sum(ticks.values()) - ticks["idle"] - ticks["iowait"]) / os.sysconf("SC_CLK_TCK")


def options(arguments: argparse.Namespace, run: Path) -> list[str]:
    """Return the options of a run of the wanted number of steps without validation."""
    from vidcnn.annotations import SplitSettings, read_annotations

    num_videos = len(read_annotations(arguments.data, splits=SplitSettings(val_fraction=0)).splits["train"])
    epochs = -(-arguments.steps * arguments.batch_size // num_videos)
    given = {
        "data": arguments.data, "out": run, "model": arguments.model, "weights": "random", "crop": arguments.crop,
        "batch-size": arguments.batch_size, "workers": arguments.workers, "epochs": epochs, "val-fraction": 0,
        "flip": "off", "checkpoint-seconds": 3600,
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in given.items()]


def run_part(part: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Measure a part in a process of its own: steps per second, and seconds of processors for a step."""
    given = {
        "data": arguments.data, "model": arguments.model, "crop": arguments.crop, "batch-size": arguments.batch_size,
        "workers": arguments.workers, "seconds": arguments.seconds, "part": part,
    }  # fmt: skip
    line = [sys.executable, __file__, *(f"--{name}={value}" for name, value in given.items())]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{part}: {done.stderr}")
    rate, cpu = done.stdout.split()[-2:]
    return float(rate), float(cpu)


def ceiling(arguments: argparse.Namespace) -> None:
    """Print the steps per second of the training step alone, on clips in memory."""
    in_workers(_ceiling, arguments)


def plain(arguments: argparse.Namespace) -> None:
    """Print the steps per second of a script as one writes it in an afternoon."""
    in_workers(_plain, arguments)


def in_workers(run: Callable[..., None], arguments: argparse.Namespace) -> None:
    """Run something in as many connected processes as there are workers."""
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        torch.multiprocessing.spawn(  # type: ignore[attr-defined,no-untyped-call]
            _connected, (run, arguments, str(Path(scratch, "rendezvous"))), nprocs=arguments.workers
        )


def _connected(rank: int, run: Callable[..., None], arguments: argparse.Namespace, rendezvous: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // arguments.workers))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=f"file://{rendezvous}", rank=rank, world_size=arguments.workers)
    run(rank, arguments)
    dist.destroy_process_group()


def _ceiling(rank: int, arguments: argparse.Namespace) -> None:
    import torch

    from vidcnn.config import TrainSpec
    from vidcnn.inference.devices import fastest_precision
    from vidcnn.training.batch import Batch, Worker
    from vidcnn.training.data import read_data
    from vidcnn.training.loop import Trainer
    from vidcnn.training.plan import plan_training

    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    spec = TrainSpec(
        data=arguments.data, out="unused", model=arguments.model, weights="random", crop=str(arguments.crop),
        batch_size=arguments.batch_size, val_fraction=0, flip="off",
    )  # fmt: skip
    plan = plan_training(
        spec, read_data(spec), Path("unused"), num_workers=arguments.workers, precision=fastest_precision(device)
    )
    worker = Worker(rank, arguments.workers, device)
    trainer = Trainer(plan.bundle, plan.recipe, worker)
    samples = worker.share(0, spec.batch_size)
    clips = np.random.default_rng(rank).integers(
        0, 256, (len(samples), plan.bundle.sampling.num_frames, *plan.bundle.preprocessing.crop, 3), np.uint8
    )
    targets = np.eye(len(plan.data.labels), dtype=np.float32)[[n % len(plan.data.labels) for n in samples]]
    batch = Batch(samples, clips, targets, np.ones(len(samples), np.float32))
    report_rate(rank, lambda: trainer.train_step(batch), arguments.seconds)


def _plain(rank: int, arguments: argparse.Namespace) -> None:
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler
    from torchvision.transforms import v2

    from vidcnn.annotations import SplitSettings, read_annotations
    from vidcnn.models.build import build_network
    from vidcnn.models.registry import architecture

    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    found = read_annotations(arguments.data, splits=SplitSettings(val_fraction=0))
    entry = architecture(arguments.model)
    scale = arguments.crop / entry.preprocessing.crop[0]
    resize = [round(side * scale) for side in entry.preprocessing.resize]  # type: ignore[union-attr]
    transform = v2.Compose(
        [
            v2.Resize(resize, antialias=False),
            v2.RandomCrop(arguments.crop),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(entry.preprocessing.mean, entry.preprocessing.std),
        ]
    )
    samples = [(sample.video.location, sample.labels[0]) for sample in found.splits["train"]]
    dataset: Any = PlainVideos(samples, entry.sampling.num_frames, transform)
    share = arguments.batch_size // arguments.workers
    sampler: Any = DistributedSampler(dataset, arguments.workers, rank, drop_last=True)
    num_loaders = max(1, len(os.sched_getaffinity(0)) // arguments.workers)
    loader: DataLoader[Any] = DataLoader(
        dataset, share, sampler=sampler, num_workers=num_loaders, persistent_workers=True, drop_last=True
    )
    network = DistributedDataParallel(build_network(entry, len(found.labels), device="cpu").train().to(device))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-4)

    def batches() -> Iterator[Any]:
        epoch = 0
        while True:
            sampler.set_epoch(epoch)
            yield from loader
            epoch += 1

    supply = batches()

    def step() -> None:
        clips, labels = next(supply)
        with torch.autocast(device.type, torch.bfloat16):
            loss = cross_entropy(network(clips.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    report_rate(rank, step, arguments.seconds)


class PlainVideos:
    """A dataset as in any tutorial: decode from the beginning, keep every so many frames."""

    def __init__(self, samples: list[tuple[str, int]], num_frames: int, transform: Any) -> None:
        self._samples = samples
        self._num_frames = num_frames
        self._transform = transform

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import av
        import torch

        path, label = self._samples[index]
        with av.open(path) as container:
            stream = container.streams.video[0]
            step = max(1, round(float(stream.average_rate or 15) / 15))
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)][::step]
        start = int(torch.randint(max(1, len(frames) - self._num_frames + 1), (1,)))
        kept = (frames[start : start + self._num_frames] + [frames[-1]] * self._num_frames)[: self._num_frames]
        clip = torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2)  # (T, C, H, W)
        return self._transform(clip).permute(1, 0, 2, 3), label  # (C, T, H, W)


def report_rate(rank: int, step: Callable[[], Any], seconds: float) -> None:
    """Print how often something can be done each second, warmed up, and what processors do for it, in all workers."""
    import torch
    import torch.distributed as dist

    for _ in range(3):
        step()
    # Workers must agree on when to stop: the first one times a few steps, and all do the same number.
    began = time.perf_counter()
    for _ in range(3):
        step()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    num_steps = torch.tensor([max(3, int(seconds / (time.perf_counter() - began) * 3))], device=device)
    dist.broadcast(num_steps, 0)
    began, computed = time.perf_counter(), time.process_time()
    for _ in range(int(num_steps)):
        step()
    seconds = time.perf_counter() - began
    cpu = torch.tensor([time.process_time() - computed], device=device)
    dist.all_reduce(cpu)
    if rank == 0:
        print(int(num_steps) / seconds, float(cpu) / int(num_steps), flush=True)


if __name__ == "__main__":
    main()
