from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from vidcnn.sources.seen import Seen


@given(st.lists(st.text(max_size=3) | st.just("caf\udce9"), max_size=50))
def test_a_text_is_new_once(texts: list[str]) -> None:
    seen, known = Seen(), set()
    for text in texts:
        assert (text in seen) is (text in known)
        assert seen.add(text) is (text not in known)
        known.add(text)
        assert text in seen
    assert len(seen) == len(known)


def test_very_many_take_some_20_bytes_each() -> None:
    tracemalloc.start()
    seen = Seen()
    assert all(seen.add(f"/archive/camera-{number // 1000}/clip_{number}.mp4") for number in range(150_000))
    size_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40 * 150_000, (size_bytes, peak_bytes)
    assert len(seen) == 150_000
    assert not any(seen.add(f"/archive/camera-{number // 1000}/clip_{number}.mp4") for number in range(0, 150_000, 7))
    assert not any(f"/archive/{number}.mp4" in seen for number in range(10_000))
