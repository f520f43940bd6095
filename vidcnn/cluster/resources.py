"""How the stages of a pipeline share what a cluster offers: counts in, counts out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from vidcnn.errors import UsageError

_ACTOR_BYTES = 1_200_000_000
"""What a model actor on processors takes: torch itself, and a network of the zoo."""
_LEAST_ACTOR_BYTES = 500_000_000
"""What it takes at the least: torch itself."""
_LEAST_DECODER_BYTES = 200_000_000
"""What a decoding task takes at the least: a process of Ray's, and its child that decodes."""
_MAX_CPU_ACTORS = 16
"""On a machine; beyond this, actors get more threads instead."""
_PLANNERS_PER_CPU = 1 / 8
_LEAST_PLANNERS = 4
"""They wait for disks. A process costs about as much as planning a thousand videos, so there are not many more."""
_PLANNERS_SHARE = 0.05
"""Of the processors, for all planners together: what they reserve is not there for decoders, as Ray Data counts."""
_MIN_CLIPS_PER_ACTOR = 32
"""While a further actor starts, which takes seconds of a processor, those that run do about this many clips."""


@dataclass(frozen=True)
class Machine:
    """What a cluster offers, all nodes together.

    Attributes:
        num_cpus, num_gpus: Processors and GPUs of all nodes.
        memory_bytes: Memory for tasks, without the object store.
        node_cpus: Processors of one machine, the smallest that has any; None where there is one machine only.
    """

    num_cpus: float
    num_gpus: float
    memory_bytes: float
    node_cpus: float | None = None

    @property
    def num_nodes(self) -> int:
        """Machines, if all were like the smallest."""
        return 1 if self.node_cpus is None else max(1, int(self.num_cpus / self.node_cpus))


@dataclass(frozen=True)
class ResourcePlan:
    """How a pipeline's stages share a cluster.

    Attributes:
        min_actors: Model actors to start with.
        max_actors: Model actors at most.
        actor_cpus: Processors that each actor reserves.
        actor_gpus: GPUs that each actor reserves.
        actor_threads: Threads that each actor computes with; None leaves it to the GPU's host.
        num_decoders: Decoding tasks that run at once.
        decoder_cpus: Processors that each decoding task reserves.
        decoder_memory_bytes: Memory that each decoding task reserves.
        num_planners: Planning tasks that run at once, at most.
        planner_cpus: Processors that each planning task reserves.
        decoders_yield: Whether decoders run at low priority, since the model needs the same processors.
    """

    min_actors: int
    max_actors: int
    actor_cpus: float
    actor_gpus: float
    actor_threads: int | None
    num_decoders: int
    decoder_cpus: float
    decoder_memory_bytes: int
    num_planners: int
    planner_cpus: float
    decoders_yield: bool


def plan_resources(
    machine: Machine,
    *,
    use_gpus: bool,
    actors: tuple[int, int] | None = None,
    num_decoders: int | None = None,
    num_clips: int | None = None,
    actors_option: str = "--actors",
) -> ResourcePlan:
    """Decide how the stages of a pipeline share a cluster.

    With GPUs, each actor has one, and the processors decode. Without, both stages need the same processors, and which
    of them needs more is not known before the run. So as many decoders as processors may run, at low priority, beside
    actors that use all of them: the operating system then gives the model all it can use, and the decoders the rest.
    Actors of one thread each do not wait for each other, as the threads of one actor do whenever one is interrupted:
    that makes them faster together, so there are as many as memory allows. What each reserves fits on any machine. When
    a machine is lost, its actors begin again on the others, before any task of theirs gets a processor: so all actors
    reserve half of what is left then, and not all of it.

    Args:
        machine: What the cluster offers.
        use_gpus: Whether the model runs on GPUs.
        actors: Smallest and largest number of actors, if the user wants any.
        num_decoders: Number of decoders, if the user wants any.
        num_clips: Clips of the whole run, as far as that is known.
        actors_option: The option for the number of actors.

    Raises:
        UsageError: GPUs are wanted and there are none, or more than there are; the actors or the decoders do not fit
            into the memory.
    """
    cpus = max(1.0, machine.num_cpus)
    num_planners = max(_LEAST_PLANNERS, ceil(_PLANNERS_PER_CPU * cpus))
    if actors is not None and not use_gpus:
        _check_memory(machine, actors[1], _LEAST_ACTOR_BYTES, "copies of the model", actors_option)
    if num_decoders is not None:
        _check_memory(machine, num_decoders, _LEAST_DECODER_BYTES, "decoders", "--decoders")
    if use_gpus:
        available = int(machine.num_gpus)
        low, high = actors or (1, _worthwhile_actors(available, num_clips))
        if high > available:
            raise UsageError(
                f"{high} model actors on GPUs do not fit on {available} GPUs", "lower --actors, or use --device cpu"
            )
        reserved = min(1.0, cpus / (2 * high))  # for each actor
        decoders = num_decoders or max(1, int(cpus - high * reserved))
        decoder_cpus = min(1.0, 0.9 * (cpus - high * reserved) / decoders)
        threads = None
    else:
        low, high = actors or (2 * (_worthwhile_actors(_cpu_actors(machine), num_clips),))
        node_cpus = min(cpus, machine.node_cpus or cpus)  # what is reserved at once must fit on a machine
        reserved = min(cpus / high, node_cpus) / 2
        if machine.num_nodes > 1:
            reserved *= 1 - 1 / machine.num_nodes
        decoders = num_decoders or max(1, int(cpus))
        decoder_cpus = 0.4 * min(cpus / decoders, node_cpus)
        threads = max(1, int(min(cpus // high, node_cpus)))
    return ResourcePlan(
        min_actors=low,
        max_actors=high,
        actor_cpus=reserved,
        actor_gpus=1.0 if use_gpus else 0.0,
        actor_threads=threads,
        num_decoders=decoders,
        decoder_cpus=decoder_cpus,
        decoder_memory_bytes=int(min(512 * 2**20, 0.3 * machine.memory_bytes / decoders)),
        num_planners=num_planners,
        planner_cpus=_PLANNERS_SHARE * cpus / num_planners,
        decoders_yield=not use_gpus,
    )


def _check_memory(machine: Machine, number: int, least_bytes: int, what: str, option: str) -> None:
    """Refuse more processes than there is memory for, which would end them and others."""
    most = max(1, int(machine.memory_bytes / least_bytes))
    if number > most:
        raise UsageError(
            f"{number:,} {what} do not fit into the {machine.memory_bytes / 2**30:.1f} GiB of memory there are: each "
            f"takes {least_bytes / 2**30:.1f} GiB or more",
            f"{option} {most} is the most that could",
        )


def _cpu_actors(machine: Machine) -> int:
    """Return how many model actors use the processors best."""
    in_memory = int(0.5 * machine.memory_bytes / _ACTOR_BYTES)
    return max(1, min(int(machine.num_cpus), in_memory, _MAX_CPU_ACTORS * machine.num_nodes))


def _worthwhile_actors(num_actors: int, num_clips: int | None) -> int:
    """Return how many of some model actors find enough to do."""
    return num_actors if num_clips is None else max(1, min(num_actors, -(-num_clips // _MIN_CLIPS_PER_ACTOR)))
