"""What this machine grants."""

from __future__ import annotations

import os


def available_cores() -> int:
    """CPU cores that this process may use: in a container those granted, not those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
