"""Which texts were seen before, for very many of them: some 20 bytes each, whatever their length.

What is kept of a text is a digest of 128 bits. Of a billion texts, two have the same digest with a chance of one in
10^21; so none is ever taken for another. Digests are spread over parts by their first byte; a part is a sorted run of
bytes, and a set of those that came since it was sorted::

    digest -> part -> recent set
                   -> run: bucket -> some digests, side by side
"""

from __future__ import annotations

import hashlib
from array import array

_SIZE = 16
_LEAST_RECENT = 64
_RECENT_SHARE = 16
"""A run is sorted anew when it would grow by one in so many."""
_BUCKET_DIGESTS = 8


class Seen:
    """Texts that were seen; they may contain surrogate escapes."""

    def __init__(self) -> None:
        self._parts: dict[int, _Part] = {}

    def add(self, text: str) -> bool:
        """Note a text, and return whether it is new."""
        digest = _digest(text)
        part = self._parts.get(digest[0])
        if part is None:
            part = self._parts[digest[0]] = _Part()
        if digest in part:
            return False
        part.add(digest)
        return True

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        return digest in self._parts.get(digest[0], ())

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))


class _Part:
    """Digests that begin with the same byte."""

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._run = b""
        self._starts = array("I", [0, 0])
        self._shift = 16  # of the second and third byte: which bucket

    def add(self, digest: bytes) -> None:
        self._recent.add(digest)
        if len(self._recent) >= max(_LEAST_RECENT, len(self._run) // _SIZE // _RECENT_SHARE):
            self._sort()

    def __contains__(self, digest: bytes) -> bool:
        if digest in self._recent:
            return True
        bucket = int.from_bytes(digest[1:3], "big") >> self._shift
        return self._run.find(digest, self._starts[bucket], self._starts[bucket + 1]) >= 0

    def __len__(self) -> int:
        return len(self._recent) + len(self._run) // _SIZE

    def _sort(self) -> None:
        import numpy as np  # not for a few videos

        digests = np.frombuffer(b"".join((self._run, *self._recent)), f"V{_SIZE}").view(f"S{_SIZE}")
        self._recent = set()
        digests = np.sort(digests)
        bits = min(16, max(0, (len(digests) // _BUCKET_DIGESTS).bit_length()))
        self._shift = 16 - bits
        seconds = digests.view(np.uint8).reshape(-1, _SIZE)[:, 1:3].copy().view(">u2").ravel()
        places = np.searchsorted(seconds >> self._shift, np.arange((1 << bits) + 1))
        self._starts = array("I", (places * _SIZE).astype(np.uint32).tobytes())
        self._run = digests.tobytes()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=_SIZE).digest()
