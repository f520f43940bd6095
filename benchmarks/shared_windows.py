"""What it would cost to compute the early layers of overlapping clips once: how often the likeliest class changes.

Clips that overlap (`--step` below their length) repeat the work of the early layers. Those layers see little of time,
so they could run once over a long stretch, from which each clip then cuts its part. But a clip by itself has zeros
before its first frame and after its last one, and the stretch has frames there: each convolution in time carries that
difference one frame further in. This program computes both, for every number of stages that could be shared, and prints

- how many of a clip's frames, of those that the shared stages give, are the same in both,
- which share of the network's work would be saved at this step,
- how often both have the same likeliest class, and how far probabilities and logits are apart.

    python benchmarks/shared_windows.py --model BUNDLE --source VIDEOS [--step 4] [--fps 30] [--videos 60] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidcnn.models.build import build_model
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import resolve_model
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.sources import Listing
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.probe import probe_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", help="for a model given by name")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--step", type=int, default=4, help="frames from one clip to the next")
    parser.add_argument("--fps", type=float, help="frames a second; by default those of the model")
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    bundle = resolve_model(arguments.model, weights=arguments.weights)
    network = build_model(bundle).eval()
    stages = stages_of(network)
    stretches = list(read_stretches(bundle, arguments))
    with torch.inference_mode():
        found = [
            compare(network, stages[:number], stretches, bundle, arguments.step) for number in range(1, len(stages))
        ]
    report = {
        "model": bundle.architecture,
        "step": arguments.step,
        "clip_frames": bundle.sampling.num_frames,
        "shared": [one for one in found if one is not None],
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def stages_of(network: nn.Module) -> list[nn.Module]:
    """Return the stages of a network, each of which takes what the one before it gives."""
    if hasattr(network, "stem"):  # torchvision's VideoResNet
        return [getattr(network, name) for name in ("stem", "layer1", "layer2", "layer3", "layer4")]
    features: Any = network.features
    return list(features)


def read_stretches(bundle: Bundle, arguments: argparse.Namespace) -> Iterator[Tensor]:
    """Yield as many frames of each video as there are at least two clips in: float (1, C, T, H, W), normalised."""
    mean, std = (
        torch.tensor(values)[None, :, None, None, None]
        for values in (bundle.preprocessing.mean, bundle.preprocessing.std)
    )
    listed = list(Listing([str(arguments.source)]))
    for video in listed[:: max(1, len(listed) // arguments.videos)]:
        path = video.location
        info = probe_video(path)
        fps = arguments.fps or bundle.sampling.fps or info.frame_rate
        length = min(
            4 * bundle.sampling.num_frames, int(info.duration_seconds * fps) // arguments.step * arguments.step
        )
        if length < bundle.sampling.num_frames + arguments.step:
            continue
        spec = ClipSpec(Sampling(length, fps=fps), num_clips=1)
        for segment in plan_segments(info.times, spec):
            request = DecodeRequest(path, segment, timing=info.timing, preprocessing=bundle.preprocessing)
            for clip in decode_segment(request):
                if clip.pixels is not None:
                    yield (torch.from_numpy(clip.pixels).permute(3, 0, 1, 2)[None] / 255 - mean) / std


def compare(
    network: nn.Module, shared: list[nn.Module], stretches: list[Tensor], bundle: Bundle, step: int
) -> dict[str, Any] | None:
    """Return what sharing some stages changes; None where the step is no multiple of their stride in time."""
    front = nn.Sequential(*shared)
    frames = bundle.sampling.num_frames
    size = bundle.preprocessing.crop
    given = front(torch.zeros(1, 3, frames, *size)).shape[2]
    stride = frames // given
    if step % stride:
        return None
    whole, cut = [], []
    for stretch in stretches:
        features = front(stretch)
        for start in range(0, stretch.shape[2] - frames + 1, step):
            whole.append(network(stretch[:, :, start : start + frames]))
            cut.append(rest_of(network, len(shared), features[:, :, start // stride : start // stride + given]))
    expected, found = torch.cat(whole), torch.cat(cut)
    apart = (expected.softmax(1) - found.softmax(1)).abs()
    return {
        "stages": len(shared),
        "clips": len(expected),
        "frames_unchanged": unchanged(front, frames, given, stride, size),
        "frames_given": given,
        "work_saved": share_of_work(network, front, frames, size) * (1 - step / frames),
        "same_class": float((expected.argmax(1) == found.argmax(1)).float().mean()),
        "mean_probability_apart": float(apart.max(1).values.mean()),
        "logits_apart": float((expected - found).norm() / (expected - expected.mean(1, keepdim=True)).norm()),
    }


def rest_of(network: nn.Module, number: int, features: Tensor) -> Tensor:
    """Run what comes after the first stages."""
    parts = list(stages_of(network)[number:])
    for part in parts:
        features = part(features)
    if hasattr(network, "stem"):
        return network.fc(network.avgpool(features).flatten(1))  # type: ignore[operator, no-any-return]
    head: Any = network
    return head.classifier(head.dropout(head.relu(head.hidden(head.pool(features).flatten(1)))))  # type: ignore[no-any-return]


def unchanged(front: nn.Module, frames: int, given: int, stride: int, size: tuple[int, int]) -> int:
    """Count the frames in the middle of a clip that do not see what is before or after it."""
    torch.manual_seed(0)
    stretch = torch.rand(1, 3, 3 * frames, *size)
    inside = front(stretch[:, :, frames : 2 * frames])
    cut = front(stretch)[:, :, frames // stride : frames // stride + given]
    apart = (inside - cut).abs().amax(dim=(0, 1, 3, 4))
    return int((apart < 1e-4 * inside.abs().max()).sum())


def share_of_work(network: nn.Module, front: nn.Module, frames: int, size: tuple[int, int]) -> float:
    """Return the share of a network's multiply-adds that the first stages have."""
    return multiply_adds(front, frames, size) / multiply_adds(network, frames, size)


def multiply_adds(network: nn.Module, frames: int, size: tuple[int, int]) -> int:
    """Count the multiply-adds of a network's convolutions."""
    total = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        weight = module.get_parameter("weight")
        total += output.numel() * weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.Conv3d)]
    network(torch.zeros(1, 3, frames, *size))
    for hook in hooks:
        hook.remove()
    return total


if __name__ == "__main__":
    main()
