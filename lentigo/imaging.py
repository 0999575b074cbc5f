"""Open images safely and convert them to a network's input by one preprocessing contract.

All runtimes follow the contract (the phone app reproduces it byte for byte):

1. Decode the first frame. The content determines the format, not the file name. Embedded colour
   profiles are ignored: samples are interpreted as sRGB.
2. Convert to 8-bit RGB. 16-bit grey is scaled by 1/257, 16-bit colour keeps its high byte,
   palettes and CMYK are converted, and transparency is composited on white.
3. Apply the EXIF orientation.
4. Resize to a square (no crop, no letterbox) with an antialiased bilinear filter in integer
   arithmetic, first the width, then the height (the reverse for very tall strips, see
   `lentigo.resampler`).
5. Scale to [0, 1] and normalise per channel: ``(x / 255 - mean) / std``.

Decoders receive only formats on a short list, and only after a check of the size and other decoding costs
(`lentigo.image_header`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lentigo.errors import ImageCostError, ImageError
from lentigo.extra_formats import EXTRA_FORMATS, extra_format, open_extra
from lentigo.image_header import ImageHeader, check_exif, check_header
from lentigo.jpeg import end_jpeg
from lentigo.resampler import resize
from lentigo.walk import walk

ImageSource = str | Path | bytes | BinaryIO | Image.Image | np.ndarray[Any, Any]
"""Sources of an image: a path, encoded bytes, a binary file, a Pillow image, or an (H, W, 3) uint8 RGB array."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_PIXELS = 100_000_000
QUICK_PIXELS = 25_000_000
"""Pillow alone decodes larger JPEGs, without a second copy in memory."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
)
"""Suffixes for the search in folders. A file given directly may have any name."""

FOREIGN_SUFFIXES = frozenset({
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".dcm", ".psd", ".svg",
    ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".raw",
})  # fmt: skip
"""Suffixes of unsupported image formats, which a folder search can report."""

_ADVICE = "save it as JPEG or PNG first"
_SNIFF_BYTES = 512
_BLOCK = 2**20

# Format name -> the Pillow plug-in that registers it. Only the required one is imported, which is safer than Pillow's
# forty and faster on the first image.
PLUGINS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "WEBP": "WebPImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "GIF": "GifImagePlugin",
}

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself"),
)

_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SEVERAL = "lentigo: first of several"
_ORIENTATION = 0x0112


def open_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    draft_size: int | None = None,
    extra_formats: Collection[str] = EXTRA_FORMATS,
    on_header: Callable[[ImageHeader], None] | None = None,
) -> Image.Image:
    """Open and decode an image as 8-bit RGB, upright.

    Args:
        source: a path, encoded bytes, a binary file, a Pillow image, or an (H, W, 3) uint8 RGB array.
        max_pixels: maximum width x height, checked from the header.
        draft_size: decode a JPEG at 1/2, 1/4 or 1/8 scale if both sides stay at least this long, in pixels
            (the decoder's DCT scaling; much faster for photographs). The result is smaller than the
            original and, after resizing, differs slightly from the contract (docs/predict.md has figures).
        extra_formats: accepted formats among HEIC and DICOM; their libraries must be installed.
        on_header: called with the checked header of a file of the other formats before it is decoded; may raise.

    Returns:
        A decoded RGB image without an open file (the given image itself if it is upright RGB).

    Raises:
        ImageError: missing, unreadable, empty, truncated, damaged, too large, or not of a supported format.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "the image given", max_pixels, None)
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    with ExitStack() as stack:
        if isinstance(source, str | Path):
            name = str(source)
            file = stack.enter_context(_open_file(name))
        elif isinstance(source, bytes | bytearray | memoryview):
            name, file = "the bytes given", BytesIO(source)
        elif hasattr(source, "read"):
            name = str(getattr(source, "name", None) or "the stream given")
            file = _seekable(source, name)
        else:
            kind = type(source).__name__
            raise ImageError(
                f"cannot open an image from {kind}; give a path, bytes, a binary file, a Pillow image or a uint8 array"
            )
        extra = extra_format(_head(file)) if extra_formats else None
        if extra is not None and extra in extra_formats:
            return _open_extra(file, name, extra, max_pixels)
        opened, header = _identify(file, name, max_pixels, on_header)
        image = stack.enter_context(opened)
        try:
            quick = image if draft_size is not None else _decode_quickly(image, file, max_pixels)
            return _decode(quick, name, max_pixels, draft_size)
        except ImageCostError:
            raise
        except ImageError:
            if header.ended or (ended := end_jpeg(_content(file))) is None:
                raise
            opened, _ = _identify(BytesIO(ended), name, max_pixels)
            return _decode(stack.enter_context(opened), name, max_pixels, draft_size)


