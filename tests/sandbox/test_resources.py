from __future__ import annotations

from tests.sandbox.confined import outcome
from vidcnn.sandbox import resources


def test_memory_beyond_the_limit_is_refused_and_shared_memory_does_not_count() -> None:
    said = outcome(
        "import mmap, os, resource\n"
        "from vidcnn.sandbox.resources import limit_resources\n"
        "print(limit_resources(2**26))\n"
        "kept = bytearray(2**25)\n"
        "try:\n"
        "    bytearray(2**26)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
        "file = os.memfd_create('x')\n"
        "os.ftruncate(file, 2**28)\n"
        "mapped = mmap.mmap(file, 2**28)\n"
        "mapped[2**27] = 1\n"
        "print('mapped', resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    assert said.splitlines() == [str(2**26), "refused", "mapped (0, 0)"]


def test_where_the_system_shows_no_sizes_there_is_no_limit_of_memory() -> None:
    said = outcome(
        "import resource\n"
        "from vidcnn.sandbox import resources\n"
        "resources._STATUS = '/nowhere'\n"
        "before = resource.getrlimit(resource.RLIMIT_DATA)\n"
        "print(resources.limit_resources(), resource.getrlimit(resource.RLIMIT_DATA) == before)\n"
    )
    assert said == "None True"
    assert resources._STATUS == "/proc/self/status"
