"""A decoding process: encoded images on standard input, pixels on standard output, within limits.

Run by `lentigo.serving.decoding` as ``python -m lentigo.serving.decode_worker``. A decoder that exceeds its
limits is ended by the kernel or by the service, without effect on other images. Imports only what decoding needs, so
that a replacement starts quickly.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import struct
import sys
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from PIL import Image

import lentigo
from lentigo.errors import ImageCostError, ImageError
from lentigo.extra_formats import extra_format, require
from lentigo.image_header import ImageHeader
from lentigo.imaging import PLUGINS, Pixels, open_and_load, sniff

try:
    import resource
except ImportError:  # Windows: the service's own deadline is the only limit
    resource = None  # type: ignore[assignment]

REQUEST = struct.Struct("<QIQBB")
"""Bytes of the image, side of the square, most pixels, whether to decode in full, whether a picture is wanted."""
REPLY = struct.Struct("<BIIIIQ")
"""Whether it was decoded, width and height, width and height of the picture, bytes that follow."""
COSTLY, MORE = 2, 3
"""In the place of the first: not decoded, since it is for the process of low priority; and: send the rest."""
PIPE_BYTES = 2**20
"""Bytes that a pipe to or from the process holds, where the system lets it: most images pass in one turn."""
QUICK_WORK = 16_000_000
"""Pixels times passes that the processes of usual priority take: a phone's photograph."""
SPARSE_WORK, SPARSE = 2_000_000, 100
"""More pixels than the first with fewer bytes than a hundredth of them: no photograph is packed so well."""
DENSE_BYTES, DENSE = 2**20, 8
"""More bytes than the first and than this many a pixel: what a decoder reads past costs CPU time as well."""
READY = b"\n"
"""Sent once, when images can be taken."""
PICTURE_SIDE = 512
_SNIFFED = 512


class CostlyError(Exception):
    """An image for the process of low priority."""


class RefusedError(Exception):
    """An image that is not decoded: the kind of problem, and its detail."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: (size, size, 3) uint8 RGB.
        extent: (width, height) of the image.
        picture: the image in its own proportions, at most `PICTURE_SIDE` long; None where it was not asked for.
    """

    pixels: Pixels
    extent: tuple[int, int]
    picture: Image.Image | None = None


def decode(
    data: bytes,
    size: int,
    max_pixels: int,
    *,
    exact: bool = True,
    picture: bool = False,
    extra_kinds: Collection[str] = (),
    quick: bool = False,
) -> Decoded:
    """Decode one image by its content.

    Args:
        data: the encoded image.
        size: side of the network's square.
        max_pixels: largest width x height.
        exact: decode JPEG in full.
        picture: also scale the image for display.
        extra_kinds: formats that are accepted in addition to the usual ones (`lentigo.extra_formats`).
        quick: decode only images of little work. HEIC and DICOM are none: their structure does not bound their work.

    Raises:
        CostlyError: an image of more work, where ``quick``.
        RefusedError: not an image, too costly, or damaged.
    """
    if not data:
        raise RefusedError("no-image", "the part is empty")
    try:
        if extra_format(data[:_SNIFFED]) not in extra_kinds:
            sniff(data[:_SNIFFED])
        elif quick:
            raise CostlyError
    except ImageError as error:
        raise RefusedError("not-an-image", str(error)) from None
    try:
        image, pixels = open_and_load(
            data,
            size,
            max_pixels=max_pixels,
            fast=not exact,
            extra_formats=extra_kinds,
            on_header=partial(_check_work, len(data)) if quick else None,
        )
        shown = None
        if picture:
            scale = min(1.0, PICTURE_SIDE / max(image.size))
            extent = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            shown = image.resize(extent, Image.Resampling.BILINEAR)
    except ImageCostError as error:
        raise RefusedError("image-too-large", str(error).removeprefix("the bytes given: ")) from None
    except ImageError as error:
        raise RefusedError("damaged-image", str(error).removeprefix("the bytes given: ")) from None
    except MemoryError:
        raise RefusedError("image-too-large", "there is not enough memory for this image; scale it down") from None
    return Decoded(pixels, image.size, shown)


