"""Sources of images: files, folders, globs, archives, lists and stored arrays, with one lazy item per image."""

from __future__ import annotations

import codecs
import glob
import io
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from lentigo.errors import DataError, ImageError
from lentigo.extra_formats import is_extra_name
from lentigo.imaging import FOREIGN_SUFFIXES, ImageSource, is_image_content, is_image_name
from lentigo.inference.remote import is_address, list_images
from lentigo.tables import (
    METADATA_COLUMNS,
    TABLE_SUFFIXES,
    Cells,
    ImageNames,
    find_column,
    image_columns,
    is_file,
    no_image_column,
    read_cells,
)
from lentigo.text import counted
from lentigo.walk import entries, is_rubbish, masks, walk

MAX_BYTES = 256 * 2**20
"""The largest archive member that is unpacked."""

_SNIFFED = 512
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ARRAYS = (".npy", ".npz")


@dataclass(frozen=True, slots=True)
class Item:
    """One image to classify, unopened, or the reason why there is none.

    Attributes:
        path: its name in the results, valid Unicode: a path; ``archive.zip#inside/name.jpg``; ``array.npy#17``;
            ``arrays.npz#train_images/17``.
        source: as `lentigo.imaging.open_image` takes it; None with an error.
        key: a relative path, unique in a run, for the names of files about this image, such as heat maps.
        error: why a source could not be read.
        metadata: age, sex and site from a list; None if they are not requested.
    """

    path: str
    source: ImageSource | None
    key: str
    error: str | None = None
    metadata: Mapping[str, str] | None = None


