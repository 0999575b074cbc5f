"""Fetch public data sets: resume broken transfers, check, and unpack into the published layout.

Checksums are those the publishers name (Dataverse, MedMNIST) or that independent users of the ISIC archive report
alike. Where none is known, the SHA-256 of the first download is written to ``<file>.sha256``, and later downloads must
agree with it: trust on first use, no more.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lentigo import __version__
from lentigo.errors import DataError, OutputError, did_you_mean
from lentigo.files import write_text
from lentigo.progress import Progress, shown
from lentigo.text import one_line

CHUNK = 1 << 20
MAX_BYTES = 1 << 36  # of a file whose size is not known beforehand
UNPACKED_RATIO, UNPACKED_AT_EASE = 20, 64 << 20  # images hardly shrink in an archive; small ones may be tables
ATTEMPTS = 5  # in a row without a byte of progress
TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Attributes:
        name: what it is called here (and below a mirror's ``base_url``).
        url: where the publisher has it.
        md5: checksum, where one is known for certain.
        size: bytes, where known.
        folder: an archive is unpacked into this folder of the data set (``.``: the data set's own); None for a plain
            file.
    """

    name: str
    url: str
    md5: str | None = None
    size: int | None = None
    folder: str | None = None


@dataclass(frozen=True)
class RemoteSet:
    """A data set that can be fetched.

    Attributes:
        title: what it is.
        licence: terms of use.
        home: the publisher's page.
        files: what to fetch.
    """

    title: str
    licence: str
    home: str
    files: tuple[RemoteFile, ...]


def _isic(part: str, md5: str) -> tuple[RemoteFile, RemoteFile]:
    base = "https://isic-challenge-data.s3.amazonaws.com/2017/ISIC-2017_"
    images = RemoteFile(f"ISIC-2017_{part}_Data.zip", f"{base}{part}_Data.zip", md5, folder=f"ISIC-2017_{part}_Data")
    return images, RemoteFile(f"ISIC-2017_{part}_Part3_GroundTruth.csv", f"{base}{part}_Part3_GroundTruth.csv")


def _derma(suffix: str, md5: str) -> RemoteSet:
    name = f"dermamnist{suffix}.npz"
    return RemoteSet(
        f"DermaMNIST ({suffix[1:] or 28} px): HAM10000 as published in MedMNIST v2 (Yang et al. 2023)",
        "CC BY-NC 4.0",
        "https://medmnist.com",
        (RemoteFile(name, f"https://zenodo.org/records/10519652/files/{name}?download=1", md5),),
    )


_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile/"

DATASETS: dict[str, RemoteSet] = {
    "ham10000": RemoteSet(
        "HAM10000: 10,015 dermatoscopic images of 7 classes (Tschandl, Rosendahl, Kittler 2018)",
        "CC BY-NC-SA 4.0 (non-commercial)",
        "https://doi.org/10.7910/DVN/DBW86T",
        (
            RemoteFile(
                "HAM10000_metadata.csv",
                f"{_DATAVERSE}4338392?format=original",
                "8f85fb1aa29d80a2797247e434deb79d",
                690_218,
            ),
            RemoteFile(
                "HAM10000_images_part_1.zip",
                f"{_DATAVERSE}3172585",
                "4639bfa73ab251610530a97c898e6e46",
                1_366_522_108,
                "HAM10000_images_part_1",
            ),
            RemoteFile(
                "HAM10000_images_part_2.zip",
                f"{_DATAVERSE}3172584",
                "da43d6cc50f6613013be07e8986b384b",
                1_403_566_547,
                "HAM10000_images_part_2",
            ),
        ),
    ),
    "isic2017": RemoteSet(
        "ISIC 2017, part 3: 2,750 dermoscopic images of 3 classes (Codella et al. 2018)",
        "CC0 (see the challenge's page)",
        "https://challenge.isic-archive.com/data/#2017",
        (
            *_isic("Training", "a14a7e622c67a358797ae59abb8a0b0c"),
            *_isic("Validation", "8d6419d942112f709894c0d82f6c9038"),
            *_isic("Test_v2", "5f6a0b5e1f2972bd1f5ea02680489f09"),
        ),
    ),
    "pad_ufes_20": RemoteSet(
        "PAD-UFES-20: 2,298 smartphone photographs of 6 classes (Pacheco et al. 2020)",
        "CC BY 4.0",
        "https://doi.org/10.17632/zr7vgbcyr2.1",
        (
            RemoteFile(
                "zr7vgbcyr2-1.zip",
                "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/zr7vgbcyr2-1.zip",
                folder=".",
            ),
        ),
    ),
    "dermamnist": _derma("", "0744692d530f8e62ec473284d019b0c7"),
    "dermamnist_64": _derma("_64", "b70a2f5635c6199aeaa28c31d7202e1f"),
    "dermamnist_128": _derma("_128", "2defd784463fa5243564e855ed717de1"),
    "dermamnist_224": _derma("_224", "8974907d8e169bef5f5b96bc506ae45d"),
}
"""Data sets that can be fetched, by name."""