def main(arguments: list[str]) -> None:
    """Decode what comes on standard input until it ends.

    Args:
        arguments: CPU seconds an image, bytes of memory, priority to give up (as `os.nice` takes it), further formats.
    """
    cpu_s, memory, niceness, extra_kinds = float(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3:]
    warnings.simplefilter("ignore")
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    target = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing that a library prints may reach the answers
    for name in PLUGINS.values():
        import_module(f"PIL.{name}")
    with contextlib.suppress(ImportError):
        import_module("simplejpeg")
    for kind in extra_kinds:
        require(kind)
    decode(TINY, 8, 64)  # what is loaded on first use
    confine(memory, niceness)
    gc.freeze()  # the collector then skips what is loaded by now
    _allow(cpu_s)
    _send(target, READY)
    while request := source.read(PIPE_BYTES):  # at once what is there
        length, size, max_pixels, exact, picture = REQUEST.unpack_from(request)
        parts, missing = [request[REQUEST.size :]], REQUEST.size + length - len(request)
        if missing:
            _send(target, REPLY.pack(MORE, 0, 0, 0, 0, 0))
        while missing:
            parts.append(source.read(min(missing, PIPE_BYTES)))
            if not parts[-1]:
                return
            missing -= len(parts[-1])
        data = b"".join(parts)
        del request, parts
        try:
            found = decode(
                data,
                size,
                max_pixels,
                exact=bool(exact),
                picture=bool(picture),
                extra_kinds=extra_kinds,
                quick=not niceness,
            )
        except CostlyError:
            answer = REPLY.pack(COSTLY, 0, 0, 0, 0, 0)
        except RefusedError as refused:
            text = f"{refused.kind}\n{refused.detail}".encode()
            answer = REPLY.pack(0, 0, 0, 0, 0, len(text)) + text
        else:
            shown = found.picture.tobytes() if found.picture else b""
            wide, high = found.picture.size if found.picture else (0, 0)
            head = REPLY.pack(1, *found.extent, wide, high, found.pixels.nbytes + len(shown))
            answer = b"".join((head, found.pixels.data, shown))
            del found, shown
        _send(target, answer)  # at once: who reads it is woken once
        del data, answer
        _allow(cpu_s)  # the next one


def _check_work(length: int, header: ImageHeader) -> None:
    """Raise `CostlyError` for an image that the processes of usual priority do not decode."""
    dense = length > DENSE_BYTES + DENSE * header.width * header.height
    if dense or header.work > min(QUICK_WORK, max(SPARSE_WORK, SPARSE * length)):
        raise CostlyError


def child_environment() -> dict[str, str]:
    """Return the environment of a process that imports this very package."""
    package = str(Path(lentigo.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))}


def confine(memory: int, niceness: int = 0) -> None:
    """Bound the memory of this process, and keep it from writing files or leaving a core behind.

    Args:
        memory: bytes beside what it holds already.
        niceness: priority to give up, as `os.nice` takes it.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(niceness)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  (a kernel file)
        file.write("1000")  # the first to go where the system runs out of memory
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (a kernel file)
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (0, 0))


def _allow(cpu_s: float) -> None:
    """Give the next image its CPU time; beyond it the kernel ends this process (SIGXCPU)."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(used.ru_utime + used.ru_stime + cpu_s)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _send(target: object, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[target.write(left) :]  # type: ignore[attr-defined]


TINY = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cc```\0\0\0\4\0\1\xf6\x178U"
    b"\0\0\0\0IEND\xaeB`\x82"
)
"""A PNG of one black pixel."""

if __name__ == "__main__":
    main(sys.argv[1:])
