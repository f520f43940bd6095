"""What limited a run: from seconds measured in its stages to a verdict in words and figures.

Pure arithmetic over a frozen snapshot. The stages measure themselves (`StageTimes`) and send what they measured along
with the rows; `Meter` adds it up where the rows arrive.

A stage that is idle waits for another one. So the model's idle share shows whether anything but the model limits a run,
and what decoders did meanwhile shows what: they computed, they waited for reads, or they waited for the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vidcnn.video.stopwatch import StageTimes

BottleneckKind = Literal["model", "decode", "source", "plan", "start", "mixed"]

_BUSY = 0.85
"""A model that is busy for this share of the time limits the run: the rest is spent on handing over."""
_DECODERS_BUSY = 0.6
"""Decoders, of which there are as many as processors, share these with everything else that a run does."""
_READING = 0.5
"""Share of their time from which decoders, or planners, count as waiting for reads."""
_PLANNERS_BUSY = 0.6
"""Planners that work for this share of the time are what idle decoders wait for."""
_MIN_STEADY_SECONDS = 5.0
"""A shorter time does not show how fast a long run would be."""


@dataclass(frozen=True)
class RunFigures:
    """What a run measured.

    Attributes:
        elapsed_seconds: Wall time of the whole run.
        starting_seconds: Wall time before the work on its first rows.
        steady_seconds: Wall time from then to its last rows.
        times: What its stages measured, all together.
        num_planners: Planners that could run at once.
        num_decoders: Decoders that could run at once.
        uses_gpus: Whether the model runs on GPUs, so that processors are for decoders alone.
    """

    elapsed_seconds: float
    starting_seconds: float
    steady_seconds: float
    times: StageTimes
    num_planners: int
    num_decoders: int
    uses_gpus: bool


@dataclass(frozen=True)
class Bottleneck:
    """What limited a run.

    Attributes:
        kind: What it was: the `model`, what it takes to `decode`, the `source`'s reads, to `plan`, which is to find out
            what videos contain, the `start`, or `mixed`, where none of these was busy all the time.
        text: A line for people.
        model_idle: Share of the time that the model's processes waited, in [0, 1].
        decoders_idle: Share of the time that decoders, all together, had nothing to do, in [0, 1].
        more_cpus: About how many more processors would keep the GPUs busy; None where that is not the question.
    """

    kind: BottleneckKind
    text: str
    model_idle: float
    decoders_idle: float
    more_cpus: int | None = None


class Meter:
    """Adds up what stages measured, as rows arrive.

    Args:
        now: Clock in seconds.

    Attributes:
        times: The sum.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.times = StageTimes()
        self._now = now
        self._began = now()
        self._first: float | None = None
        self._last = self._began

    def add(self, times: StageTimes) -> None:
        """Take what was measured of rows that have just arrived."""
        self._last = self._now()
        if self._first is None:  # the work on the first rows is no part of the start
            work = times.plan_seconds + times.decode_seconds + times.model_seconds
            self._first = max(self._began, self._last - work)
        self.times = self.times.plus(times)

    def figures(
        self, *, elapsed_seconds: float, num_planners: int, num_decoders: int, uses_gpus: bool
    ) -> RunFigures | None:
        """Return what was measured; None where no rows have arrived.

        Args:
            elapsed_seconds: Wall time of the whole run until now, which may have begun before this meter.
            num_planners: As in `RunFigures`.
            num_decoders: As in `RunFigures`.
            uses_gpus: As in `RunFigures`.
        """
        if self._first is None:
            return None
        since_first = self._now() - self._first
        return RunFigures(
            elapsed_seconds=elapsed_seconds,
            starting_seconds=elapsed_seconds - since_first,
            steady_seconds=self._last - self._first,
            times=self.times,
            num_planners=num_planners,
            num_decoders=num_decoders,
            uses_gpus=uses_gpus,
        )


