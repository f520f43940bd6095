from __future__ import annotations

import heapq
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vidcnn.reporting.bottleneck import Bottleneck, Meter, RunFigures, find_bottleneck
from vidcnn.video.stopwatch import StageTimes

GPU_RUN = RunFigures(
    elapsed_seconds=120.0,
    starting_seconds=20.0,
    steady_seconds=100.0,
    times=StageTimes(
        decode_seconds=780.0,
        decode_cpu_seconds=760.0,
        decode_queue_seconds=5.0,
        model_seconds=37.0,
        model_wait_seconds=63.0,
    ),
    num_planners=16,
    num_decoders=8,
    uses_gpus=True,
)
"""One GPU and eight decoders, all of which are busy while the GPU is idle for 63 % of the time."""


def bottleneck(figures: RunFigures, **times: float) -> Bottleneck:
    found = find_bottleneck(replace(figures, times=figures.times._replace(**times)))
    assert found is not None
    return found


def test_decoders_that_are_busy_while_gpus_wait_are_too_few() -> None:
    found = bottleneck(GPU_RUN)
    assert found.text == "decode-bound: GPUs idle 63%; about 14 more CPUs would fill them"
    assert (found.kind, found.more_cpus) == ("decode", 14)  # 7.8 busy CPUs fill 37 %, so 21.1 fill all of it
    assert (found.model_idle, found.decoders_idle) == (pytest.approx(0.63), pytest.approx(0.025))


def test_a_busy_model_limits_the_run() -> None:
    found = bottleneck(GPU_RUN, decode_seconds=152.0, decode_cpu_seconds=150.0, model_seconds=97, model_wait_seconds=3)
    assert found.text == "model-bound: GPUs were busy 97% of the time; decoders waited 81%"
    assert found.more_cpus is None
    on_cpus = replace(GPU_RUN, uses_gpus=False)
    found = bottleneck(on_cpus, decode_seconds=152.0, model_seconds=192, model_wait_seconds=8)
    assert found.text == "model-bound: the model was busy 96% of the time; decoders waited 81%"


def test_decoders_that_wait_for_reads_are_told_from_those_that_compute() -> None:
    found = bottleneck(GPU_RUN, decode_cpu_seconds=195.0, decode_queue_seconds=0.0)
    assert found.text == "source-bound: decoders waited for reads 75% of their time; GPUs idle 63%"
    crowded = bottleneck(GPU_RUN, decode_cpu_seconds=195.0, decode_queue_seconds=580.0)
    assert crowded.kind == "decode"  # they waited for processors


def test_processors_that_model_and_decoders_share_are_not_counted_for_one_of_them() -> None:
    found = bottleneck(replace(GPU_RUN, uses_gpus=False))
    assert found.text == "decode-bound: the model idle 63%; decoding had the processors; more of them make it faster"
    assert found.more_cpus is None


def test_nothing_is_blamed_where_all_wait() -> None:
    found = bottleneck(GPU_RUN, decode_seconds=160.0, decode_cpu_seconds=160.0)
    assert found.kind == "mixed"
    assert found.text.startswith("mixed: GPUs idle 63%, decoders idle 80%")


def test_decoders_that_wait_for_plans_are_told_from_those_without_work() -> None:
    idle = {"decode_seconds": 160.0, "decode_cpu_seconds": 160.0}
    found = bottleneck(GPU_RUN, **idle, plan_seconds=1500.0, plan_read_seconds=1350.0)
    assert found.text == "source-bound: planning waited for reads 90% of its time; GPUs idle 63%, decoders idle 80%"
    found = bottleneck(GPU_RUN, **idle, plan_seconds=1500.0, plan_read_seconds=100.0)
    assert found.kind == "plan"
    assert found.text.startswith("plan-bound: to find out what videos contain took all the time; GPUs idle 63%")
    assert bottleneck(GPU_RUN, **idle, plan_seconds=500.0, plan_read_seconds=500.0).kind == "mixed"


def test_a_run_that_mostly_starts_says_so() -> None:
    found = bottleneck(replace(GPU_RUN, elapsed_seconds=31.0, starting_seconds=24.0, steady_seconds=6.0))
    assert found.text == "start-bound: 24 of 31 s were spent on starting; a longer run is faster per clip"


def test_nothing_is_said_of_a_run_that_says_nothing() -> None:
    assert find_bottleneck(replace(GPU_RUN, elapsed_seconds=8.0, starting_seconds=3.9, steady_seconds=4.0)) is None
    assert find_bottleneck(replace(GPU_RUN, times=StageTimes())) is None


seconds = st.floats(0, 1e7)
stage_times = st.builds(StageTimes, *[seconds] * len(StageTimes._fields))


@given(stage_times, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 10_000), st.booleans())
def test_shares_are_shares_whatever_was_measured(
    times: StageTimes, starting: float, steady: float, rest: float, num_decoders: int, uses_gpus: bool
) -> None:
    figures = RunFigures(starting + steady + rest, starting, steady, times, 2 * num_decoders, num_decoders, uses_gpus)
    found = find_bottleneck(figures)
    if found is not None:
        assert 0 <= found.model_idle <= 1
        assert 0 <= found.decoders_idle <= 1
        assert found.text.startswith(f"{found.kind}-bound: " if found.kind != "mixed" else "mixed: ")
        assert found.more_cpus is None or (found.more_cpus >= 1 and uses_gpus)


