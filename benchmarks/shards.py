"""How a billion videos are shared out: a simulation of drivers that work beside each other, from what was measured.

    python benchmarks/shards.py measure --out benchmarks/results/shards-2cpu.json     a few minutes
    python benchmarks/shards.py simulate benchmarks/results/shards-2cpu.json [--videos 1000000000] [--machines 500]

`measure` takes the costs that are the driver's own, in seconds of a processor, so that a busy machine changes little:
listing, looking up what is done, opening an output, committing rows, and what Ray Data takes for each video. Opening,
decoding and classifying videos is stubbed. `simulate` adds what it prints as assumed: how many clips a machine does,
and how often machines and drivers die. Each driver has a shard of the source, an output and machines of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment
from plan import CLIPS_PER_VIDEO, make_source, memory_mb, run_part

NUM_LISTED = 100_000
NUM_HELD = 40_000
NUM_INDEXED = 4_000_000
NUM_COMMITTED = 4_000
RUNS = (250, 1_000)
STEP_SECONDS = 60.0
DAY = 86_400.0


@dataclass(frozen=True)
class Costs:
    """What was measured; seconds are those of a processor of the driver.

    Attributes:
        list_seconds: To list a video, look up whether it is done, and keep it.
        lookup_seconds: To look up one that is done.
        open_seconds: To read one that is done when the output is opened.
        open_bytes: Memory of the driver for one that is done.
        commit_seconds: To commit the rows of a video.
        table_bytes: Size of the rows of a video in the output, with the record that it is done.
        spool_bytes: Disk of the driver for a video that is listed.
        run_seconds: Of Ray Data and the driver for a video that is run, with committing its rows. It is an upper bound:
            the driver looks for news while it waits, too.
        driver_bytes: Memory of a driver without all that.
    """

    list_seconds: float
    lookup_seconds: float
    open_seconds: float
    open_bytes: float
    commit_seconds: float
    table_bytes: float
    spool_bytes: float
    run_seconds: float
    driver_bytes: float


@dataclass(frozen=True)
class Assumed:
    """What was not measured.

    Attributes:
        videos: Videos of the source.
        clips_per_video: Clips of each.
        machines: Machines, all drivers together.
        clips_per_second: Clips that a machine does in a second, where nothing else limits it.
        machine_days, driver_days: After how many days a machine and a driver die, on average.
        replace_seconds: Until a machine is replaced.
        restart_seconds: Until a driver's process and its Ray are there again.
        commit_seconds: Between two commits: what a driver's death loses of finished work.
    """

    videos: int = 1_000_000_000
    clips_per_video: int = 10
    machines: int = 500
    clips_per_second: float = 400.0
    machine_days: float = 10.0
    driver_days: float = 10.0
    replace_seconds: float = 300.0
    restart_seconds: float = 30.0
    commit_seconds: float = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--out", type=Path, required=True)
    simulating = commands.add_parser("simulate")
    simulating.add_argument("measured", type=Path)
    simulating.add_argument("--drivers", default="1,4,16,64,256")
    for name, value in asdict(Assumed()).items():
        simulating.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    if arguments.command == "measure":
        arguments.out.write_text(json.dumps(measure(), indent=2) + "\n")
        print(arguments.out.read_text())
        return
    costs = Costs(**json.loads(arguments.measured.read_text())["costs"])
    assumed = Assumed(**{name: getattr(arguments, name) for name in asdict(Assumed())})
    print("assumed:", ", ".join(f"{name} {value:,}" for name, value in asdict(assumed).items()))
    for num_drivers in map(int, arguments.drivers.split(",")):
        found = simulate(costs, assumed, num_drivers)
        print(f"{num_drivers:4} drivers: " + ", ".join(f"{name} {value:,.3g}" for name, value in found.items()))


def simulate(costs: Costs, assumed: Assumed, num_drivers: int, seed: int = 0) -> dict[str, float]:
    """Let one driver of many do its shard, minute by minute.

    Returns:
        How many days it takes; which share of the machines' time is used; how busy the driver's processor is, on
        average; its memory and its disk at the end; how long its last start took until it had listed what is done; what
        was done twice, as a share of all; and, of all drivers together, requests to list object storage, and the size
        of all outputs.
    """
    chance = random.Random(seed)
    videos, machines = assumed.videos / num_drivers, assumed.machines / num_drivers
    full_rate = machines * assumed.clips_per_second / assumed.clips_per_video  # videos in a second
    each = costs.run_seconds
    seconds = busy = done = listed = twice = down_until = begun = 0.0
    lacking = 0.0  # machines that are being replaced
    while done < videos:
        seconds += STEP_SECONDS
        lacking += sum(chance.random() < machines / 100 * STEP_SECONDS / DAY / assumed.machine_days for _ in range(100))
        lacking -= min(lacking, lacking * STEP_SECONDS / assumed.replace_seconds)
        if chance.random() < STEP_SECONDS / DAY / assumed.driver_days:
            lost = min(done, full_rate * assumed.commit_seconds)
            done, twice, listed = done - lost, twice + lost, 0.0
            begun = assumed.restart_seconds + done * (costs.open_seconds + costs.lookup_seconds + costs.list_seconds)
            down_until = seconds + begun
            listed = done
        if seconds < down_until:
            busy += STEP_SECONDS
            continue
        # Work comes first: the driver lists with what is left of its processor, but at half of it at the start.
        could = max(0.0, 1 - lacking / machines) * full_rate * STEP_SECONDS
        for_work = STEP_SECONDS if listed >= videos else STEP_SECONDS / 2
        doing = min(could, for_work / each, max(0.0, min(videos, listed + 1) - done))
        listing = min(videos - listed, (STEP_SECONDS - doing * each) / costs.list_seconds)
        done, listed = done + doing, listed + listing
        busy += doing * each + listing * costs.list_seconds
    return {
        "days": seconds / DAY,
        "machines_used": videos / (full_rate * seconds),
        "driver_busy": busy / seconds,
        "driver_gb": (costs.driver_bytes + videos * costs.open_bytes) / 1e9,
        "driver_disk_gb": videos * costs.spool_bytes / 1e9,
        "minutes_to_restart": begun / 60,
        "done_twice": twice / videos,
        "list_requests": assumed.videos / 1000,
        "table_gb": assumed.videos * costs.table_bytes / 1e9,
    }


def measure() -> dict[str, Any]:
    """Measure the costs on this machine."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        listing = measure_listing(scratch)
        holding = measure_output(scratch)
        runs = [run_part("run", make_source("tree", scratch / f"run_{number}", number), number) for number in RUNS]
    slope = (runs[1]["driver_cpu_seconds"] - runs[0]["driver_cpu_seconds"]) / (RUNS[1] - RUNS[0])
    costs = Costs(**listing, **holding, run_seconds=slope, driver_bytes=runs[0]["driver_mb"] * 2**20)
    return {
        **environment(("ray", "pyarrow", "numpy")),
        "stubbed": "opening, decoding and classifying videos",
        "clips_per_video": CLIPS_PER_VIDEO,
        "costs": asdict(costs),
    }


