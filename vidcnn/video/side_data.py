"""What comes along with a decoded frame besides its samples.

PyAV has names for the kinds of side data that it was written for, and refuses all data of a frame that has another kind
too, such as Exif data or the views of MV-HEVC. Here kinds without a name are taken as they are.
"""

from __future__ import annotations

from typing import Any

from av.sidedata.sidedata import Type


def display_matrix(frame: Any) -> bytes | None:
    """Return how a frame is to be turned when it is shown, or None where it does not declare that.

    Args:
        frame: A PyAV video frame.

    Returns:
        Nine int32 in the machine's byte order (ISO/IEC 14496-12, 6.2.2).
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return None if matrix is None else bytes(matrix)


def _without_name(kinds: Any, value: int) -> Any:
    """Make a member of the enumeration of kinds for a value that it does not list."""
    kind = object.__new__(kinds)
    kind._name_, kind._value_ = f"KIND_{value}", value
    return kinds._value2member_map_.setdefault(value, kind)


Type._missing_ = classmethod(_without_name)  # type: ignore[assignment]
