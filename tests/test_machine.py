"""What the machine grants: memory that is kept for the next step."""

from __future__ import annotations

import subprocess
import sys

import pytest

RESIDENT = """
import os, sys
from lentigo.machine import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
before = resident()
block = b"x" * (64 << 20)
del block
print(kept, (resident() - before) >> 20)
"""


def freed(how: str) -> tuple[str, int]:
    """What the call said, and the MiB that stay with a process that has used and freed 64."""
    said, stayed = subprocess.run(
        [sys.executable, "-c", RESIDENT, how], capture_output=True, text=True, check=True
    ).stdout.split()
    return said, int(stayed)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_memory_is_kept_where_the_allocator_can() -> None:
    said, stayed = freed("keep")
    if said == "False":
        pytest.skip("another allocator than glibc's")
    assert stayed >= 60
    assert freed("leave")[1] <= 8
