"""How much memory the driver and a decoder take while one long video is classified.

Makes a long video by repeating a short one without encoding it anew, runs the whole command on it, and samples the
memory of every process that it starts. Shared pages are divided among those that map them (proportional set size).

    python benchmarks/memory.py --video FILE [--hours 2] [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import psutil

CELL = "vidcnn.video.cell_worker"
"""In the command line of a process that decodes for a task."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="a short video, which is repeated")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to watch; the command is ended then")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        long = repeat_video(arguments.video, Path(scratch, "long.mp4"), arguments.hours * 3600)
        print(f"{long.stat().st_size / 1e6:.0f} MB, {arguments.hours:g} h")
        line = [
            sys.executable,
            "-m",
            "vidcnn",
            "infer",
            str(long),
            "--in-process=off",
            "--out",
            str(Path(scratch, "preds")),
        ]
        line += ["--model", arguments.model, "--weights", "random", "--quiet", "--compile", "off"]
        command = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        peaks = watch(command, arguments.seconds)
        command.send_signal(signal.SIGINT)
        command.wait()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hours": arguments.hours,
        "model": arguments.model,
        "driver_mb": peaks["driver"],
        "driver_and_decoder_mb": peaks["driver and decoder"],
        "all_processes_mb": peaks["total"],
        "by_process_mb": {name: size for name, size in sorted(peaks.items()) if re.search(r"\d$", name)},
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def repeat_video(source: Path, target: Path, seconds: float) -> Path:
    """Write a video again and again into one file, packet by packet."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream = container.streams.video[0]
        copy: Any = output.add_stream_from_template(stream)
        packets: list[Any] = [packet for packet in container.demux(stream) if packet.size]
        length: int = max(packet.pts + packet.duration for packet in packets) - min(packet.pts for packet in packets)
        times = [(packet.pts, packet.dts) for packet in packets]
        for turn in range(int(Fraction(seconds) / (length * Fraction(stream.time_base or 0))) + 1):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.stream = copy
                output.mux(packet)
    return target


def watch(command: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """Return the largest memory of each process, and of some together at any one moment, in MB."""
    peaks: dict[str, float] = {}
    driver = psutil.Process(command.pid)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and command.poll() is None:
        sizes: dict[str, float] = {}
        for process in [driver, *driver.children(recursive=True)]:
            try:
                size = process.memory_full_info().pss / 1e6
                line = process.cmdline() or [process.name()]
                title = "Decode in a cell" if CELL in line else "driver" if process.pid == driver.pid else line[0]
            except psutil.Error:
                continue
            sizes[title if title == "driver" else f"{title.split('/')[-1][:40]} {process.pid}"] = size
        tasks = [size for name, size in sizes.items() if "DecodeStage" in name]
        cells = [size for name, size in sizes.items() if "Decode in a cell" in name]
        decoder = max(tasks, default=0.0) + max(cells, default=0.0)
        sizes |= {"driver and decoder": sizes.get("driver", 0.0) + decoder, "total": sum(sizes.values())}
        for name, size in sizes.items():
            peaks[name] = max(peaks.get(name, 0.0), round(size, 1))
        time.sleep(0.5)
    return peaks


if __name__ == "__main__":
    main()