class Sources:
    """A lazy, repeatable sequence of images.

    Args:
        sources: any of: an image; a folder (with its sub-folders, sorted by name, without hidden files and links to
            folders); a glob such as ``shots/**/*.jpg``; an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz); a table
            (.csv, .tsv, .xlsx) with a column ``path`` or ``image`` of files beside or below it; a .npy or .npz of uint8
            images (N, H, W, 3); ``-`` for standard input, which has one image, or paths, one per line.
        remote: accept addresses (``s3://``, ``gs://``, ``file://``), and no archives and arrays, whose images have no
            address for other machines.
        metadata: read the columns of age, sex and site of the lists.

    Attributes:
        lists: the tables among the sources: the column that names the images, and the cells.
        metadata: whether items have age, sex and site.
        masks: masks, heat maps and thumbnails that iterating has left out of folders and archives so far, each with
            the reason.

    Raises:
        DataError: a table that cannot be read or has neither column, no sources, a kind of source that ``remote``
            excludes, or ``metadata`` without a list that has such a column.
    """

    def __init__(
        self, sources: str | Path | Iterable[str | Path], *, remote: bool = False, metadata: bool = False
    ) -> None:
        given = [sources] if isinstance(sources, str | Path) else list(sources)
        if not given:
            raise DataError("nothing to classify; name images, folders, archives, lists, or - for standard input")
        self._given, self._remote = [str(source) for source in given], remote
        self.masks: dict[str, str] = {}
        if self._given.count("-") > 1:
            raise DataError("standard input (-) can be read once only")
        for source in self._given:
            if is_address(source) and not remote and not source.startswith(("http://", "https://")):
                raise DataError(
                    f"{source}: an address, not a path; add --engine ray (pip install 'lentigo[ray]'), or download the"
                    " images first"
                )
            if remote and source.lower().endswith((*_ARCHIVES, *_ARRAYS)) and (is_address(source) or is_file(source)):
                raise DataError(
                    f"{source}: archives and arrays are read without --engine ray only; unpack it, or leave the"
                    " engine out"
                )
        self.lists = {source: read_list(source) for source in self._given if is_list(source)}
        self.metadata = metadata
        self._beside = {
            source: {name: find_column(cells.columns, columns) for name, columns in METADATA_COLUMNS.items()}
            for source, (_, cells) in self.lists.items()
            if metadata
        }
        if metadata and not any(filter(None, (c for found in self._beside.values() for c in found.values()))):
            raise DataError("metadata are columns age, sex or site of a list of images (.csv, .tsv, .xlsx): none given")
        self._keys = _unique([_flat(Path(source).name) or "images" for source in self._given])

    @property
    def above(self) -> tuple[str, ...]:
        """Prefixes of the paths of images in the folders and archives among the sources."""
        return tuple(
            _unicode(os.path.join(source, "") if os.path.isdir(source) else f"{source}#")  # noqa: PTH112, PTH118
            for source in self._given
        )

    def __iter__(self) -> Iterator[Item]:
        for source, key in zip(self._given, self._keys, strict=True):
            yield from self._walk(source, key)

    def count(self) -> int | None:
        """Number of items; None if it is unknown before reading (archives, standard input)."""
        total = 0
        for source, key in zip(self._given, self._keys, strict=True):
            lower = source.lower()
            if source == "-" or is_address(source) or (lower.endswith((*_ARCHIVES, *_ARRAYS)) and is_file(source)):
                return None
            total += sum(1 for _ in self._walk(source, key))
        return total

    def _walk(self, source: str, key: str) -> Iterator[Item]:
        lower = source.lower()
        if source == "-":
            yield from _some(_read_stdin(), "standard input", "stdin", "holds neither an image nor paths")
        elif is_address(source) and not source.startswith(("http://", "https://")):
            yield from _some(
                (_file(address) for address in list_images(source, _wanted)), source, key, "no images in this folder"
            )
        elif os.path.isdir(source):  # noqa: PTH112  (Path.is_dir raises where a folder above is locked)
            yield from _some(
                self._pictures(source, "" if len(self._given) == 1 else key), source, key, "no images in this folder"
            )
        elif not os.path.lexists(source) and glob.has_magic(source):
            found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute patterns)
            matches = (path for path in found if not os.path.isdir(path))  # noqa: PTH112
            yield from _some((_file(path) for path in matches), source, key, "nothing matches this pattern")
        elif lower.endswith(".zip") and is_file(source):
            yield from _some(self._read_zip(source, key), source, key, "no images in this archive")
        elif lower.endswith(_ARCHIVES) and is_file(source):
            yield from _some(self._read_tar(source, key), source, key, "no images in this archive")
        elif source in self.lists:
            yield from _some(self._read_list(source), source, key, "no rows in this list")
        elif lower.endswith(_ARRAYS) and is_file(source):
            yield from _some(_read_arrays(source, key), source, key, "no uint8 images (N, H, W, 3) in this file")
        else:
            yield Item(_unicode(source), source, key)

    def _pictures(self, folder: str, key: str) -> Iterator[Item]:
        named = [(item.path.replace(os.sep, "/"), item) for item in _read_folder(folder, key)]
        left_out = masks(name for name, _ in named)
        yield from (item for name, item in named if name not in left_out)
        self.masks.update(left_out)

    @property
    def note(self) -> str:
        """What iterating left out of folders and archives, and how to include it; empty for nothing."""
        if not self.masks:
            return ""
        return (
            f"left out: {counted(len(self.masks), 'file')} named as mask, heat map or thumbnail of an image, such as"
            f" {next(iter(self.masks))}; to classify such files, name them, their folder or a pattern ('FOLDER/*');"
            " unpack an archive first"
        )

    def _read_zip(self, path: str, key: str) -> Iterator[Item]:
        try:
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if not one.is_dir() and _wanted_member(one.filename)]
                left_out = self._leave_out(path, [one.filename for one in members])
                for member in members:
                    if member.filename in left_out:
                        continue
                    name, inner = f"{path}#{member.filename}", f"{key}/{_flat(member.filename)}"
                    try:
                        with archive.open(member) as file:
                            yield Item(_unicode(name), _bounded(file), inner)
                    except ImageError as error:
                        yield _failed(name, inner, str(error))
                    except Exception as error:  # wrong password, bad CRC, unknown compression, ...
                        yield _failed(name, inner, f"cannot be unpacked ({error})")
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            yield _failed(path, key, f"damaged archive ({error})")

    def _read_tar(self, path: str, key: str) -> Iterator[Item]:
        names: list[str] = []
        with suppress(Exception):  # damage is reported below, after the images before it
            for member, _ in _tar_members(path):
                names.append(member.name)
        left_out = self._leave_out(path, names)
        try:
            for member, archive in _tar_members(path):
                if member.name in left_out:
                    continue
                name, inner = f"{path}#{member.name}", f"{key}/{_flat(member.name)}"
                file = archive.extractfile(member)
                try:
                    yield Item(_unicode(name), _bounded(file) if file else b"", inner)
                except ImageError as error:
                    yield _failed(name, inner, str(error))
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            yield _failed(path, key, f"damaged archive ({error})")
        except Exception as error:  # the decompressors' own error types
            yield _failed(path, key, f"damaged archive ({type(error).__name__}: {error})")

    def _leave_out(self, archive: str, names: Iterable[str]) -> Collection[str]:
        left_out = masks(names)
        self.masks.update({_unicode(f"{archive}#{name}"): reason for name, reason in left_out.items()})
        return left_out

    def _read_list(self, source: str) -> Iterator[Item]:
        column, cells = self.lists[source]
        base = Path(source).parent
        names = ImageNames(base, _below(base))
        beside = {name: cells.columns[c] for name, c in self._beside.get(source, {}).items() if c}
        for row, (listed, line) in enumerate(zip(cells.columns[column], cells.lines, strict=True)):
            if not listed:
                yield _failed(f"{source}#{line}", f"row-{line}", "no path in this row")
                continue
            found = str(base / listed)
            try:
                if is_address(listed) and self._remote:
                    found = listed
                elif not is_file(found):
                    inside = names.locate(listed)
                    found = listed if inside is None and is_address(listed) else str(base / (inside or listed))
            except DataError as error:
                yield _failed(f"{source}#{line}", f"row-{line}", str(error))
            else:
                metadata = {name: values[row] for name, values in beside.items()} if beside else None
                yield Item(_unicode(listed), found, _flat(listed), metadata=metadata)