def measure_listing(scratch: Path) -> dict[str, float]:
    """List files, as a run does."""
    from vidcnn.pipelines.pending import list_pending
    from vidcnn.predictions.output import Output
    from vidcnn.sources import Listing

    source = make_source("tree", scratch / "listed", NUM_LISTED)
    schema = a_schema()
    with Output.open(str(scratch / "none"), schema=schema, settings={}) as output:
        began = time.process_time()
        with list_pending(Listing([str(source)]), output, None, 0.0) as pending:
            pending.wait()
            seconds = time.process_time() - began
            size_bytes = pending.videos.path.stat().st_size
    return {"list_seconds": seconds / NUM_LISTED, "spool_bytes": size_bytes / NUM_LISTED}


def measure_output(scratch: Path) -> dict[str, float]:
    """Commit rows, and open an output in which they are committed."""
    from vidcnn.predictions.output import Output
    from vidcnn.sources.keys import SegmentKey

    schema, out = a_schema(), str(scratch / "held")
    committing = 0.0
    with Output.open(out, schema=schema, settings={}) as output:
        for number in range(1, NUM_HELD + 1):
            segment, table = SegmentKey(a_key(number), 0, 1), a_table(schema, number)
            began = time.process_time()
            output.add(segment, table)
            if number % NUM_COMMITTED == 0:
                output.commit()
            committing += time.process_time() - began
    size_bytes = sum(path.stat().st_size for path in Path(out).glob("*.parquet"))
    began = time.process_time()
    with Output.open(out, schema=schema, settings={}) as output:
        opened = time.process_time()
        assert all(output.is_done(a_key(number)) for number in range(1, NUM_HELD + 1))
        looked_up = time.process_time()
    return {
        "commit_seconds": committing / NUM_HELD,
        "table_bytes": size_bytes / NUM_HELD,
        "open_seconds": (opened - began) / NUM_HELD,
        "lookup_seconds": (looked_up - opened) / NUM_HELD,
        "open_bytes": index_bytes(NUM_INDEXED),
    }


def index_bytes(number: int) -> float:
    """Return the memory that a video takes that is done."""
    from vidcnn.predictions import index

    before = memory_mb()["own"]
    keys = np.random.default_rng(0).integers(0, 2**63, number, dtype=np.uint64)
    columns = tuple(np.ones(number, type_) for type_ in index._TYPES)
    held = [index.Held("part", keys, columns)]
    del keys, columns
    kept, _ = index.Index.of(held, lambda *_: {})
    assert len(kept) == number
    return (memory_mb()["own"] - before) * 2**20 / number


def a_schema() -> Any:
    from vidcnn.predictions.rows import prediction_schema

    return prediction_schema(num_classes_for_probabilities=None, embedding_size=None)


def a_key(number: int) -> Any:
    from vidcnn.sources.keys import VideoKey

    name = f"camera-{number // 100_000:04}/2026-01-{number // 4000 % 25 + 1:02}/clip_{number:08}.mp4"
    return VideoKey(name, 10**6 + number * 7919 % 10**6, 1_700_000_000_000_000_000 + number * 7_919_000_007)


def a_table(schema: Any, number: int) -> Any:
    from vidcnn.predictions import prediction_rows

    clips = np.arange(CLIPS_PER_VIDEO)
    return prediction_rows(
        schema,
        a_key(number).name,
        clips=clips,
        start_seconds=clips * 1.0,
        end_seconds=clips + 1.0,
        labels=["one", "two"],
        top_indices=np.random.default_rng(number).integers(0, 2, (len(clips), 1)),
        top_scores=np.random.default_rng(number).random((len(clips), 1), np.float32),
    )


if __name__ == "__main__":
    main()