def find_bottleneck(figures: RunFigures) -> Bottleneck | None:
    """Find what limited a run.

    Returns:
        None where the figures do not show it: the run was too short, or computed nothing.
    """
    times = figures.times
    model_time = times.model_seconds + times.model_wait_seconds
    if times.model_seconds <= 0 or model_time <= 0:
        return None
    model_idle = times.model_wait_seconds / model_time
    decode_capacity = figures.num_decoders * figures.steady_seconds
    decoders_idle = max(0.0, 1 - times.decode_seconds / decode_capacity) if decode_capacity > 0 else 0.0
    if figures.starting_seconds > figures.elapsed_seconds / 2:
        text = (
            f"{figures.starting_seconds:.0f} of {figures.elapsed_seconds:.0f} s were spent on starting; "
            "a longer run is faster per clip"
        )
        return Bottleneck("start", f"start-bound: {text}", model_idle, decoders_idle)
    if figures.steady_seconds < _MIN_STEADY_SECONDS:
        return None
    who = "GPUs" if figures.uses_gpus else "the model"
    was = "were" if figures.uses_gpus else "was"
    if model_idle <= 1 - _BUSY:
        text = f"model-bound: {who} {was} busy {1 - model_idle:.0%} of the time; decoders waited {decoders_idle:.0%}"
        return Bottleneck("model", text, model_idle, decoders_idle)
    idle = f"{who} idle {model_idle:.0%}"
    if decoders_idle > 1 - _DECODERS_BUSY:
        return _of_idle_decoders(figures, idle, model_idle, decoders_idle)
    reading = _reading_share(times)
    if reading >= _READING:
        text = f"source-bound: decoders waited for reads {reading:.0%} of their time; {idle}"
        return Bottleneck("source", text, model_idle, decoders_idle)
    if not figures.uses_gpus:
        text = f"decode-bound: {idle}; decoding had the processors; more of them make it faster"
        return Bottleneck("decode", text, model_idle, decoders_idle)
    more = more_cpus(times, figures.steady_seconds, figures.num_decoders)
    noun = "CPU" if more == 1 else "CPUs"
    text = f"decode-bound: {idle}; about {more:,} more {noun} would fill them"
    return Bottleneck("decode", text, model_idle, decoders_idle, more)


def _of_idle_decoders(figures: RunFigures, idle: str, model_idle: float, decoders_idle: float) -> Bottleneck:
    """Return what decoders waited for, when it was not the model."""
    times = figures.times
    idle = f"{idle}, decoders idle {decoders_idle:.0%}"
    if times.plan_seconds < _PLANNERS_BUSY * figures.num_planners * figures.steady_seconds:
        text = f"mixed: {idle}; more videos at once would use them better"
        return Bottleneck("mixed", text, model_idle, decoders_idle)
    reading = times.plan_read_seconds / times.plan_seconds
    if reading >= _READING:
        text = f"source-bound: planning waited for reads {reading:.0%} of its time; {idle}"
        return Bottleneck("source", text, model_idle, decoders_idle)
    text = f"plan-bound: to find out what videos contain took all the time; {idle}"
    return Bottleneck("plan", text, model_idle, decoders_idle)


def more_cpus(times: StageTimes, steady_seconds: float, num_decoders: int) -> int:
    """Return how many more processors would decode as fast as the model computes, at least 1.

    Decoders that were busy on D processors on average kept the model busy for a share b of the time, so D / b keep it
    busy for all of it.

    Args:
        times: What was measured.
        steady_seconds: Wall time in which.
        num_decoders: Decoders that could run at once.
    """
    decoding = min(float(num_decoders), times.decode_seconds / steady_seconds)
    return max(1, math.ceil(decoding * times.model_wait_seconds / times.model_seconds))


def _reading_share(times: StageTimes) -> float:
    """Return the share of the decoders' time in which they neither computed nor waited for a processor."""
    if times.decode_seconds <= 0:
        return 0.0
    reading = times.decode_seconds - times.decode_cpu_seconds - times.decode_queue_seconds
    return max(0.0, reading / times.decode_seconds)
