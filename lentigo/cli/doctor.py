"""``lentigo doctor``: check the installation."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import lentigo
from lentigo.machine import available_cores, default_directory

State = Literal["ok", "missing", "broken", "optional"]


@dataclass(frozen=True)
class Finding:
    """One checked package, tool or file.

    Attributes:
        part: the part of lentigo that needs it (``use``, ``train``, ``serve``, ``ray``, ``build``).
        name: the package, tool or file.
        state: ``ok``, ``missing`` (required), ``optional`` (absent) or ``broken``.
        detail: its version, or how to install it.
    """

    part: str
    name: str
    state: State
    detail: str


def _package(part: str, name: str, *, extra: str | None, deep: bool = False) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        how = f"pip install 'lentigo[{extra}]'" if extra else "pip install lentigo"
        return Finding(part, name, "missing" if extra is None else "optional", how)
    if deep:
        # Incompatible wheels install without an error and fail on import.
        try:
            import_module(name.replace("-", "_"))
        except Exception as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Finding(
                part,
                name,
                "broken",
                f"{version} cannot be imported ({why}); install compatible versions of torch and torchvision",
            )
    return Finding(part, name, "ok", version)


def examine() -> list[Finding]:
    """Check the installation; imports torch if installed, to detect incompatible versions."""
    found = [
        Finding("use", "lentigo", "ok", lentigo.__version__),
        Finding("use", "python", "ok" if sys.version_info >= (3, 11) else "broken", platform.python_version()),
    ]
    found += [
        _package("use", name, extra=None) for name in ("numpy", "pillow", "onnxruntime", "pydantic", "typer", "rich")
    ]
    found += [_package("serve", name, extra=None) for name in ("fastapi", "uvicorn", "python-multipart")]
    found += [
        _package("train", name, extra="train", deep=True)
        for name in ("torch", "torchvision", "timm", "lightning-fabric")
    ]
    train = ("pandas", "scikit-learn", "scipy", "matplotlib", "onnx", "onnxscript", "pyyaml")
    found += [_package("train", name, extra="train") for name in train]
    found += [
        _package(extra, name, extra=extra)
        for extra, name in (("fast", "cykooz-resizer"), ("parquet", "pyarrow"), ("ray", "ray"))
    ]
    found += [_models(), _page(), _accelerator(), _cache()]
    found += [
        _tool("node", "builds the phone app; `make app` brings its own where it is absent"),
        _tool("chromium", "runs the browser tests"),
    ]
    return found


def _models() -> Finding:
    folder = Path(lentigo.__file__).parent / "bundles"
    names = sorted(p.parent.name for p in folder.glob("*/spec.json"))
    return Finding(
        "use",
        "packaged models",
        "ok" if names else "missing",
        ", ".join(names) or "none; this installation is incomplete",
    )


def _page() -> Finding:
    index = Path(lentigo.__file__).parent / "serving" / "static" / "index.html"
    return (
        Finding("serve", "phone app", "ok", "built")
        if index.is_file()
        else Finding("serve", "phone app", "optional", "run: make app")
    )


def _accelerator() -> Finding:
    if find_spec("torch") is None:
        return Finding("train", "accelerator", "optional", "torch is not installed")
    try:
        import torch
    except Exception:
        return Finding("train", "accelerator", "optional", "torch cannot be imported")
    if torch.cuda.is_available():
        return Finding("train", "accelerator", "ok", torch.cuda.get_device_name())
    return Finding("train", "accelerator", "optional", f"none; training runs on the CPU ({available_cores()} cores)")


def _cache() -> Finding:
    folder = default_directory()
    at = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(at).free / 2**30
    return Finding("train", "cache", "ok" if free > 2 else "broken", f"{folder} ({free:.0f} GiB free)")


def _tool(name: str, use: str) -> Finding:
    path = shutil.which(name)
    return Finding("build", name, "ok", path) if path else Finding("build", name, "optional", use)


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {"healthy": healthy(findings), "findings": [asdict(f) for f in findings]}


def healthy(findings: list[Finding]) -> bool:
    """Return whether every required part works."""
    return all(f.state in ("ok", "optional") for f in findings)
