"""Which decoded frames can be trusted.

libav conceals damage: it flags the frame in which it noticed an error, and gives out the frames that were predicted
from it as if nothing had happened. In go the packets and frames of one stream as they pass, out come the same frames,
each with a verdict. Damage spreads from where it is noticed to the next keyframe::

    decoding order       I0  P4  B2  B1  B3  P8  B6 ...  I12     P4 is flagged when it comes out
    presentation order   I0  B1  B2  B3  P4  B6  P8 ...  I12
    verdict              ok  -   -   -   -   -   -       ok      B1 to B3 were predicted from P4, and come before it

So a frame is held back until all frames that were decoded before it have come out: they lie within the decoder's own
delay. Times are in any unit that grows with presentation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MAX_HELD = 64
"""More frames are never held back, whatever the times say: four times the longest delay of any decoder."""


@dataclass
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


class FrameJudge:
    """Judges the frames of a run of decoding, which starts at a keyframe or at the beginning of a file.

    Args:
        by_order: Whether times are counts of packets and of frames, so that a packet and its own frame may differ.
    """

    def __init__(self, *, by_order: bool = False) -> None:
        self._by_order = by_order
        self._held: deque[tuple[JudgedFrame, int]] = deque()  # with the time up to which frames must have come out
        self._last_fed: int | None = None  # the latest presentation time of all packets so far
        self._in_decoder: set[int] = set()  # times of the packets whose frames have not come out
        self._spared: frozenset[int] = frozenset()  # times of frames that were in the decoder before the damage
        self._keyframes: deque[int] = deque()  # times of those fed, from the last that came out on
        self._damaged_at: int | None = None
        self._recovers_at: int | None = None

    @property
    def is_clear(self) -> bool:
        """Whether no damage is known that a keyframe has not ended yet."""
        return self._damaged_at is None

    def feed(self, time: int, *, is_keyframe: bool) -> None:
        """Note a packet that goes into the decoder."""
        self._last_fed = time if self._last_fed is None else max(self._last_fed, time)
        self._in_decoder.add(time)
        if is_keyframe:
            self._keyframes.append(time)
            if self._damaged_at is not None and self._recovers_at is None and time > self._damaged_at:
                self._recovers_at = time

    def note_damage(self, time: int | None = None) -> None:
        """Note that the packet of this time is damaged, or was refused; None stands for what follows the last one."""
        if self.is_clear and not self._by_order:
            self._spared = frozenset(self._in_decoder - {time})
        if time is None:
            time = self._last_fed if self._last_fed is not None else -(2**63)
        self._spread_from(time)

    def add(self, frame: Any, time: int, *, is_damaged: bool) -> Iterator[JudgedFrame]:
        """Take a frame that came out of the decoder, and yield those that can be judged now."""
        while self._held and (self._held[0][1] < time or len(self._held) >= _MAX_HELD):
            yield self._held.popleft()[0]
        self._in_decoder = {other for other in self._in_decoder if other > time}
        if is_damaged:
            self._spared = frozenset()
            self._spread_from(time)
            for held, _ in self._held:
                held.is_sound = held.is_gap_sound = False
        is_gap_sound = self.is_clear
        if self._recovers_at is not None and time >= self._recovers_at:
            self._damaged_at = self._recovers_at = None
        while len(self._keyframes) > 1 and self._keyframes[0] < time:
            self._keyframes.popleft()
        judged = JudgedFrame(frame, time, self.is_clear or time in self._spared, is_gap_sound)
        self._held.append((judged, time if self._last_fed is None else self._last_fed))
        while self._held and self._held[0][1] <= time:
            yield self._held.popleft()[0]

    def finish(self) -> Iterator[JudgedFrame]:
        """Yield the frames still held back when no more will come."""
        while self._held:
            yield self._held.popleft()[0]

    def _spread_from(self, time: int) -> None:
        self._damaged_at = time if self._damaged_at is None else max(time, self._damaged_at)
        self._recovers_at = min((keyframe for keyframe in self._keyframes if keyframe > self._damaged_at), default=None)
