"""Telling the death of a process, which its input may have caused, from an exception in it, which is our own fault."""

from __future__ import annotations

from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from vidcnn.errors import VideoError


def decoder_death(error: RayError) -> VideoError | None:
    """Return what is said of a video if the process that decoded it died.

    Args:
        error: What `ray.get` raised for the decoding task, or for a task that takes its result.

    Returns:
        None if no process died.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if not isinstance(cause, WorkerCrashedError | OutOfMemoryError):
        return None
    reason = (str(cause).splitlines() or [type(cause).__name__])[0]
    return VideoError("decoder_crash", f"the process that decoded it died ({reason})")
