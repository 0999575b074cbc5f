"""Atomic writes, and bounded reads that never block."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lentigo.errors import OutputError

SPEC, MODEL, CARD, GOLDEN = "spec.json", "model.onnx", "MODEL_CARD.md", "golden.json"
"""Names of a bundle's files; see `lentigo.bundle`."""
MAX_TEXT, MAX_MODEL = 16 * 2**20, 2**30
"""Maximum bytes of a bundle's specification, card and golden vectors, and of any other file of a bundle."""
_JSON_WIDTH = 320  # fits a row of figures with their intervals


@contextmanager
def atomic_path(target: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block succeeds.

    Args:
        target: the file to write; its folder is created. The temporary name keeps the suffix.
        sync: whether to sync it to disk before it replaces ``target`` (`replace_synced`); False for many small files
            that can be regenerated.

    Raises:
        OutputError: the file cannot be written (full disk, read-only, not a folder).
    """
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        if sync:
            replace_synced(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_synced(source: Path, target: Path) -> None:
    """Rename a file so that a power failure leaves the old one or the new one, never an empty one.

    The content is synced before the rename, since a rename alone may reach the disk first. The rename is synced before
    the function returns.

    Raises:
        OSError: the file cannot be written; ``target`` is unchanged.
    """
    sync(source)
    source.replace(target)
    with suppress(OSError):  # the rename is done and visible; only its durability is uncertain
        sync(target.parent)


def sync(path: Path) -> None:
    """Sync the content of a file, or the names in a folder, to disk.

    Raises:
        OSError: syncing fails.
    """
    if path.is_dir() and os.name == "nt":  # folders cannot be opened there
        return
    # Windows does not sync a file opened read-only, and no system opens a folder for writing.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 text atomically; lone surrogates, as in some file names, become escapes, which JSON reads back.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(target: str | Path, document: Any, *, digits: int | None = None) -> None:
    """Write figures as JSON atomically; a value that fits on one line is not broken.

    Args:
        target: the file.
        document: dicts with string keys, lists, strings and numbers; other values are written as ``str``.
        digits: significant digits of floats; None for all.

    Raises:
        OutputError: the file cannot be written.
    """

    def shorten(number: str) -> float:
        return float(number) if digits is None else float(f"{float(number):.{digits}g}")

    plain = json.loads(json.dumps(document, default=str), parse_float=shorten)
    write_text(target, _layout(plain, "") + "\n")


def _layout(value: Any, indent: str) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= _JSON_WIDTH:
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(item, inner)}" for key, item in value.items()]
    elif any(isinstance(item, dict | list) for item in value):
        items = [_layout(item, inner) for item in value]
    else:
        return line  # a list of scalars is not broken
    start, end = "{}" if isinstance(value, dict) else "[]"
    return f"{start}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"


def write_bytes(target: str | Path, content: bytes) -> None:
    """Write bytes atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes; reading a pipe could block, and a device has no end.

    Raises:
        OSError: the file is missing, unreadable, larger, or not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before opening, which can block or act on a device
        raise OSError(errno.EINVAL, "not a regular file")
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:  # noqa: PTH123
        facts = os.fstat(file.fileno())  # the path may have been replaced since
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        content = b"" if facts.st_size > limit else file.read(limit + 1)
    if facts.st_size > limit or len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit / 2**20:g} MiB")
    return content
