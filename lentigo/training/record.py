"""Provenance of a run: hardware, versions, command."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import lentigo
from lentigo.machine import available_cores

if TYPE_CHECKING:
    import torch

_PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "pandas", "scikit-learn")


def command_line() -> str:
    """Return the current command without the folder of the program; ``python -m lentigo`` as ``lentigo``."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name or "python", *sys.argv[1:]])


def hardware(device: torch.device | None = None, devices: int = 1) -> str:
    """Describe processor, cores and accelerator in one line."""
    text = f"{_processor()}, {available_cores()} cores"
    if device is None:
        return text
    if device.type == "cuda":
        import torch

        return f"{devices} x {torch.cuda.get_device_name(device)}; {text}"
    return text if device.type == "cpu" else f"{device.type}; {text}"


def versions() -> dict[str, str]:
    """Return the versions of lentigo, Python and the packages that results may depend on."""
    found = {"lentigo": lentigo.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
