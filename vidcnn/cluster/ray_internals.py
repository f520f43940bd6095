"""All that vidcnn uses of Ray without a promise from Ray that it stays.

Each use is a function here, and each has a test (tests/cluster/test_ray_internals.py) that fails when Ray changes it.
Where a use only saves time or memory, its absence changes nothing else.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vidcnn.logins import hide_logins
from vidcnn.safe_text import one_line

_IDLE_CALLBACKS = ("DatasetsCallback", "PlacementGroupCleanerCallback")
"""Clips do not come from Ray Data here, and what workers reserve is free again when their job has ended."""

_REACHABLE = "ENABLE_RAY_CLUSTER"
"""Whether Ray may be reached from other machines; by default so on Linux, and not on others."""


def keep_no_block_statistics() -> bool:
    """Let Ray Data keep no statistics of blocks, which nobody reads: more than a kilobyte for each there ever was.

    Returns:
        Whether this version of Ray has the hook.
    """
    from ray.data._internal.execution.operators import map_operator

    if not hasattr(map_operator, "to_stats"):
        return False
    map_operator.to_stats = lambda metadata: []
    return True


def keep_queues_short(context: Any, num_blocks: int) -> bool:
    """Let the tasks of a dataset begin, and hand on what they made, only while few blocks wait for the next stage.

    Of itself Ray Data looks at the bytes of blocks only, and plans of millions of videos are few bytes.

    Args:
        context: The `ray.data.DataContext` of the dataset.
        num_blocks: How many may wait.

    Returns:
        Whether this version of Ray has the hook.
    """
    try:
        from ray.data._internal.execution import backpressure_policy as policies
        from ray.data._internal.execution.streaming_executor_state import OpState

        key, usual = policies.ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, policies.ENABLED_BACKPRESSURE_POLICIES
        policy = _short_queues(policies.BackpressurePolicy, num_blocks)
    except (ImportError, AttributeError):
        return False
    if not hasattr(OpState, "total_enqueued_input_blocks"):
        return False
    context.set_config(key, [*usual, policy])
    return True


def _short_queues(policy: type[Any], num_blocks: int) -> type[Any]:
    class ShortQueues(policy):  # type: ignore[misc]
        def can_add_input(self, op: Any) -> bool:
            return not self._is_behind(op)

        def max_task_output_bytes_to_read(self, op: Any) -> int | None:
            return 0 if self._is_behind(op) else None

        def _is_behind(self, op: Any) -> bool:
            following = (self._topology[one] for one in op.output_dependencies if one in self._topology)
            return any(state.total_enqueued_input_blocks() >= num_blocks for state in following)

    return ShortQueues


@contextmanager
def internals_put_back(context: Any) -> Iterator[None]:
    """Put back at the end what `keep_no_block_statistics` and `keep_queues_short` change of this process.

    Args:
        context: The `ray.data.DataContext` that they are given.
    """
    from ray.data._internal.execution import backpressure_policy as policies
    from ray.data._internal.execution.operators import map_operator

    operators: Any = map_operator
    to_stats = getattr(operators, "to_stats", None)
    key = getattr(policies, "ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY", None)
    enabled = key and context.get_config(key)
    try:
        yield
    finally:
        if to_stats is not None:
            operators.to_stats = to_stats
        if enabled:
            context.set_config(key, enabled)
        elif key:
            context.remove_config(key)


@contextmanager
def blocks_of(dataset: Any) -> Iterator[Iterable[Any]]:
    """Give the blocks of a `ray.data.Dataset` as Arrow tables, as they are finished.

    Of itself Ray Data leaves a thread in this process for each dataset of which nothing is fetched ahead.
    """
    iterator = dataset.iterator()
    make = getattr(iterator, "_create_batch_iterator", None)
    made: list[Any] = []

    def make_and_note(*arguments: Any, **options: Any) -> Any:
        assert make is not None
        made.append(make(*arguments, **options))
        return made[-1]

    if make is not None:
        iterator._create_batch_iterator = make_and_note
    try:
        yield iterator.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    finally:
        for batches in made:
            with suppress(AttributeError):  # a version that fetches in another way
                batches._prefetcher.stop()


def without_idle_callbacks(trainer: type[Any]) -> type[Any]:
    """Return a trainer of Ray Train without those of its processes that have nothing to do here.

    Each of them takes seconds to start: on few processors, a run begins a tenth sooner. Nothing else changes.

    Args:
        trainer: A `ray.train` trainer class; it is returned as it is if it has no hook for this.
    """
    if not hasattr(trainer, "_create_default_callbacks"):
        return trainer

    class Trainer(trainer):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            callbacks: list[Any] = super()._create_default_callbacks()
            return [callback for callback in callbacks if type(callback).__name__ not in _IDLE_CALLBACKS]

    return Trainer


def resources_to_come() -> dict[str, float]:
    """Return the most that the autoscaler of this cluster may bring it to, by Ray's names; empty without one."""
    from ray._private.state import state

    return dict(state.get_max_resources_from_cluster_config() or {})


