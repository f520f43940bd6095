from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.cluster.resources import Machine, plan_resources
from vidcnn.errors import UsageError

GIB = 2**30


@given(st.floats(1, 512), st.one_of(st.none(), st.integers(1, 40)), st.integers(1, 4))
def test_without_a_gpu_all_stages_fit_at_once(num_cpus: float, num_decoders: int | None, num_actors: int) -> None:
    shares = plan_resources(
        Machine(num_cpus, 0, 8 * GIB), use_gpus=False, actors=(1, num_actors), num_decoders=num_decoders
    )
    reserved = shares.max_actors * shares.actor_cpus + shares.num_decoders * shares.decoder_cpus + shares.planner_cpus
    assert reserved <= max(1.0, num_cpus) + 1e-9
    assert shares.num_decoders * shares.decoder_memory_bytes <= 8 * GIB
    assert shares.actor_threads is not None
    assert shares.actor_threads * shares.max_actors >= 1 or num_cpus < num_actors
    assert shares.decoders_yield


@given(st.integers(2, 64), st.integers(1, 64), st.integers(1, 16), st.one_of(st.none(), st.integers(0, 10_000)))
def test_a_machine_that_is_lost_leaves_room_for_the_tasks_beside_all_actors(
    num_nodes: int, node_cpus: int, node_gib: int, num_clips: int | None
) -> None:
    cluster = Machine(num_nodes * node_cpus, 0, num_nodes * node_gib * GIB, node_cpus=node_cpus)
    shares = plan_resources(cluster, use_gpus=False, num_clips=num_clips)
    left = cluster.num_cpus - node_cpus - shares.max_actors * shares.actor_cpus
    assert left >= shares.decoder_cpus + shares.planner_cpus
    assert left >= (cluster.num_cpus - node_cpus) / 2 - 1e-9


def test_each_processor_has_a_model_of_its_own_as_far_as_memory_goes() -> None:
    def actors(num_cpus: float, gigabytes: float) -> tuple[int, int | None]:
        shares = plan_resources(Machine(num_cpus, 0, gigabytes * 1e9), use_gpus=False)
        return shares.max_actors, shares.actor_threads

    assert actors(2, 20) == (2, 1)
    assert actors(2, 2) == (1, 2)
    assert actors(8, 7.2) == (3, 2)
    assert actors(64, 500) == (16, 4)


def test_a_few_clips_need_a_single_actor() -> None:
    def actors(num_clips: int | None, **options: Any) -> tuple[int, int]:
        shares = plan_resources(Machine(8, 0, 100e9), use_gpus=False, num_clips=num_clips, **options)
        return shares.min_actors, shares.max_actors

    assert actors(0) == actors(32) == (1, 1)
    assert actors(33) == (2, 2)
    assert actors(10_000) == actors(None) == (8, 8)
    assert actors(5, actors=(2, 3)) == (2, 3)


@given(st.integers(1, 512), st.integers(1, 16))
def test_with_gpus_each_actor_has_one_and_the_processors_decode(num_cpus: int, num_gpus: int) -> None:
    shares = plan_resources(Machine(num_cpus, num_gpus, 64 * GIB), use_gpus=True)
    assert (shares.actor_gpus, shares.max_actors) == (1.0, num_gpus)
    reserved = shares.max_actors * shares.actor_cpus + shares.num_decoders * shares.decoder_cpus
    assert reserved <= num_cpus + 1e-9
    assert not shares.decoders_yield


def test_more_actors_than_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match="3 model actors on GPUs do not fit on 2 GPUs"):
        plan_resources(Machine(8, 2, GIB), use_gpus=True, actors=(1, 3))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"actors": (1, 1000)},
            "1,000 copies of the model do not fit into the 8.0 GiB",
            "--actors 17 is the most that",
        ),
        ({"actors": (1000, 1000), "actors_option": "--workers"}, "1,000 copies of the model do", "--workers 17 is the"),
        (
            {"num_decoders": 100_000},
            "100,000 decoders do not fit into the 8.0 GiB of memory",
            "--decoders 42 is the most",
        ),
    ],
)
def test_more_processes_than_there_is_memory_for_are_refused(options: Any, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan_resources(Machine(8, 0, 8 * GIB), use_gpus=False, **options)
    assert raised.value.message.startswith(message)
    assert raised.value.hint.startswith(hint)


def test_a_wish_that_is_too_large_for_the_processors_alone_is_taken() -> None:
    shares = plan_resources(Machine(2, 0, 8 * GIB), use_gpus=False, actors=(4, 16), num_decoders=40)
    assert (shares.min_actors, shares.max_actors, shares.num_decoders) == (4, 16, 40)