def normalise(
    pixels: Pixels,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    *,
    out: Floats | None = None,
) -> Floats:
    """Convert uint8 pixels to a network's input: ``(x / 255 - mean) / std``, channels first.

    Args:
        pixels: (N, H, W, 3) uint8 RGB.
        mean: per-channel mean in [0, 1].
        std: per-channel standard deviation in [0, 1].
        out: output array, (N, 3, H, W) float32; by default a new one.

    Returns:
        (N, 3, H, W) float32, contiguous.
    """
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise ImageError(f"pixels must be (N, H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    n, height, width, _ = pixels.shape
    if out is None:
        out = np.empty((n, 3, height, width), np.float32)
    out[...] = pixels.transpose(0, 3, 1, 2)
    for channel in range(3):
        # One multiply and one subtraction in place: x / (255 std) - mean / std.
        plane = out[:, channel]  # (N, H, W)
        plane *= np.float32(1.0 / (255.0 * std[channel]))
        plane -= np.float32(mean[channel] / std[channel])
    return out


def load(source: ImageSource, size: int, *, max_pixels: int = MAX_PIXELS, fast: bool = False) -> Pixels:
    """Open an image and resize it to a square: steps 1 to 4 of the contract.

    Args:
        source: as in `open_image`.
        size: side of the square in pixels.
        max_pixels: as in `open_image`.
        fast: as in `open_and_load`.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        ImageError: as `open_image`.
    """
    return open_and_load(source, size, max_pixels=max_pixels, fast=fast)[1]


def open_and_load(
    source: ImageSource,
    size: int,
    *,
    max_pixels: int = MAX_PIXELS,
    fast: bool = False,
    extra_formats: Collection[str] = EXTRA_FORMATS,
    on_header: Callable[[ImageHeader], None] | None = None,
) -> tuple[Image.Image, Pixels]:
    """Open an image as `load` does, and also return it at full size.

    Args:
        source: as in `open_image`.
        size: side of the square in pixels.
        max_pixels: as in `open_image`.
        fast: decode JPEG at reduced scale: faster, with small deviations from the contract (docs/predict.md).
        extra_formats: as in `open_image`.
        on_header: as in `open_image`.

    Returns:
        The image from `open_image`, and (size, size, 3) uint8 RGB.

    Raises:
        ImageError: as `open_image`.
    """
    image = open_image(
        source,
        max_pixels=max_pixels,
        draft_size=size if fast else None,
        extra_formats=extra_formats,
        on_header=on_header,
    )
    return image, resize(image, size)


def find_images(path: str | Path) -> list[Path]:
    """List the images of a folder and its sub-folders, sorted by path.

    Hidden and system files and folders are skipped, links to folders are not followed (`lentigo.walk`).

    Args:
        path: a folder, or one file with any name.

    Returns:
        Paths that begin with ``path``, in sorted order.

    Raises:
        ImageError: no such path, or an unreadable folder.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.exists():
        raise ImageError(f"{root}: no such file or folder")

    try:
        return sorted(root / file for file in walk(str(root)) if is_image_name(file.rpartition("/")[2]))
    except OSError as error:
        raise ImageError(f"{error.filename}: the folder cannot be read ({error.strerror})") from None


def read_file(path: str | Path, limit: int) -> bytes:
    """Return the encoded content of a regular file.

    Args:
        path: the file.
        limit: maximum size in bytes.

    Raises:
        ImageError: missing, unreadable, not a regular file, or larger than ``limit``.
    """
    name = str(path)
    try:
        with _open_file(name) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error})") from None
    if len(content) > limit:
        raise ImageError(f"{name}: more than {limit // 2**20} MiB; look at this file")
    return content


def has_several(path: str | Path) -> bool:
    """Return whether a readable file has several pages or frames; only the first is used."""
    with suppress(ImageError, OSError), _open_file(str(path)) as file:
        return _has_several(_identify(file, str(path), MAX_PIXELS)[0])
    return False


def is_first_of_several(image: Image.Image) -> bool:
    """Return whether an image from `open_image` is the first of several pages or frames."""
    return image.info.get(_SEVERAL) is True


def is_image_name(name: str) -> bool:
    """Return whether a file name has the suffix of a supported image and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def is_image_content(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a supported image."""
    try:
        return extra_format(head) is not None or bool(sniff(head))
    except ImageError:
        return False


def _open_file(name: str) -> BinaryIO:
    if "://" in name:
        raise ImageError(f"{name}: an address, not a file; download the image first")
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116  (a Path costs more than the call)
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: a folder, not an image")
        if not stat.S_ISREG(mode):  # a pipe blocks, a device has no end
            raise ImageError(f"{name}: not a regular file")
        return open(name, "rb")  # noqa: PTH123  (closed by the caller's stack)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name!r}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def _head(file: BinaryIO) -> bytes:
    """Return the first bytes of a file and rewind it; empty if they cannot be read."""
    try:
        head = file.read(_SNIFF_BYTES)
        file.seek(0)
    except (OSError, ValueError):
        return b""
    return head if isinstance(head, bytes) else b""


def _content(file: BinaryIO) -> bytes:
    try:
        file.seek(0)
        return file.read()
    except (OSError, ValueError):
        return b""


def _open_extra(file: BinaryIO, name: str, kind: str, max_pixels: int) -> Image.Image:
    try:
        header = check_header(file, kind)
        _check_pixels(name, header.width, header.height, max_pixels)
        return open_extra(file, kind, max_pixels)
    except ImageError as error:
        raise type(error)(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
    except MemoryError:
        raise ImageCostError(f"{name}: not enough memory to decode it; scale it down first") from None


def _seekable(file: BinaryIO, name: str) -> BinaryIO:
    """Return the rewound stream, or a copy of its content if it is not seekable."""
    try:
        file.seek(0)
        return file
    except (AttributeError, OSError, ValueError):
        try:
            content = file.read()
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read ({error})") from None
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: a text stream; open it in binary mode")
    return BytesIO(content)


def sniff(head: bytes) -> str:
    """Return the format of a file from its first bytes.

    Args:
        head: the first bytes of the file, at least 256 if it has them.

    Returns:
        One of JPEG, PNG, WEBP, BMP, TIFF and GIF.

    Raises:
        ImageError: empty, or another format; the message names it if known.
    """
    if not head:
        raise ImageError("empty (0 bytes); fetch it again")
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[i : i + 4] for i in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
        if brands & {b"avif", b"avis"}:
            raise ImageError(f"an AVIF image, which is not read here; {_ADVICE}")
        if brands & _HEIF_BRANDS:
            raise ImageError(
                f"a HEIC photograph, which is not read here; {_ADVICE} (on an iPhone: Settings > Camera > Formats >"
                " Most Compatible)"
            )
        raise ImageError(f"a video, not an image; {_ADVICE}")
    if head[128:132] == b"DICM":
        raise ImageError(f"a DICOM file, which is not read here; {_ADVICE}")
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise ImageError(f"{what}, not an image that can be read here; give JPEG, PNG, WebP, BMP, TIFF or GIF")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html")):
        kind = "an SVG drawing" if b"<svg" in text else "a web page or XML"
        raise ImageError(f"{kind}, not a photograph; give JPEG, PNG, WebP, BMP, TIFF or GIF")
    raise ImageError("not an image (unknown content); give JPEG, PNG, WebP, BMP, TIFF or GIF")


def _identify(
    file: BinaryIO, name: str, max_pixels: int, on_header: Callable[[ImageHeader], None] | None = None
) -> tuple[Image.Image, ImageHeader]:
    """Check the structure and read the header with the plug-in of the content's format."""
    try:
        head = file.read(_SNIFF_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({error})") from None
    if not isinstance(head, bytes):
        raise ImageError(f"{name}: a text stream; open it in binary mode")
    try:
        kind = sniff(head)
        header = check_header(file, kind)
    except ImageCostError as error:
        raise ImageCostError(f"{name}: costs too much to decode ({error}); save it again as JPEG or PNG") from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({error})") from None
    # Before the plug-in, since some allocate memory on opening.
    _check_pixels(name, header.width, header.height, max_pixels)
    if on_header is not None:
        on_header(header)
    try:
        import_module(f"PIL.{PLUGINS[kind]}")
        file.seek(0)
        return Image.open(file, formats=[kind]), header
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageCostError(f"{name}: too large ({error})") from None
    except MemoryError:
        raise ImageCostError(f"{name}: not enough memory to open it; scale it down first") from None
    except Exception as error:  # plug-ins raise many types of errors on damaged headers
        raise ImageError(f"{name}: damaged {kind} header ({_reason(error)}); fetch it again") from None


def _decode_quickly(image: Image.Image, file: BinaryIO, max_pixels: int) -> Image.Image:
    """Decode a JPEG with simplejpeg, equal to Pillow before orientation; unchanged on failure."""
    pixels = image.width * image.height
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L") or pixels > min(QUICK_PIXELS, max_pixels):
        return image
    try:
        from simplejpeg import decode_jpeg  # imported here, since only JPEG needs it

        file.seek(0)
        found = decode_jpeg(file.read(), colorspace="RGB")
        if found.shape != (image.height, image.width, 3):
            return image
        decoded = Image.fromarray(found)
        decoded.info = dict(image.info)  # the orientation
        return decoded
    except Exception:  # not installed, or a damaged file: Pillow reads or reports it
        return image


def _decode(image: Image.Image, name: str, max_pixels: int, draft_size: int | None) -> Image.Image:
    """Check the size, decode, convert to RGB and apply the orientation."""
    width, height = image.size
    _check_pixels(name, width, height, max_pixels)
    if width * height == 0:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    try:
        if draft_size is not None:
            image.draft(None, (draft_size, draft_size))
        several = _has_several(image)
        image.load()
        orientation = _orientation(image)
        image = _to_rgb(image, name)
        method = _TRANSPOSE.get(orientation)
        if method is not None:
            image = image.transpose(method)
            image.info = {}  # the orientation must not be applied again
        if several:
            image.info[_SEVERAL] = True
        return image
    except ImageError:
        raise
    except MemoryError:
        raise ImageCostError(
            f"{name}: not enough memory to decode {width} x {height} pixels; scale it down first"
        ) from None
    except Exception as error:  # decoders raise many types of errors on damaged data
        kind = image.format or "image"
        raise ImageError(f"{name}: truncated or damaged {kind} ({_reason(error)}); fetch it again") from None


def _has_several(image: Image.Image) -> bool:
    with suppress(Exception):  # damage after the first frame
        return image.format in ("TIFF", "GIF", "PNG", "WEBP") and bool(getattr(image, "is_animated", False))
    return False


def _check_pixels(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageCostError(
            f"{name}: too large ({width} x {height} = {width * height:,} pixels, the limit is {max_pixels:,}); scale it"
            " down first"
        )


def _orientation(image: Image.Image) -> int:
    # Read after load(): Pillow orients a TIFF itself and removes the tag. A damaged block means no rotation.
    try:
        block = image.info.get("exif")
        if block is None and "Raw profile type exif" in image.info:  # a text chunk of a PNG, in hexadecimal digits
            block = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
        if isinstance(block, bytes):
            check_exif(block)
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):
        return _grey(_from_integers(np.asarray(image), name))
    if image.mode == "F":
        return _grey(_from_floats(np.asarray(image), name))
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        canvas = Image.new("RGB", rgba.size, (255, 255, 255))
        canvas.paste(rgba, mask=rgba.getchannel("A"))
        return canvas
    if image.mode == "RGB":
        return image
    return image.convert("RGB")


def _grey(values: Pixels) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _from_integers(values: NDArray[Any], name: str) -> Pixels:
    """Convert 16-bit grey to 8 bits: x / 257, rounded to nearest."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"{name}: 32-bit samples from {low} to {high} have no known scale; save it with 8 or 16 bits a sample"
        )
    return _by_rows(values, lambda rows: (rows.astype(np.uint32) + 128) // 257)


def _from_floats(values: NDArray[Any], name: str) -> Pixels:
    """Convert floating-point grey in [0, 1] to 8 bits."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # also rejects NaN
        raise ImageError(
            f"{name}: floating-point samples from {low:g} to {high:g}, expected 0 to 1; save it with 8 or 16 bits a"
            " sample"
        )
    return _by_rows(values, lambda rows: np.rint(rows * 255.0))


def _by_rows(values: NDArray[Any], scale: Callable[[NDArray[Any]], NDArray[Any]]) -> Pixels:
    """Scale (H, W) samples to 8 bits in blocks of rows, to avoid copies of a large image."""
    scaled = np.empty(values.shape, np.uint8)
    step = max(1, _BLOCK // values.shape[1])
    for at in range(0, len(values), step):
        scaled[at : at + step] = scale(values[at : at + step])
    return scaled


def _from_array(array: NDArray[Any], max_pixels: int) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageError(f"an image array must be (H, W, 3) uint8 RGB, not {array.shape} {array.dtype}")
    height, width, _ = array.shape
    if not 0 < width * height <= max_pixels:
        raise ImageError(f"the array given: {width} x {height} pixels, expected 1 to {max_pixels:,}")
    return Image.fromarray(np.ascontiguousarray(array))


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message is only the address of the file object
        return "its first bytes do not make sense"
    text = " ".join(str(error).split())
    return text[:160] if text else type(error).__name__