@given(st.floats(0.05, 0.84), st.integers(1, 500))
def test_the_processors_asked_for_would_fill_the_gpus(busy: float, num_decoders: int) -> None:
    times = StageTimes(100.0 * num_decoders, 100.0 * num_decoders, 0.0, 100 * busy, 100 * (1 - busy))
    found = find_bottleneck(replace(GPU_RUN, times=times, num_decoders=num_decoders))
    assert found is not None
    assume(found.kind == "decode")
    assert found.more_cpus is not None
    filled = busy * (num_decoders + found.more_cpus) / num_decoders  # decoding goes with the processors
    assert filled >= 1 - 1e-9
    assert busy * (num_decoders + found.more_cpus - 1) / num_decoders < 1 + 1e-9 or found.more_cpus == 1


def test_the_meter_counts_from_the_first_rows_to_the_last() -> None:
    clock = iter([0.0, 10.0, 25.0, 30.0])
    meter = Meter(lambda: next(clock))
    meter.add(StageTimes(1, 1, 0, 2, 3, 1))  # the work on the first rows began 4 s before they arrived
    meter.add(StageTimes(1, 0.5, 0.5, 2, 3))
    figures = meter.figures(elapsed_seconds=34.0, num_planners=4, num_decoders=2, uses_gpus=False)
    assert figures is not None
    assert (figures.starting_seconds, figures.steady_seconds) == (10.0, 19.0)
    assert figures.times == StageTimes(2, 1.5, 0.5, 4, 6, 1)


def test_a_run_without_rows_measures_nothing() -> None:
    assert Meter().figures(elapsed_seconds=1.0, num_planners=2, num_decoders=1, uses_gpus=False) is None


def simulate(
    num_decoders: int, *, decode_seconds: list[float], model_seconds: float, reading: float = 0.0
) -> RunFigures:
    """Run a GPU and some decoders on a clock of its own: a decoder begins a batch when there is room for the last one.

    Args:
        num_decoders: Decoders, each with a processor of its own.
        decode_seconds: How long each batch takes to decode.
        model_seconds: How long each takes in the model.
        reading: Share of decoding that is waiting for reads.
    """
    room = 2 * num_decoders
    free = [0.0] * num_decoders  # when each decoder can begin
    ready: list[float] = []  # when each batch is decoded, those that the model has not taken
    taken: list[float] = []  # when the model took each batch
    clock = first = busy = waited = 0.0

    def take() -> None:
        nonlocal clock, first, busy, waited
        arrival = heapq.heappop(ready)
        if taken:
            waited += max(0.0, arrival - clock)
        clock = max(clock, arrival)
        taken.append(clock)
        clock += model_seconds
        first = first or clock
        busy += model_seconds

    for number, seconds in enumerate(decode_seconds):
        while number - len(taken) >= room + num_decoders:
            take()
        begin = heapq.heappop(free)
        if number >= room + num_decoders:
            begin = max(begin, taken[number - room - num_decoders])
        heapq.heappush(free, begin + seconds)
        heapq.heappush(ready, begin + seconds)
    while ready:
        take()
    total = sum(decode_seconds)
    times = StageTimes(total, total * (1 - reading), 0.0, busy, waited)
    return RunFigures(clock, first, clock - first, times, 2 * num_decoders, num_decoders, uses_gpus=True)


workloads = st.tuples(st.integers(1, 12), st.floats(0.05, 20), st.floats(0, 1), st.integers(0, 2**32))


@given(workloads)
def test_a_run_made_to_be_bound_by_one_stage_is_said_to_be_bound_by_it(workload: tuple[int, float, float, int]) -> None:
    num_decoders, share, spread, seed = workload
    generator = random.Random(seed)
    decode = [generator.uniform(1 - spread, 1 + spread) for _ in range(600)]
    model_seconds = share / num_decoders  # at 1, the model is as fast as all decoders together
    found = find_bottleneck(simulate(num_decoders, decode_seconds=decode, model_seconds=model_seconds))
    assert found is not None
    if share > 1.2:
        assert found.kind == "model"
    elif share < 0.7:
        assert found.kind == "decode"
        read = find_bottleneck(simulate(num_decoders, decode_seconds=decode, model_seconds=model_seconds, reading=0.8))
        assert read is not None
        assert read.kind == "source"


@given(workloads)
def test_as_many_more_processors_as_are_said_fill_the_gpus_and_half_of_them_do_not(
    workload: tuple[int, float, float, int],
) -> None:
    num_decoders, share, spread, seed = workload
    assume(share < 0.7)
    generator = random.Random(seed)
    decode = [generator.uniform(1 - spread, 1 + spread) for _ in range(600)]
    model_seconds = share / num_decoders
    found = find_bottleneck(simulate(num_decoders, decode_seconds=decode, model_seconds=model_seconds))
    assert found is not None
    assert found.more_cpus is not None
    more = found.more_cpus
    # Enough batches that each of the processors has some to do.
    decode = [generator.uniform(1 - spread, 1 + spread) for _ in range(40 * (num_decoders + more))]
    with_all = find_bottleneck(simulate(num_decoders + more, decode_seconds=decode, model_seconds=model_seconds))
    assert with_all is not None
    assert with_all.model_idle < 0.15
    if more >= 4:
        half = simulate(num_decoders + more // 2, decode_seconds=decode, model_seconds=model_seconds)
        with_half = find_bottleneck(half)
        assert with_half is not None
        assert with_half.model_idle > 0.1