def _some(items: Iterable[Item], source: str, key: str, otherwise: str) -> Iterator[Item]:
    """Yield the items, or one with the reason why there are none."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        yield _failed(source, key, otherwise)


def _failed(path: str, key: str, why: str) -> Item:
    return Item(_unicode(path), None, key, f"{_unicode(path)}: {why}")


def _file(path: str) -> Item:
    return Item(_unicode(path), path, _flat(path))


def _wanted(name: str) -> bool:
    # Unreadable formats are included, since a row with an error is better than a missing row.
    return not is_rubbish(name) and (
        is_image_name(name) or is_extra_name(name) or PurePosixPath(name).suffix.lower() in FOREIGN_SUFFIXES
    )


def _wanted_member(name: str) -> bool:
    """Whether an archive's member is an image, by the same rule as files in folders."""
    *folders, file = (part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
    return _wanted(file) and not any(map(is_rubbish, folders))


def _read_folder(folder: str, key: str) -> Iterator[Item]:
    try:
        found = entries(folder)
    except OSError as error:
        yield _failed(folder, key or "folder", f"the folder cannot be read ({error.strerror or error})")
        return
    for name, is_folder in found:
        path, inner = os.path.join(folder, name), f"{key}/{_flat(name)}".lstrip("/")  # noqa: PTH118  (100,000 times)
        if is_folder:
            yield from _read_folder(path, inner)
        elif _wanted(name):
            yield Item(_unicode(path), path, inner)


def _read_stdin() -> Iterator[Item]:
    """Paths on standard input, or the one image that it holds."""
    if sys.stdin is None or sys.stdin.isatty():
        why = "closed" if sys.stdin is None else "a terminal"
        yield _failed("standard input", "stdin", f"{why}; give an image or paths, as in: lentigo predict - < photo.jpg")
        return
    stream: Any = getattr(sys.stdin, "buffer", None) or io.BytesIO(os.fsencode(sys.stdin.read()))
    head = b""
    # read1 does not wait, so that a path is classified before the next one comes.
    while len(head) < _SNIFFED and b"\n" not in head[32:] and (more := stream.read1(_SNIFFED - len(head))):
        head += more
    if is_image_content(head):
        content = head + stream.read(MAX_BYTES + 1 - len(head))
        if len(content) > MAX_BYTES:
            yield _failed("standard input", "stdin", f"more than {MAX_BYTES // 2**20} MiB; look at this file")
        else:
            yield Item("standard input", content, "stdin")
    elif b"\0" in head:
        yield _failed("standard input", "stdin", "neither an image that can be read here nor paths, one a line")
    else:
        for line in chain((head + stream.readline()).removeprefix(codecs.BOM_UTF8).splitlines(), stream):
            if path := os.fsdecode(line.rstrip(b"\r\n")):
                quoted = len(path) > 2 and path[0] == path[-1] == '"'  # as Windows copies paths
                yield _file(path[1:-1] if quoted else path)


def is_list(source: str) -> bool:
    """Whether a source is a table that lists images."""
    return Path(source).suffix.lower() in TABLE_SUFFIXES and is_file(source)


def read_list(path: str) -> tuple[str, Cells]:
    """Return the column of a list that names the images, and the list.

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    cells, folder = read_cells(Path(path)), Path(path).parent
    file, image = image_columns(cells.columns, ImageNames(folder, _below(folder)))
    if file is None and image is None:
        raise no_image_column(cells.columns, path)
    return file or image or "", cells


def _below(folder: Path) -> Iterator[str]:
    with suppress(OSError):  # then a row reports that its image is missing
        yield from (path for path in walk(str(folder)) if _wanted(path.rpartition("/")[2]))


def _tar_members(path: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the images of an archive, in order."""
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # read once, in order: a list of all would only grow
            if member.isfile() and _wanted_member(member.name):
                yield member, archive


def _bounded(file: IO[bytes]) -> bytes:
    """Return the content of a member; refuse more than `MAX_BYTES` (a decompression bomb)."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ImageError(f"more than {MAX_BYTES // 2**20} MiB; unpack the archive and look at this file")
    return content


def _read_arrays(path: str, key: str) -> Iterator[Item]:
    try:
        with ExitStack() as stack:
            if path.lower().endswith(".npy"):
                file: IO[bytes] = stack.enter_context(open(path, "rb"))  # noqa: PTH123
                yield from _read_array(file, path, f"{path}#", key)
                return
            archive = stack.enter_context(zipfile.ZipFile(path))
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            for name in names:
                with archive.open(name) as member:
                    stem = "" if len(names) == 1 else name.removesuffix(".npy") + "/"
                    yield from _read_array(member, path, f"{path}#{stem}", f"{key}/{_flat(stem)}".rstrip("/"))
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        yield _failed(path, key, f"damaged array file ({error})")


def _read_array(file: IO[bytes], path: str, prefix: str, key: str) -> Iterator[Item]:
    """Read a stored array image by image, in constant memory and without unpickling."""
    version = np.lib.format.read_magic(file)
    read_header: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if len(shape) == 3 and shape[-1] == 3:
        shape = (1, *shape)
    if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3:
        if path.lower().endswith(".npy"):
            raise ValueError(f"holds {dtype} {shape}, expected uint8 (N, H, W, 3)")
        return  # targets and the like beside the images of an .npz
    if fortran:
        raise ValueError("stored in Fortran order; save np.ascontiguousarray(images)")
    count, height, width, _ = shape
    size = height * width * 3
    if not 0 < size <= MAX_BYTES:
        raise ValueError(f"images of {width} x {height} pixels")
    for index in range(count):
        content = b""
        while len(content) < size:
            piece = file.read(size - len(content))
            if not piece:
                raise ValueError(f"ends at image {index} of {count}")
            content += piece
        pixels = np.frombuffer(content, np.uint8).reshape(height, width, 3)
        yield Item(_unicode(f"{prefix}{index}"), pixels, f"{key}/{index}")


def _unicode(path: str) -> str:
    """Escape what is not valid Unicode, as file names may hold."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _flat(path: str) -> str:
    """Return a relative path that cannot leave the folder that it is joined to."""
    parts = [part for part in _unicode(path).replace("\\", "/").split("/") if part not in {"", "."}]
    return "/".join("__" if part == ".." else part.replace(":", "_").replace("\0", "_") for part in parts)


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{seen[name]}-{name}")
    return result
