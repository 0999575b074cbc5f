"""Decode once: every image of a data set, resized, in one memory-mapped array on disk.

A cache is two files in the cache folder: ``<key>.npy``, uint8 (N, S, S, 3), and ``<key>.json``, the sidecar with its
description. The key is a digest of the data (ids in order, labels, sizes, modification times), the image size and the
version of the preprocessing, so changed data have no cache. The array is written under a temporary name and renamed
when it is complete, and the sidecar is written last. A cache whose sidecar, length or sampled rows disagree is built
again. Two processes that build the same cache write the same content, each under its own temporary name.

Before an array is built, those used least recently are removed until all take no more than `limit` bytes. A mapped
array is locked (``flock``; Windows removes no mapped file), so that none in use is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

import numpy as np
from numpy.typing import NDArray

from lentigo.data.samples import Samples
from lentigo.errors import DataError, ImageError, OutputError
from lentigo.files import replace_synced, write_text
from lentigo.machine import available_cores, default_directory
from lentigo.progress import Progress, shown
from lentigo.resampler import resize

PREPROCESSING = 2
"""Raised when ``lentigo.imaging`` changes what a decoded, resized image looks like."""

DEFAULT_GB = 20.0
_HEADER = 128
_ARRAY = re.compile(r".+-\d+-[0-9a-f]{24}(\.\w+)?\.npy", re.DOTALL)
_ABANDONED = 24 * 3600.0
"""Seconds after which an array that is still being written was left behind by a process that was killed."""


@dataclass(frozen=True)
class Cache:
    """Decoded images.

    Attributes:
        pixels: (N, size, size, 3) uint8, read-only, mapped from disk; row i is row i of ``samples.frame``.
        path: the array's file.
    """

    pixels: NDArray[np.uint8]
    path: Path


def limit() -> int:
    """Return the maximum size of all arrays in bytes: ``LENTIGO_CACHE_GB``, else 20 GB.

    Raises:
        DataError: the variable holds no positive number.
    """
    text = os.environ.get("LENTIGO_CACHE_GB") or str(DEFAULT_GB)
    with suppress(ValueError):
        if 0 < (size := float(text)) < float("inf"):
            return int(size * 1e9)
    raise DataError(f"LENTIGO_CACHE_GB={text!r}: give the size in GB, such as {DEFAULT_GB:g}")


def arrays(directory: Path) -> dict[Path, int]:
    """Return the arrays in a folder of caches and their bytes, the least recently used first."""
    found = []
    with suppress(OSError):
        for path in directory.iterdir():
            with suppress(OSError):
                if _ARRAY.fullmatch(path.name):
                    stat = path.stat()
                    found.append((stat.st_mtime, path, stat.st_size))
    return {path: size for _, path, size in sorted(found)}


def prune(directory: Path, most: int = 0) -> int:
    """Remove arrays, the least recently used first, until the rest takes at most ``most`` bytes.

    Arrays that a process has open are kept.

    Returns:
        The bytes that were freed.
    """
    there = arrays(directory)
    total = left = sum(there.values())
    for path, size in there.items():
        if left <= most:
            break
        with suppress(OSError):
            if not _in_use(path):
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink()
                left -= size
    return total - left


def _in_use(path: Path) -> bool:
    if path.name.startswith("."):  # being written
        return time.time() - path.stat().st_mtime < _ABANDONED
    if fcntl is not None:
        with path.open("r+b") as file:  # NFS locks for one process only what may be written
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
    return False


def open_cache(
    samples: Samples,
    size: int,
    directory: str | Path | None = None,
    *,
    progress: bool | Progress = True,
) -> Cache:
    """Open the cache of samples; it is built first if there is none.

    Args:
        samples: what to decode; the splits do not matter.
        size: side of the square in pixels.
        directory: where caches lie; :func:`default_directory` where not given.
        progress: show a bar while building, or a function called with (done, total).

    Raises:
        DataError: images cannot be read; the message counts them and names the first few.
        OutputError: the disk refuses or is too full.
    """
    if size < 1:
        raise DataError(f"an image size must be at least 1 pixel, found {size}")
    folder = Path(directory) if directory is not None else default_directory()
    key = _key(samples, size)
    array, sidecar = folder / f"{key}.npy", folder / f"{key}.json"
    pixels = _check(array, sidecar, samples, size)
    if pixels is None:
        with suppress(OSError):
            sidecar.unlink(missing_ok=True)
        prune(folder, max(limit() - len(samples) * size * size * 3, 0))
        _build(samples, size, array, sidecar, progress)
        pixels = _check(array, sidecar, samples, size)
    if pixels is None:
        raise OutputError(f"{array}: the image cache was removed while it was opened; start again")
    return Cache(pixels, array)


def bytes_to_build(samples: Samples, size: int, directory: str | Path | None = None) -> int:
    """Return the bytes that a cache of samples will take; 0 if it exists."""
    folder = Path(directory) if directory is not None else default_directory()
    return 0 if (folder / f"{_key(samples, size)}.json").is_file() else _HEADER + len(samples) * size * size * 3


def _key(samples: Samples, size: int) -> str:
    digest = hashlib.sha256(f"{PREPROCESSING}\n{size}\n{samples.fingerprint}\n".encode())
    for image, modified in zip(samples.frame["image"], samples.modified(), strict=True):
        digest.update(f"{image}\t{modified}\n".encode())
    return f"{samples.name}-{size}-{digest.hexdigest()[:24]}"


def _check(array: Path, sidecar: Path, samples: Samples, size: int) -> NDArray[np.uint8] | None:
    """Return the pixels of a valid cache; None if it must be built."""
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        shape = (len(samples), size, size, 3)
        if (
            record["preprocessing"] != PREPROCESSING
            or record["fingerprint"] != samples.fingerprint
            or tuple(record["shape"]) != shape
        ):
            return None
        if array.stat().st_size != _HEADER + int(np.prod(shape)):
            return None
        with array.open("rb") as file:
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the map is closed, which keeps the file
            with suppress(OSError):
                os.utime(array)
            whole = file.read(_HEADER) == _header(shape[0], size)
            pixels: NDArray[np.uint8] = np.memmap(file, np.uint8, "r", _HEADER, shape)
        if not whole or _probe(pixels) != record["probe"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return pixels


def _build(samples: Samples, size: int, array: Path, sidecar: Path, progress: bool | Progress) -> None:
    rows, needed = len(samples), _HEADER + len(samples) * size * size * 3
    unreadable: list[str] = []
    temporary: Path | None = None
    try:
        array.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(array.parent).free
        if free < needed:
            raise OutputError(
                f"{array.parent}: too full for the image cache ({needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB"
                " free); lentigo cache --clear removes older ones"
            )
        handle, name = tempfile.mkstemp(prefix=f".{array.stem}.", suffix=".npy", dir=array.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file, shown(progress, "decoding images", rows) as tick:
            file.write(_header(rows, size))
            for row, pixels in enumerate(_decode(samples, size)):
                if isinstance(pixels, str):
                    unreadable.append(pixels)
                else:
                    file.write(pixels.tobytes())
                tick(row + 1, rows)
        if unreadable:
            raise _refusal(samples, unreadable)
        temporary.chmod(0o644)
        record = {
            "preprocessing": PREPROCESSING,
            "fingerprint": samples.fingerprint,
            "shape": [rows, size, size, 3],
            "probe": _probe(np.load(temporary, mmap_mode="r", allow_pickle=False)),
        }
        replace_synced(temporary, array)
        write_text(sidecar, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{array}: the image cache cannot be written ({error.strerror or error})") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _decode(samples: Samples, size: int) -> Iterator[NDArray[np.uint8] | str]:
    """Yield decoded images in row order, or the reason why one cannot be read; few are in memory at a time."""

    def one(row: int) -> NDArray[np.uint8] | str:
        try:
            return resize(samples.read(row), size)
        except ImageError as error:
            return str(error)

    workers = available_cores()
    with ThreadPoolExecutor(workers) as pool:
        rows = iter(range(len(samples)))
        pending = deque(pool.submit(one, row) for row in islice(rows, workers * 8))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(one, row) for row in islice(rows, 1))


def _header(rows: int, size: int) -> bytes:
    """Return the .npy 1.0 header, always 128 bytes."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, {size}, {size}, 3), }}"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"


def _probe(pixels: NDArray[np.uint8]) -> str:
    """Compute a digest of up to 32 rows with the last among them, which detects a file with holes."""
    digest = hashlib.sha256()
    for row in np.unique(np.linspace(0, len(pixels) - 1, 32).astype(int)):
        digest.update(np.ascontiguousarray(pixels[row]).tobytes())
    return digest.hexdigest()


def _refusal(samples: Samples, unreadable: list[str]) -> DataError:
    first = "; ".join(unreadable[:3])
    more = f" (and {len(unreadable) - 3} more)" if len(unreadable) > 3 else ""
    return DataError(f"{samples.root}: {len(unreadable)} of {len(samples)} images cannot be read: {first}{more}")
