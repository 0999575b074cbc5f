"""Photographs in formats that need a library of their own: HEIC (extra ``heic``) and DICOM (extra ``dicom``).

They are read in Python and on the command line; the service leaves them off by default.
`lentigo.image_header` looks at their structure first.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lentigo.errors import DataError, ImageCostError, ImageError

EXTRA_FORMATS = ("HEIC", "DICOM")
_SUFFIXES = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".dcm": "DICOM", ".dicom": "DICOM"}
_NEEDS = {"HEIC": ("pi_heif", "heic"), "DICOM": ("pydicom", "dicom")}
_RUN_LENGTHS = "lentigo"
"""What `lentigo.dicom_rle` is called among the plug-ins of pydicom."""
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def is_extra_name(name: str) -> bool:
    """Whether a file name looks like one of these formats (hidden files do not)."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in _SUFFIXES


def extra_format(head: bytes) -> str | None:
    """``HEIC``, ``DICOM`` or None by a file's first bytes, 132 or more where it has them."""
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[4:8] == b"ftyp":
        brands = {head[i : i + 4] for i in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
        if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"} and not brands & {
            b"avif",
            b"avis",
        }:
            return "HEIC"
    return None


def require(kind: str) -> None:
    """See that the library of a format is there, and load it.

    Raises:
        ImageError: it is missing; the message says how to get it.
    """
    module, extra = _NEEDS[kind]
    if find_spec(module) is None:
        raise ImageError(f"a {kind} file; to read it: pip install 'lentigo[{extra}]', or save it as JPEG or PNG")
    import_module(module if kind == "HEIC" else "pydicom.pixels.processing")
    if kind == "DICOM":
        from pydicom.pixels.decoders.base import RLELosslessDecoder

        if _RUN_LENGTHS not in RLELosslessDecoder.available_plugins:
            RLELosslessDecoder.add_plugin(_RUN_LENGTHS, ("lentigo.dicom_rle", "decode_frame"))


def open_extra(file: BinaryIO, kind: str, max_pixels: int) -> Image.Image:
    """Open an image of one of these formats, whose structure has been checked.

    Args:
        file: at any position.
        kind: as `extra_format` names it.
        max_pixels: the largest width x height that is decoded; checked from the header.

    Returns:
        8-bit RGB. A HEIC is upright already; of a DICOM's header nothing is kept.

    Raises:
        ImageError: the library is missing, or the file is damaged, too large or of a kind that is no photograph.
    """
    require(kind)
    file.seek(0)
    return _open_heic(file, max_pixels) if kind == "HEIC" else _open_dicom(file, max_pixels)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _check(width: int, height: int, max_pixels: int) -> None:
    if not 0 < width * height <= max_pixels:
        raise ImageCostError(f"too large ({width} x {height} pixels, the limit is {max_pixels:,}); scale it down first")


def _open_heic(file: BinaryIO, max_pixels: int) -> Image.Image:
    import pi_heif

    try:
        opened = pi_heif.open_heif(file, convert_hdr_to_8bit=True, bgr_mode=False)  # lazy: the header only
        width, height = opened.size
        _check(width, height, max_pixels)
        image = opened.to_pillow()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # libheif's errors are of many kinds
        raise ImageError(f"truncated or damaged HEIC ({_reason(error)}); fetch it again") from None
    image.info = {}  # libheif has turned it upright
    return _flat(image)


def _open_dicom(file: BinaryIO, max_pixels: int) -> Image.Image:
    import pydicom
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import RLELossless

    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        width, height = int(header.get("Columns", 0)), int(header.get("Rows", 0))
        photometric = str(header.get("PhotometricInterpretation", ""))
    except Exception as error:
        raise ImageError(f"damaged DICOM header ({_reason(error)}); fetch it again") from None
    if not width or not height:
        raise ImageError("a DICOM object without an image; give a photograph or a dermoscopic image")
    _check(width, height, max_pixels)
    if photometric not in _PHOTOMETRIC:
        raise ImageError(
            f"a DICOM image with {photometric or 'unknown'} pixels, which is not read; export it as JPEG or PNG"
        )
    try:
        file.seek(0)
        data = pydicom.dcmread(file)
        plugin = _RUN_LENGTHS if data.file_meta.TransferSyntaxUID == RLELossless else ""
        # YBR becomes RGB; of several frames the first.
        pixels = pixel_array(data, index=0, raw=False, decoding_plugin=plugin)
        if photometric == "PALETTE COLOR":
            pixels, photometric = apply_color_lut(pixels, data), "RGB"
            return Image.fromarray(_eight_bits(pixels, 16 if pixels.dtype.itemsize == 2 else 8))
    except MemoryError:
        raise
    except Exception as error:  # a missing decoder, a torn frame, numbers that contradict each other
        raise ImageError(f"truncated or unreadable DICOM ({_reason(error)})") from None
    if photometric.startswith("MONOCHROME"):
        return Image.fromarray(_grey(pixels, data, inverted=photometric == "MONOCHROME1")).convert("RGB")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(f"a DICOM image of shape {pixels.shape}, expected (H, W, 3)")
    return Image.fromarray(_eight_bits(pixels, int(data.BitsStored)))


def _eight_bits(pixels: Any, bits: int) -> np.ndarray[Any, Any]:
    """Unsigned samples of so many bits as 8 bits."""
    if bits == 8:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    top = float(2**bits - 1)
    return np.asarray(np.rint(np.clip(pixels.astype(np.float64), 0, top) * (255.0 / top)), dtype=np.uint8)


def _grey(pixels: Any, data: Any, *, inverted: bool) -> np.ndarray[Any, Any]:
    """A grey image as 8 bits: by its window where it has one, else over the range of its samples."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    bits, signed = int(data.BitsStored), int(data.get("PixelRepresentation", 0)) == 1
    if "WindowCenter" in data or "VOILUTSequence" in data:
        shown = np.asarray(apply_voi_lut(apply_modality_lut(pixels, data), data), dtype=np.float64)
        low, high = float(shown.min()), float(shown.max())
        values = (shown - low) * (255.0 / (high - low)) if high > low else np.zeros_like(shown)
        found = np.rint(values).astype(np.uint8)
    else:
        found = _eight_bits(pixels.astype(np.int64) + (2 ** (bits - 1) if signed else 0), bits)
    return np.asarray(255 - found if inverted else found, dtype=np.uint8)


def _flat(image: Image.Image) -> Image.Image:
    """Transparency composited on white, as for every other format."""
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size, (255, 255, 255))
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    return image.convert("RGB")


def patient_of(path: Path) -> str:
    """The patient's id in a DICOM file's header, empty where it has none; nothing else of the header is read out.

    Raises:
        DataError: pydicom is missing, or no DICOM file.
    """
    if find_spec("pydicom") is None:
        raise DataError(f"{path}: a DICOM file; to read its patient's id: pip install 'lentigo[dicom]'")
    import pydicom

    try:
        return str(
            pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID", "")
        ).strip()
    except Exception as error:
        raise DataError(f"{path}: its DICOM header cannot be read ({_reason(error)})") from None