def download_dataset(
    name: str, out: str | Path, *, base_url: str | None = None, progress: bool | Progress = True
) -> Path:
    """Fetch a public data set into ``out/name``.

    A broken transfer goes on where it stopped, in this call (with growing pauses) and in a later one; files that are
    there and checked are not fetched again; archives are unpacked and then removed.

    Args:
        name: see ``DATASETS``.
        out: the folder to put the data set's folder into.
        base_url: a mirror that has the files under their own names.
        progress: True for a bar per file, or a function called with (bytes done, bytes in all).

    Returns:
        The data set's folder, ready for ``read_samples``.

    Raises:
        DataError: unknown name, no such file at the source, a wrong checksum, a damaged or unsafe archive, or no
            connection after several tries (what has arrived is kept).
        OutputError: the disk refuses.
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}{did_you_mean(name, DATASETS)}")
    if base_url is not None and urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
        raise DataError(f"a mirror's address must begin with http:// or https://; found {base_url!r}")
    folder = Path(out) / name
    for remote in DATASETS[name].files:
        url = remote.url if base_url is None else f"{base_url.rstrip('/')}/{remote.name}"
        fetch(remote, url, folder, progress=progress)
    return folder


def fetch(
    remote: RemoteFile,
    url: str,
    folder: Path,
    *,
    progress: bool | Progress = False,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch, check and unpack one file.

    Args:
        remote: what it should be.
        url: where it is fetched from.
        folder: the data set's folder.
        progress: as in :func:`download_dataset`.
        pause: called with the seconds to wait before another try.

    Raises:
        DataError: as in :func:`download_dataset`.
        OutputError: the disk refuses.
    """
    target, note = folder / remote.name, folder / f"{remote.name}.sha256"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = _noted(note)
        if (
            remote.folder is not None
            and known is not None
            and not target.exists()
            and (folder / remote.folder).is_dir()
        ):
            return  # unpacked already: the note comes last
        if target.is_file() and _mismatch(target, remote, known) is None:
            found = _digest(target, "sha256")
        else:
            found = _transfer(remote, url, target, known, progress, pause)
        if remote.folder is not None:
            unpack(target, folder / remote.folder)
            target.unlink()
        if known != found:
            write_text(note, f"{found}  {remote.name}\n")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None


def _transfer(
    remote: RemoteFile,
    url: str,
    target: Path,
    known: str | None,
    progress: bool | Progress,
    pause: Callable[[float], None],
) -> str:
    """Download the file to ``target`` and return its SHA-256."""
    part = target.with_name(f"{target.name}.part")
    for again in (True, False):
        resumed = part.exists()
        tag = part.with_name(f"{part.name}.etag")
        with shown(progress, remote.name, remote.size or 0, size=True) as tick:
            try:
                _receive(url, part, remote.size or MAX_BYTES, tick, pause, checked=bool(remote.md5 or known))
            except _TooLargeError:
                part.unlink(missing_ok=True)
                tag.unlink(missing_ok=True)
                raise
        tag.unlink(missing_ok=True)
        wrong = _mismatch(part, remote, known)
        if wrong is None:
            found = _digest(part, "sha256")
            part.replace(target)
            return found
        part.unlink()
        if not (resumed and again):  # only what was pieced together deserves a second try
            break
    raise DataError(f"{url}: {wrong}; nothing of it was kept")


def _mismatch(file: Path, remote: RemoteFile, known: str | None) -> str | None:
    """Return why a file is not the expected one; None if it is."""
    if remote.md5 is not None:
        found = _digest(file, "md5")
        return None if found == remote.md5 else f"wrong checksum (MD5 {found}, expected {remote.md5})"
    found = _digest(file, "sha256")
    return (
        None
        if known in (None, found)
        else f"not the file that was fetched first (SHA-256 {found[:12]}…, then {str(known)[:12]}…)"
    )