def cpus_of_groups() -> list[float]:
    """Return the processors of a machine of each group that the autoscaler of this cluster may start."""
    from ray._private.state import state

    config = state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return [group.resources.get("CPU", 0.0) for group in groups if group.max_count]


def cluster_status() -> Any:
    """Return the state of the cluster that this process is connected to: machines, and what waits for a place.

    Returns:
        A `ray.autoscaler.v2.schema.ClusterStatus`.
    """
    from ray.autoscaler.v2.sdk import get_cluster_status

    return get_cluster_status(head_address())


def session_folder() -> str:
    """Return the folder in which the Ray that this process belongs to keeps its files on this machine."""
    from ray._private import worker

    node: Any = worker._global_node
    return str(node.get_session_dir_path())


def head_address() -> str:
    """Return the address of the head of the cluster that this process is connected to."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def read_store(address: str, key: bytes) -> bytes | None:
    """Return a value in the store of a head; None if it is not there.

    Args:
        address: Address of the head (its GCS).
        key: The key, in the namespace in which the job server leaves what is sent to it.
    """
    content: bytes | None = _client(address).internal_kv_get(key, None)
    return content


def remove_from_store(address: str, key: bytes) -> None:
    """Remove a value from the store of a head; see `read_store`."""
    _client(address).internal_kv_del(key, False, None)


def ask_job_server(client: Any, method: str, path: str, content: bytes | None = None) -> Any:
    """Send a request to a job server with the token of its client, and return the `requests.Response`.

    Args:
        client: A `ray.job_submission.JobSubmissionClient`.
        method: ``GET`` or ``PUT``.
        path: Path of the URL.
        content: The body of a PUT.
    """
    return client._do_request(method, path, data=content)


def reads_token_again() -> bool:
    """Let Ray read from the environment again whether it is to use a token, and which: it keeps what it found first.

    Returns:
        Whether it now does as the environment says.
    """
    raylet: Any = importlib.import_module("ray._raylet")
    if not hasattr(raylet, "get_authentication_mode"):
        return True  # a version that knows no tokens
    with suppress(AttributeError):
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
    uses_token = raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN
    return bool(uses_token == (os.environ.get("RAY_AUTH_MODE", "").lower() == "token"))


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let all servers of a Ray that is started in the block listen on loopback only.

    Of itself Ray takes the address by which others reach this machine, even where it is given ``127.0.0.1``.
    """
    constants: Any = importlib.import_module("ray._private.ray_constants")
    is_reachable = getattr(constants, _REACHABLE, None)
    setattr(constants, _REACHABLE, False)
    try:
        yield
    finally:
        if is_reachable is None:
            delattr(constants, _REACHABLE)
        else:
            setattr(constants, _REACHABLE, is_reachable)


@contextmanager
def written_command() -> Iterator[None]:
    """Let a Ray that is started or joined in the block note this process's command so that it can be written down.

    Of itself Ray does not start where an argument is the name of a file that is not UTF-8, and notes logins, too.
    """
    utils: Any = importlib.import_module("ray._private.utils")
    usual = getattr(utils, "get_entrypoint_name", None)
    if usual is None:
        yield
        return
    utils.get_entrypoint_name = lambda: one_line(hide_logins(usual()))
    try:
        yield
    finally:
        utils.get_entrypoint_name = usual


def same_search_path() -> Any:
    """Return the `ray.job_config.JobConfig` of a driver whose workers find the modules that it finds itself.

    Of itself Ray lets them look into the current folder first, where a file may be called random.py or numpy.py.
    """
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _SearchPath()
    return config


class _SearchPath(list[str]):
    """Folders for workers, of which only those are taken that this process searches."""

    def extend(self, folders: Iterable[str]) -> None:
        searched = {os.path.abspath(folder) for folder in sys.path if isinstance(folder, str)}
        super().extend(folder for folder in folders if os.path.abspath(folder) in searched)


def _client(address: str) -> Any:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    return GcsClient(address=address)
