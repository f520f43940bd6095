"""Which decoded frames can be trusted.

libav conceals damage: it flags the frame in which it noticed an error, and gives out the frames that were predicted
from it as if nothing had happened. Takes the packets and frames of one stream as they pass, returns the same frames,
each with a verdict. Damage spreads from where it is noticed to the next keyframe::

    decoding order       I0  P4  B2  B1  B3  P8  B6 ...  I12     P4 is flagged when it is returned
    presentation order   I0  B1  B2  B3  P4  B6  P8 ...  I12
    verdict              ok  -   -   -   -   -   -       ok      B1 to B3 were predicted from P4, and come before it

So a frame is kept back until all that was given to the decoder before it has been returned: it is within the decoder's
own delay. Times are in any unit that grows with presentation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

_MAX_HELD = 64
"""More frames are never kept back, whatever the times are: four times the longest delay of any decoder."""

_MAX_HELD_PIXELS = _MAX_HELD * 3840 * 2160
"""Nor are more pixels, so that large frames do not fill the memory."""


@dataclass(slots=True)
class JudgedFrame:
    """A decoded frame with its verdict.

    Attributes:
        frame: The decoder's frame.
        time: Its presentation time.
        is_sound: Whether neither it nor anything it may have been predicted from is known to be damaged.
        is_gap_sound: Whether nothing was damaged between the frame before it and this one.
    """

    frame: Any
    time: int
    is_sound: bool
    is_gap_sound: bool


class _Origin(NamedTuple):
    """Where a frame is among the packets.

    Attributes:
        number: How many packets had been fed with its own.
        last_needed: The latest presentation time among them.
    """

    number: int
    last_needed: int


class FrameJudge:
    """Judges the frames of a run of decoding, which starts at a keyframe or at the beginning of a file.

    Args:
        by_order: Whether times are counts of packets and of frames, so that it is not known which packet a frame is
            from. Frames are then taken to be from the last one.
    """

    def __init__(self, *, by_order: bool = False) -> None:
        self._by_order = by_order
        self._last_fed = _Origin(0, -(2**63))
        self._in_decoder: dict[int, _Origin] = {}  # by time: the packets whose frames are not returned yet
        self._held: deque[tuple[JudgedFrame, _Origin, int]] = deque()
        self._held_pixels = 0
        self._keyframes: deque[int] = deque()  # times of those fed, from the last that came out on
        # Damage is in the frames from the packet with this number on, until the keyframe after this time.
        self._damaged_from: int | None = None
        self._damaged_at = -(2**63)
        self._recovers_at: int | None = None

    @property
    def is_clear(self) -> bool:
        """Whether no damage is known that a keyframe has not ended yet."""
        return self._damaged_from is None

    def feed(self, time: int, *, is_keyframe: bool) -> None:
        """Note a packet that is given to the decoder."""
        self._last_fed = _Origin(self._last_fed.number + 1, max(self._last_fed.last_needed, time))
        self._in_decoder[time] = self._last_fed
        if is_keyframe:
            self._keyframes.append(time)
            if not self.is_clear and self._recovers_at is None and time > self._damaged_at:
                self._recovers_at = time

    def note_damage(self, time: int | None = None) -> None:
        """Note that the packet of this time is damaged, or was refused; None is what follows the last one."""
        if time is None:
            self._spread(self._last_fed.number + 1, self._last_fed.last_needed)
        else:
            self._spread(self._origin(time).number, time)

    def add(self, frame: Any, time: int, *, is_damaged: bool, num_pixels: int = 0) -> list[JudgedFrame]:
        """Take a frame that came out of the decoder, and return those that can be judged now.

        Args:
            frame: The frame.
            time: Its presentation time.
            is_damaged: Whether the decoder says so.
            num_pixels: Its size, for the memory that it takes while it is kept back.
        """
        held, ready = self._held, []
        while held and (held[0][1].last_needed < time or self._holds_most):
            ready.append(self._let_go())
        origin = self._origin(time)
        if is_damaged:
            self._spread(0 if self._by_order else origin.number, time)
        is_gap_sound = self.is_clear
        if self._recovers_at is not None and time >= self._recovers_at:
            self._damaged_from = self._recovers_at = None
        is_sound = self._damaged_from is None or origin.number < self._damaged_from
        held.append((JudgedFrame(frame, time, is_sound, is_gap_sound), origin, num_pixels))
        self._held_pixels += num_pixels
        self._in_decoder.pop(time, None)
        if self._in_decoder and min(self._in_decoder) < time:  # of a packet that gave no frame
            self._in_decoder = {other: where for other, where in self._in_decoder.items() if other > time}
        while len(self._keyframes) > 1 and self._keyframes[0] < time:
            self._keyframes.popleft()
        while held and held[0][1].last_needed <= time:
            ready.append(self._let_go())
        return ready

    def finish(self) -> list[JudgedFrame]:
        """Return the frames still kept back when no more will come."""
        rest = [judged for judged, *_ in self._held]
        self._held.clear()
        self._held_pixels = 0
        return rest

    @property
    def _holds_most(self) -> bool:
        return len(self._held) >= _MAX_HELD or self._held_pixels >= _MAX_HELD_PIXELS

    def _let_go(self) -> JudgedFrame:
        judged, _, num_pixels = self._held.popleft()
        self._held_pixels -= num_pixels
        return judged

    def _origin(self, time: int) -> _Origin:
        return self._last_fed if self._by_order else self._in_decoder.get(time, self._last_fed)

    def _spread(self, number: int, time: int) -> None:
        """Let damage spread from a packet."""
        if self._damaged_from is None:
            self._damaged_from, self._damaged_at = number, time
        else:
            self._damaged_from, self._damaged_at = min(self._damaged_from, number), max(self._damaged_at, time)
        self._recovers_at = min((keyframe for keyframe in self._keyframes if keyframe > self._damaged_at), default=None)
        for held, origin, _ in self._held:
            if origin.number >= number:
                held.is_sound = held.is_gap_sound = False