def _receive(
    url: str, part: Path, limit: int, tick: Progress, pause: Callable[[float], None], *, checked: bool
) -> None:
    """Append to ``part`` until it is complete."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive_once(url, part, limit, tick, checked=checked):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 429):
                raise DataError(
                    f"{url}: the server answers {error.code} {error.reason}; is the address right?"
                ) from None
            reason = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        now = part.stat().st_size if part.exists() else 0
        failures = 0 if now > before else failures + 1
        if failures >= ATTEMPTS:
            kept = f"; {now:,} bytes are kept, run again to go on" if now else ""
            raise DataError(f"{url}: cannot be fetched ({reason}) after {ATTEMPTS} tries{kept}")
        pause(min(30.0, 2.0**failures))


def _receive_once(url: str, part: Path, limit: int, tick: Progress, *, checked: bool) -> bool:
    """Send one request, from the end of ``part`` on, and return whether the file is complete.

    Args:
        url: where the file is.
        part: what has arrived of it.
        limit: the most bytes that it may have.
        tick: called with the progress.
        checked: whether a checksum will tell pieces of two files from one; without it, only bytes of the same tag are
            gone on with.
    """
    tag = part.with_name(f"{part.name}.etag")
    expected = tag.read_text(encoding="utf-8") if tag.is_file() else ""
    if not (checked or expected):
        part.unlink(missing_ok=True)
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": f"lentigo/{__version__}", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
        if expected:  # so that a file that has changed meanwhile is sent whole
            request.add_header("If-Range", expected)
    try:
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
            return True
        part.unlink(missing_ok=True)
        return False
    with response:
        etag = response.headers.get("ETag", "")
        if response.status == 206 and (not _continues(response, start) or (etag and expected and etag != expected)):
            part.unlink(missing_ok=True)  # another piece, or a piece of another file
            return False
        done = start if response.status == 206 else 0
        total = done + _length(url, response)
        _check_size(url, max(done, total), limit)
        if not done:  # in this order: a tag never stands beside the bytes of another file
            part.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
            if etag and not etag.startswith("W/"):
                write_text(tag, etag)
        with part.open("ab" if done else "wb") as file:
            while chunk := _read(response):
                done += len(chunk)
                _check_size(url, done, limit)
                file.write(chunk)
                tick(done, total)
    return total in (0, done)


def _continues(response: http.client.HTTPResponse, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _length(url: str, response: http.client.HTTPResponse) -> int:
    """Return the announced length in bytes; 0 if the server does not announce it."""
    length = response.headers.get("Content-Length")
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise DataError(f"{url}: the server says {one_line(length[:40])!r} where the length of the file should stand")
    return int(length)


class _TooLargeError(DataError):
    """A file larger than expected, of which nothing is kept."""


def _check_size(url: str, size: int, limit: int) -> None:
    """Refuse a file that is larger than the publisher says, before it fills the disk."""
    if size > limit:
        raise _TooLargeError(f"{url}: larger than it should be ({size:,} bytes or more, expected at most {limit:,})")


def _noted(note: Path) -> str | None:
    """Return the SHA-256 of the first download; None if there was none, or its record is damaged."""
    words = note.read_text(encoding="utf-8", errors="replace").split() if note.is_file() else []
    return words[0] if words and len(words[0]) == 64 else None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows redirects to http and https only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        there = urllib.parse.urlsplit(newurl).scheme.lower()
        if there not in ("http", "https") or (there == "http" and req.type == "https"):
            raise DataError(
                f"{req.full_url}: the server sends on to {one_line(newurl[:200])!r}, which is not followed; use another"
                " mirror"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, with the proxy of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except OSError as error:  # so that it is not taken for a fault of the disk
        raise urllib.error.URLError(error) from None


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive, and zip archives inside it; a single folder at its top is left out.

    Everything is unpacked beside ``folder`` first. Members that lead outside, and links, are refused; each member's CRC
    is checked.

    Raises:
        DataError: damaged, or unsafe.
        OutputError: not enough room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unpack.", dir=folder))
    try:
        _unpack_into(archive, staging)
        for inner in sorted(staging.rglob("*.zip")):
            _unpack_into(inner, inner.with_suffix(""))
            inner.unlink()
        top = list(staging.iterdir())
        source = top[0] if len(top) == 1 and top[0].is_dir() else staging
        for item in sorted(source.iterdir()):
            _move(item, folder / item.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(item: Path, target: Path) -> None:
    if item.is_dir() and target.is_dir():
        for inner in sorted(item.iterdir()):
            _move(inner, target / inner.name)
        return
    if target.is_dir():
        shutil.rmtree(target)
    with suppress(FileNotFoundError):
        target.unlink()
    item.rename(target)


def _unpack_into(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            members = [m for m in file.infolist() if not m.filename.startswith("__MACOSX/")]
            for member in members:
                _check_member(archive, member)
            names = Counter(m.filename.casefold() for m in members)
            if doubled := [m.filename for m in members if names[m.filename.casefold()] > 1]:
                raise DataError(
                    f"{archive}: member {doubled[0]!r} is there twice, or differs from another by case alone"
                )
            needed, free = sum(m.file_size for m in members), shutil.disk_usage(folder.parent).free
            if needed > max(UNPACKED_AT_EASE, UNPACKED_RATIO * archive.stat().st_size):
                raise DataError(f"{archive}: unpacks to {needed:,} bytes, far more than images do; it is not unpacked")
            if needed > free:
                raise OutputError(
                    f"{folder}: too full to unpack {archive.name} ({needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB"
                    " free)"
                )
            for member in members:
                _extract(file, member, folder)
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error})") from None


def _extract(file: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack one member, compressed by any method.

    Raises:
        ValueError: its data are damaged; an OSError is left to the disk.
    """
    try:
        file.extract(member, folder)
    except Exception as error:
        # lzma's own error, and what bz2 raises: an OSError that no system call has given a number
        if type(error).__name__ == "LZMAError" or (isinstance(error, OSError) and error.errno is None):
            raise ValueError(f"member {member.filename!r}: {error}") from None
        raise


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    path = PurePosixPath(name.replace("\\", "/"))
    link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in name or link:
        raise DataError(f"{archive}: member {name!r} leads outside its folder; the archive is not unpacked")
