"""Images at addresses: object stores (``s3://``, ``gs://``) and ``file://``, listed and read through pyarrow.

Other schemes (``abfs://``, ``hf://``, ...) are read by fsspec if it and its driver are installed. Credentials, region
and endpoint come from the environment, as these libraries document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from lentigo.errors import DataError, ImageError, MissingExtraError, first_line

READERS = 8
"""Number of files of a chunk that are fetched at the same time, since an object store has a long latency."""


def is_address(source: str) -> bool:
    """Return whether a source is an address with a scheme, not a path."""
    scheme, found, _ = source.partition("://")
    return bool(found) and scheme.isidentifier()


def list_images(address: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the addresses of the images under an address, in the order of a local folder.

    Args:
        address: a folder (with its sub-folders, except hidden ones) or one file.
        wanted: whether a file name is that of an image.

    Raises:
        DataError: no such folder, no permission, an unknown scheme, or no network.
        MissingExtraError: pyarrow is not installed.
    """
    files, path = _filesystem(address)
    from pyarrow.fs import FileSelector, FileType

    try:
        info = files.get_file_info(path)
        if info.type == FileType.File:
            yield address
            return
        found = files.get_file_info(FileSelector(path, recursive=True)) if info.type == FileType.Directory else []
    except OSError as error:
        raise DataError(f"{address}: cannot be listed ({first_line(error)})") from None
    if info.type != FileType.Directory:
        raise DataError(f"{address}: no such file or folder")
    base, options = _split(address)
    inner = [PurePosixPath(entry.path).relative_to(path) for entry in found if entry.type == FileType.File]
    for name in sorted(inner, key=lambda name: name.parts):
        if wanted(name.name) and not any(part.startswith(".") for part in name.parts):
            yield f"{base.rstrip('/')}/{name}{options}"


def read_many(addresses: list[str], limit: int) -> list[bytes | ImageError]:
    """Fetch files, several at the same time.

    Args:
        addresses: one per file.
        limit: maximum size of a file in bytes.

    Returns:
        The content of each file, or its error.
    """

    def read(address: str) -> bytes | ImageError:
        try:
            return _read(address, limit)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(min(READERS, max(1, len(addresses)))) as pool:
        return list(pool.map(read, addresses))


def _read(address: str, limit: int) -> bytes:
    try:
        files, path = _filesystem(address)
        with files.open_input_stream(path) as stream:
            content: bytes = stream.read(limit + 1)
    except FileNotFoundError:
        raise ImageError(f"{address}: no such file") from None
    except (OSError, DataError) as error:
        raise ImageError(f"{address}: cannot be read ({first_line(error)})") from None
    if len(content) > limit:
        raise ImageError(f"{address}: more than {limit // 2**20} MiB; look at this file")
    return content


def _filesystem(address: str) -> tuple[Any, str]:
    """Return the file system of an address, which is opened once per process and bucket, and the path in it."""
    base, options = _split(address)
    scheme, _, rest = base.partition("://")
    if scheme == "file":
        return _open("file", "", ""), unquote("/" + rest.split("/", 1)[-1])  # file:///path and file://host/path
    bucket, slash, inner = rest.partition("/")
    # The user (gs://anonymous@bucket) is not part of the path in the file system.
    return _open(scheme, bucket, options), f"{bucket.rpartition('@')[2]}{slash}{inner}".rstrip("/")


@lru_cache
def _open(scheme: str, bucket: str, options: str) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem
    except ImportError:
        raise MissingExtraError(f"reading {scheme}:// addresses", "ray") from None
    if scheme == "file":
        return LocalFileSystem()
    if scheme in ("gs", "gcs") and not options:
        options = "?retry_limit_seconds=60"  # the default without a network is a quarter of an hour
    try:
        return FileSystem.from_uri(f"{scheme}://{bucket}{options}")[0]
    except (ArrowInvalid, NotImplementedError) as reason:
        try:
            import fsspec

            return PyFileSystem(FSSpecHandler(fsspec.filesystem(scheme)))
        except (ImportError, ValueError, OSError):
            raise DataError(f"{scheme}://{bucket}: cannot be opened ({first_line(reason)})") from None
    except OSError as error:
        raise DataError(f"{scheme}://{bucket}: cannot be reached ({first_line(error)})") from None


def _split(address: str) -> tuple[str, str]:
    """Return an address and its options (``?region=...``); only known ones, since file names may contain ``?``."""
    base, mark, options = address.rpartition("?")
    known = ("region=", "endpoint_override=", "scheme=", "anonymous=", "allow_", "retry_limit_seconds=")
    return (base, mark + options) if options.startswith(known) else (address, "")
