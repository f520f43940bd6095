from __future__ import annotations

import os

import pytest

from tests.sandbox.confined import outcome

NO_READING, READING = 0, 1 << 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
def test_root_keeps_reading_first_and_nothing_later() -> None:
    said = outcome(
        "from vidcnn.sandbox.privileges import drop_privileges\n"
        "def left():\n"
        "    return next(int(line.split()[1], 16) for line in open('/proc/self/status') if line.startswith('CapEff'))\n"
        "for may_read in (True, False, True):\n"
        "    print(drop_privileges(may_read=may_read), left())\n"
    )
    assert said.splitlines() == [f"True {READING}", f"True {NO_READING}", f"True {NO_READING}"]
