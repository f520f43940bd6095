"""The same work as `vidcnn infer` does, as one writes it with other tools in an afternoon: one program for each peer.

Each decodes every video of a folder with PyAV, takes clips of 16 frames at some 15 frames/s, and classifies them with
torchvision's network and preset. ``naive`` is a script; ``ray`` is plain Ray Data, with an actor for the model that has
as many threads as there are processors; ``daft`` is Daft, with a class for all of it in a process for each processor.
In bf16 they use autocast.

    python benchmarks/peers.py {naive,ray,daft} FOLDER [--model r3d_18] [--precision fp32] [--seconds 30]

Prints the clips/s from the first result on, and those of the whole run, its start included.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

CLIP_FRAMES = 16
FRAMES_PER_SECOND = 15
BATCH_SIZE = 4


def read_clips(path: str) -> Iterator[Any]:
    """Yield the clips of a video: uint8 (T, H, W, 3) each."""
    import av
    import numpy as np

    with av.open(path) as container:
        stream = container.streams.video[0]
        step = max(1, round(float(stream.average_rate or FRAMES_PER_SECOND) / FRAMES_PER_SECOND))
        kept: list[Any] = []
        for index, frame in enumerate(container.decode(stream)):
            if index % step == 0:
                kept.append(frame.to_ndarray(format="rgb24"))
            if len(kept) == CLIP_FRAMES:
                yield np.stack(kept)
                kept = []


class Network:
    """torchvision's network and preset."""

    def __init__(self, model: str, precision: str, num_threads: int) -> None:
        import torch
        from torchvision.models import get_model, get_model_weights

        torch.set_num_threads(num_threads)
        self.network = get_model(model, weights=None).eval()
        self.preset = next(iter(get_model_weights(model))).transforms()
        self.autocast = precision == "bf16"

    def prepare(self, clip: Any) -> Any:
        """Return float32 (C, T, h, w) of a clip's pixels."""
        import torch

        return self.preset(torch.from_numpy(clip).permute(0, 3, 1, 2))

    def classify(self, clips: Any) -> Any:
        """Return float32 (N, num_classes) of float32 (N, C, T, h, w)."""
        import torch

        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            return self.network(clips).softmax(1).float().numpy()


def naive(videos: list[str], model: str, precision: str) -> Iterator[int]:
    network = Network(model, precision, len(os.sched_getaffinity(0)))
    for path in videos:
        for clip in read_clips(path):
            network.classify(network.prepare(clip)[None])
            yield 1


def ray(videos: list[str], model: str, precision: str) -> Iterator[int]:
    import numpy as np
    import ray as library
    import ray.data
    import torch

    num_cpus = len(os.sched_getaffinity(0))

    def decode(row: dict[str, Any]) -> Any:
        preset = preset_of(model)
        for clip in read_clips(row["item"]):
            yield {"clip": preset(torch.from_numpy(clip).permute(0, 3, 1, 2)).numpy()}

    class Classify:
        def __init__(self) -> None:
            self.network = Network(model, precision, num_cpus)  # decoding needs little of them

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            clips = torch.from_numpy(np.stack(list(batch["clip"])))
            return {"scores": self.network.classify(clips)}

    library.init(num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_items(videos, override_num_blocks=len(videos)).flat_map(decode)
    scored = dataset.map_batches(Classify, batch_size=BATCH_SIZE, num_cpus=1, concurrency=1)
    for batch in scored.iter_batches(batch_size=None):
        yield len(batch["scores"])


def daft(videos: list[str], model: str, precision: str) -> Iterator[int]:
    import torch

    library = import_module("daft")

    @library.cls(max_concurrency=len(os.sched_getaffinity(0)), use_process=True)
    class Classify:
        def __init__(self) -> None:
            self.network = Network(model, precision, 1)

        @library.method(return_dtype=library.DataType.int64())  # type: ignore[untyped-decorator]
        def scores(self, path: str) -> int:
            clips: list[Any] = []
            count = 0
            for clip in read_clips(path):
                clips.append(self.network.prepare(clip))
                if len(clips) == BATCH_SIZE:
                    count += len(self.network.classify(torch.stack(clips)))
                    clips = []
            if clips:
                count += len(self.network.classify(torch.stack(clips)))
            return count

    classify = Classify()
    frame = library.from_pydict({"path": videos}).into_batches(1)
    for row in frame.with_column("count", classify.scores(library.col("path"))).iter_rows():
        yield row["count"]


def preset_of(model: str) -> Any:
    from torchvision.models import get_model_weights

    return next(iter(get_model_weights(model))).transforms()


PEERS = {"naive": naive, "ray": ray, "daft": daft}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many seconds of results")
    arguments = parser.parse_args()
    videos = sorted(str(path) for path in arguments.folder.rglob("*") if path.is_file())
    began = time.monotonic()
    results: list[tuple[float, int]] = []
    for count in PEERS[arguments.peer](videos, arguments.model, arguments.precision):
        results.append((time.monotonic(), count))
        if results[-1][0] - results[0][0] > arguments.seconds:
            break
    total = sum(count for _, count in results)
    steady = sum(count for _, count in results[1:]) / (results[-1][0] - results[0][0])
    print(f"{steady:.3f} {total / (results[-1][0] - began):.3f}", flush=True)
    os._exit(0)  # whatever still works for results that nobody takes


if __name__ == "__main__":
    main()
